"""Rows that stand for directions, dense or CSR: their lengths, and what is refused of them."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .. import kernels
from .._config import backend_name
from .._errors import message
from .._validation import float_array
from ._series import Floats

Flags = NDArray[np.bool_]

CHUNK = 2**17  # entries of float64 at work at a time: 1 MiB, so that a chunk stays in cache
# Squares of lengths that have lost nothing to the ends of the range of float64.
LEAST, MOST = sys.float_info.min / sys.float_info.epsilon**2, sys.float_info.max


def is_sparse(rows: Any) -> bool:
    return bool(sparse.issparse(rows))


def checked_rows(name: str, rows: Any, dim: int | str) -> Any:
    """Rows as a C-contiguous array or as CSR without duplicates, in float32 or float64, finite or not."""
    if not is_sparse(rows):
        return float_array(name, rows, ("n", dim), finite=False)
    float_array(name, np.empty(0, rows.dtype), (0,))
    if rows.ndim != 2 or (not isinstance(dim, str) and rows.shape[1] != dim):
        raise ValueError(message(name, f"have shape (n, {dim})", rows.shape, "pass an array of that shape"))
    rows = rows.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def squares(rows: Any) -> Floats:
    """Sum of squares of each row, (n,): inf or 0 where it leaves the range of float64."""
    if is_sparse(rows):
        data = rows.data.astype(np.float64)
        with np.errstate(over="ignore"):
            total = np.bincount(entry_rows(rows), data * data, minlength=rows.shape[0])
        return total.astype(np.float64, copy=False)  # without any entry it is of integers
    result = np.empty(len(rows))
    kernels.load(backend_name()).squares(rows, result)
    return result


def largest(rows: Any) -> Floats:
    """Largest absolute entry of each row, (n,)."""
    if not is_sparse(rows):
        return np.maximum(rows.max(axis=1), -rows.min(axis=1)).astype(np.float64)
    result = np.zeros(rows.shape[0])
    with np.errstate(invalid="ignore"):
        np.maximum.at(result, entry_rows(rows), np.abs(rows.data))
    return result


def unit_rows(rows: Any) -> tuple[Any, Flags]:
    """Divide dense or CSR rows of float64 by their lengths, in place, and tell which are zero and stay so.

    By the largest entry first, as squares leave the range of float64 long before lengths do.
    """
    entries: Any = rows
    row: Any = (slice(None), None)
    if is_sparse(rows):
        rows.sum_duplicates()
        entries, row = rows.data, entry_rows(rows)
    size = largest(rows)
    is_zero = size == 0.0
    entries /= np.where(is_zero, 1.0, size)[row]
    entries /= np.sqrt(np.where(is_zero, 1.0, squares(rows)))[row]
    return rows, is_zero


def entry_rows(rows: Any) -> NDArray[np.int64]:
    """The row of each entry of a CSR matrix or array."""
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))


def within_range(rows: NDArray[Any], square: Floats) -> tuple[NDArray[Any], Floats]:
    """Rows of any length but zero, in a copy scaled by powers of two where a square leaves the range."""
    bad = ~((square >= LEAST) & (square <= MOST))
    if not bad.any():
        return rows, square
    rows, square = rows.copy(), square.copy()
    exponent = np.clip(np.frexp(largest(rows[bad]))[1], -1000, 1000)
    rows[bad] *= np.ldexp(1.0, -exponent)[:, None]
    square[bad] = squares(rows[bad])
    return rows, square


def chunk_rows(row_bytes: int, n_blocks: int) -> int:
    """How many rows stay in the second cache between their lengths and their sums, or in the third where they
    are long, some of each block; beyond any number where not even these do, so that all are read twice."""
    round_ = 4 * n_blocks
    chunk = max(1, 2**19 // (round_ * row_bytes)) * round_
    return chunk if chunk * row_bytes <= 2**23 else sys.maxsize


def check_unit(name: str, square: Floats, tolerance: float, remedy: str) -> None:
    """Refuse rows whose length, of which the square is given, is not 1."""
    length = np.sqrt(square)
    bad = ~(np.abs(length - 1.0) <= tolerance)
    if bad.any():
        first = int(bad.argmax())
        got = f"{np.count_nonzero(bad)} of {bad.size} that are not"
        got += f" (first: row {first}, norm {length[first]:.6g})"
        raise ValueError(message(name, "hold unit vectors", got, remedy))


def refuse(name: str, must: str, bad: Flags, remedy: str) -> NoReturn:
    """Say which rows do not fit."""
    got = f"{np.count_nonzero(bad)} of {bad.size} bad rows (first: row {bad.argmax()})"
    raise ValueError(message(name, must, got, remedy))
