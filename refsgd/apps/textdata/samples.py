"""The samples that a parser finds in a piece of text, and in one line."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST_INDEX = 2**31 - 2  # so that every index and the number of columns fit 32 bits
NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
SHOWN = 40  # bytes of a bad word that a message shows


class Samples(NamedTuple):
    """The samples of a piece; `weights` is None if no line has one."""

    y: NDArray[np.float64]
    """``(n,)``, NaN where the line has no label."""
    weights: NDArray[np.float64] | None
    lines: NDArray[np.int64]
    """``(n,)``, the number of each sample's line in the piece, from 0."""
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float64]


class Sample(NamedTuple):
    """The sample in one line."""

    y: float
    weight: float
    indices: list[int]
    data: list[float]


class BadLine(ValueError):
    """Why a line cannot be read: the arguments of `message`."""

    def __init__(self, name: str, must: str, got: str, remedy: str = "correct the line or remove it") -> None:
        super().__init__(name, must, got, remedy)


def shown(word: bytes) -> str:
    """A word in the form that messages show."""
    text = word[:SHOWN].decode("utf-8", "backslashreplace")
    return repr(text + "..." if len(word) > SHOWN else text)


def number(name: str, word: bytes, within: bytes) -> float:
    """A finite decimal number."""
    value = float(word) if NUMBER.fullmatch(word) else np.nan
    if not np.isfinite(value):
        where = "" if word == within else f" in {shown(within)}"
        raise BadLine(name, "be a finite number", shown(word) + where)
    return value


def stack(samples: list[Sample], lines: list[int]) -> Samples:
    """Join samples of single lines to those of a piece."""
    weights = np.array([sample.weight for sample in samples], float)
    return Samples(
        np.array([sample.y for sample in samples], float),
        None if (weights == 1).all() else weights,
        np.array(lines, np.int64),
        np.cumsum([0, *(len(sample.indices) for sample in samples)], dtype=np.int64),
        np.array([index for sample in samples for index in sample.indices], np.int32),
        np.array([value for sample in samples for value in sample.data], float),
    )
