"""What a parser makes of a block of lines, and of one line."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST_INDEX = 2**31 - 2  # so that every index and their number fit 32 bits
NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
SHOWN = 40  # bytes of a bad word in a message


class Rows(NamedTuple):
    """Samples of a block; `weights` is None where no line has one."""

    y: NDArray[np.float64]
    """``(n,)``, NaN where the line has no label."""
    weights: NDArray[np.float64] | None
    lines: NDArray[np.int64]
    """``(n,)``, the line in the block of each row, from 0."""
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float64]


class Row(NamedTuple):
    """The sample in one line."""

    y: float
    weight: float
    indices: list[int]
    data: list[float]


class BadLine(ValueError):
    """Why a line cannot be read: what must be how, what it was, and what helps."""

    def __init__(self, name: str, must: str, got: str, remedy: str = "correct the line or remove it") -> None:
        super().__init__(name, must, got, remedy)


def shown(word: bytes) -> str:
    """A word as messages show it."""
    text = word[:SHOWN].decode("utf-8", "backslashreplace")
    return repr(text + "..." if len(word) > SHOWN else text)


def number(name: str, word: bytes, within: bytes) -> float:
    """A finite decimal number."""
    value = float(word) if NUMBER.fullmatch(word) else np.nan
    if not np.isfinite(value):
        where = "" if word == within else f" in {shown(within)}"
        raise BadLine(name, "be a finite number", shown(word) + where)
    return value


def stack(rows: list[Row], lines: list[int]) -> Rows:
    """Rows of single lines as those of a block."""
    weights = np.array([row.weight for row in rows], float)
    return Rows(
        np.array([row.y for row in rows], float),
        None if (weights == 1).all() else weights,
        np.array(lines, np.int64),
        np.cumsum([0, *(len(row.indices) for row in rows)], dtype=np.int64),
        np.array([index for row in rows for index in row.indices], np.int32),
        np.array([value for row in rows for value in row.data], float),
    )
