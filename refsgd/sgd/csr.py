"""Per-sample gradients as CSR matrices: checks, and their entries."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from .._validation import has_rising_indptr
from ..kernels.contract import INDEX_FALLS, INDEX_OUTSIDE, Csr, Kernels

Array = NDArray[Any]


class Entries(NamedTuple):
    """The non-zeros of n sparse rows: the row, the column and the value of each."""

    n_samples: int
    indptr: Array
    indices: Array  # int64
    data: Array


def checked_csr(name: str, csr: Any, x: Array, backend: Kernels) -> Entries:
    """The entries of a CSR matrix (n, d) whose rows are sorted, without duplicates and within d columns.

    Raises
    ------
    TypeError, ValueError
        If it is not of that kind.
    """
    indptr, indices = (np.ascontiguousarray(part, np.int64) for part in (csr.indptr, csr.indices))
    data = np.ascontiguousarray(csr.data)
    n, d = csr.shape
    if data.dtype not in (np.float32, np.float64):
        remedy = f"convert it, for example {name}.astype(float)"
        raise TypeError(message(name, "have dtype float32 or float64", data.dtype, remedy))
    if d != x.size or n == 0:
        remedy = "pass one row per sample, at least one"
        raise ValueError(message(name, f"have shape (n, {x.size})", (n, d), remedy))
    is_whole = indices.size == data.size and has_rising_indptr(n, indptr, data.size)
    if not is_whole or indptr[-1] != data.size:
        got, remedy = "indptr, indices and data that do not fit", "build it anew with scipy.sparse.csr_array"
        raise ValueError(message(name, "be a valid CSR matrix", got, remedy))
    flags = backend.row_flaws(Csr(indptr, indices, data[:0]), d, 0.0)  # the caller checks the entries
    if flags & INDEX_OUTSIDE:
        bad = indices[(indices < 0) | (indices >= d)]
        remedy = "check how the indices were made: they begin at 0"
        got = f"{bad.size} outside (first: {bad[0]})"
        raise ValueError(message(name, f"have column indices of 0 to {d - 1}", got, remedy))
    if flags & INDEX_FALLS:
        rows = np.split(indices, indptr[1:-1])
        row = next(j for j, columns in enumerate(rows) if (np.diff(columns) <= 0).any())
        must = "have column indices that grow in each row"
        raise ValueError(message(name, must, f"row {row}", f"call {name}.sum_duplicates(), which sorts too"))
    return Entries(n, indptr, indices, data.astype(x.dtype, copy=False))


def absolute_differences(here: Entries, there: Entries) -> Array:
    """``|g - g'|`` at each entry of ``here``; entries missing in ``there`` count as 0."""
    if np.array_equal(here.indptr, there.indptr) and np.array_equal(here.indices, there.indices):
        differences: Array = np.abs(here.data - there.data)
        return differences
    from scipy.sparse import csr_array

    d = 1 + int(max(here.indices.max(initial=0), there.indices.max(initial=0)))
    a, b = (csr_array((e.data, e.indices, e.indptr), shape=(e.n_samples, d)) for e in (here, there))
    row = np.repeat(np.arange(here.n_samples), np.diff(here.indptr))
    differences = np.asarray((a - b)[row, here.indices])
    return np.abs(differences)
