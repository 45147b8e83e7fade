"""What sums up samples, in Numba: the equations of `samples_numpy`, compiled on first use."""

from __future__ import annotations

from .._numba import jit
from .contract import BLOCK, Array


@jit
def moments(rows: Array, mean: Array, mean_sq: Array | None) -> bool:
    n, d = rows.shape
    size, zero = mean.dtype.type(n), mean.dtype.type(0)
    is_finite = True
    mean[:] = 0
    if mean_sq is not None:
        mean_sq[:] = 0
    for begin in range(0, d, BLOCK):
        end = min(begin + BLOCK, d)
        for j in range(n):
            for i in range(begin, end):
                mean[i] += rows[j, i]
                if mean_sq is not None:
                    mean_sq[i] += rows[j, i] * rows[j, i]
        for i in range(begin, end):
            mean[i] /= size
            is_finite &= mean[i] * mean[i] * zero == zero
            if mean_sq is not None:
                mean_sq[i] /= size
                is_finite &= mean_sq[i] * zero == zero
    return is_finite


@jit
def collect(
    indices: Array, data: Array, slots: Array, columns: Array, count: Array, total: Array, total_sq: Array
) -> int:
    k = 0
    for e in range(data.size):
        value, column = data[e], indices[e]
        if value == 0:
            continue
        slot = slots[column] - 1
        if slot < 0 or slot >= k or columns[slot] != column:
            slot = k
            columns[k], count[k], total[k], total_sq[k] = column, 0, 0, 0
            k += 1
            slots[column] = k
        count[slot] += 1
        total[slot] += value
        total_sq[slot] += value * value
    return k


@jit
def add(indices: Array, data: Array, slots: Array, columns: Array, total: Array) -> None:
    for e in range(data.size):
        slot = slots[indices[e]] - 1
        if 0 <= slot < columns.size and columns[slot] == indices[e]:
            total[slot] += data[e]
