"""The oracle of what sums up samples: plain NumPy, one equation a line. All else is compared with it."""

from __future__ import annotations

import numpy as np

from .contract import Array


@np.errstate(over="ignore", invalid="ignore")
def moments(rows: Array, mean: Array, mean_sq: Array | None) -> bool:
    average(rows, mean)
    is_finite = np.isfinite(mean * mean).all()
    if mean_sq is not None:
        average(rows * rows, mean_sq)
        is_finite &= np.isfinite(mean_sq).all()
    return bool(is_finite)


def average(rows: Array, mean: Array) -> None:
    mean[:] = 0
    for row in rows:
        mean += row
    mean /= len(rows)


def collect(
    indices: Array, data: Array, slots: Array, columns: Array, count: Array, total: Array, total_sq: Array
) -> int:
    indices, data = indices[data != 0], data[data != 0]
    found, first, place = np.unique(indices, return_index=True, return_inverse=True)
    order = np.argsort(first)
    k = found.size
    columns[:k] = found[order]
    slots[columns[:k]] = np.arange(1, k + 1)
    count[:k] = np.bincount(place, minlength=k)[order]
    total[:k] = total_sq[:k] = 0
    add(indices, data, slots, columns[:k], total[:k])
    add(indices, data * data, slots, columns[:k], total_sq[:k])
    return k


def add(indices: Array, data: Array, slots: Array, columns: Array, total: Array) -> None:
    place = slots[indices].astype(np.int64) - 1
    is_found = (place >= 0) & (place < columns.size)
    is_found[is_found] = columns[place[is_found]] == indices[is_found]
    np.add.at(total, place[is_found], data[is_found])
