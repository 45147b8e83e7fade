"""Vectors that stand for directions, dense or CSR: their lengths, and which of them are refused."""

from __future__ import annotations

import sys
from functools import cached_property
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

CHUNK = 2**17  # float64 numbers processed at a time: 1 MiB, so that they stay in cache
# Between these bounds, the square of a length has lost nothing to the ends of the range of float64.
LEAST, MOST = sys.float_info.min / sys.float_info.epsilon**2, sys.float_info.max


class Directions:
    """Vectors of any length that stand for their directions, as a C-contiguous array or as CSR.

    Squares of lengths and largest entries are computed when first needed, and kept.
    """

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors
        self.is_sparse = is_sparse(vectors)

    @classmethod
    def of(cls, given: Any, dim: int | str, name: str = "rows") -> Directions:
        """Check shape and dtype, and sum duplicates of sparse vectors; entries may be NaN or infinite.

        Raises
        ------
        TypeError
            If the dtype is neither float32 nor float64.
        ValueError
            If the shape is not (n, dim); a string for `dim` accepts any dimension.
        """
        if not is_sparse(given):
            return cls(float_array(name, given, ("n", dim), finite=False))
        float_array(name, np.empty(0, given.dtype), (0,))
        if given.ndim != 2 or (not isinstance(dim, str) and given.shape[1] != dim):
            must, remedy = f"have shape (n, {dim})", "pass an array of that shape"
            raise ValueError(message(name, must, given.shape, remedy))
        csr = given.tocsr()
        if not csr.has_canonical_format:
            csr = csr.copy()
            csr.sum_duplicates()
        return cls(csr)

    def __len__(self) -> int:
        return int(self.vectors.shape[0])

    @cached_property
    def squares(self) -> Floats:
        """Sum of squares of each vector, (n,): inf or 0 where it leaves the range of float64."""
        if self.is_sparse:
            data = self.vectors.data.astype(np.float64)
            with np.errstate(over="ignore"):
                total = np.bincount(entry_rows(self.vectors), data * data, minlength=len(self))
            return total.astype(np.float64, copy=False)  # without any entry, bincount returns integers
        result = np.empty(len(self))
        kernels.load(backend_name()).squares(self.vectors, result)
        return result

    @cached_property
    def largest(self) -> Floats:
        """Largest absolute entry of each vector, (n,)."""
        result: Floats = np.zeros(len(self))
        if not self.is_sparse:
            result[:] = np.maximum(self.vectors.max(axis=1), -self.vectors.min(axis=1))
            return result
        with np.errstate(invalid="ignore"):
            np.maximum.at(result, entry_rows(self.vectors), np.abs(self.vectors.data))
        return result

    @property
    def out_of_range(self) -> Flags:
        """Which vectors have a square that is not accurate, or not finite."""
        return ~((self.squares >= LEAST) & (self.squares <= MOST))

    def select(self, which: Any) -> Directions:
        """Some of the vectors, with their squares."""
        chosen = Directions(self.vectors[which])
        chosen.squares = self.squares[which]
        return chosen

    def within_range(self) -> Directions:
        """Dense vectors without zeros, scaled by powers of two, in a copy, where a square is out of range."""
        bad = self.out_of_range
        if not bad.any():
            return self
        scaled = Directions(self.vectors.copy())
        exponent = np.clip(np.frexp(Directions(self.vectors[bad]).largest)[1], -1000, 1000)
        scaled.vectors[bad] *= np.ldexp(1.0, -exponent)[:, None]
        scaled.squares = self.squares.copy()
        scaled.squares[bad] = Directions(scaled.vectors[bad]).squares
        return scaled

    def check_unit(
        self, tolerance: float, remedy: str, name: str = "rows", which: Flags | None = None
    ) -> None:
        """Refuse vectors, or `which` of them, whose length is not 1."""
        length = np.sqrt(self.squares if which is None else np.where(which, self.squares, 1.0))
        bad = ~(np.abs(length - 1.0) <= tolerance)
        if bad.any():
            first = int(bad.argmax())
            got = f"{np.count_nonzero(bad)} of {bad.size} that are not"
            got += f" (first: row {first}, norm {length[first]:.6g})"
            raise ValueError(message(name, "hold unit vectors", got, remedy))


def is_sparse(vectors: Any) -> bool:
    return bool(sparse.issparse(vectors))


def unit_directions(vectors: Any) -> tuple[Any, Flags]:
    """Divide dense or CSR vectors of float64 by their lengths, in place, and say which are zero and stay so.

    It divides by the largest entry first, because squares leave the range of float64 long before lengths do.
    """
    entries: Any = vectors
    row: Any = (slice(None), None)
    if is_sparse(vectors):
        vectors.sum_duplicates()
        entries, row = vectors.data, entry_rows(vectors)
    size = Directions(vectors).largest
    is_zero = size == 0.0
    entries /= np.where(is_zero, 1.0, size)[row]
    entries /= np.sqrt(np.where(is_zero, 1.0, Directions(vectors).squares))[row]
    return vectors, is_zero


def entry_rows(csr: Any) -> NDArray[np.int64]:
    """The row of each entry of a CSR matrix or array."""
    return np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))


def chunk_rows(row_bytes: int, n_folds: int) -> int:
    """How many vectors, several per fold, stay in the second cache between their lengths and their sums.

    Long vectors use the third cache. If not even that holds them, the number has no limit, and memory is read
    twice.
    """
    round_ = 4 * n_folds
    chunk = max(1, 2**19 // (round_ * row_bytes)) * round_
    return chunk if chunk * row_bytes <= 2**23 else sys.maxsize


def refuse(name: str, must: str, bad: Flags, remedy: str) -> NoReturn:
    """Say which rows do not fit."""
    got = f"{np.count_nonzero(bad)} of {bad.size} bad rows (first: row {bad.argmax()})"
    raise ValueError(message(name, must, got, remedy))
