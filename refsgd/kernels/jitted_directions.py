"""Numba backend of the statistics of directions: the equations of `reference_directions`, compiled."""

from __future__ import annotations

import math

import numpy as np

from .._numba import jit
from .contract import BLOCK, DIRECTION_LANES, FAR, Array


@jit
def tile_sum(values: Array, lanes: Array) -> float:
    """The sum over a block of columns, in the order of the contract. ``lanes`` is overwritten."""
    total, begin, size = 0.0, 0, DIRECTION_LANES
    while size > 0:
        whole = (values.size - begin) // size * size
        if whole > 0:
            lanes[:size] = 0
            for i in range(begin, begin + whole, size):
                for lane in range(size):
                    lanes[lane] += values[i + lane]
            half = size // 2
            while half > 0:
                for lane in range(half):
                    lanes[lane] += lanes[lane + half]
                half //= 2
            total += lanes[0]
        begin += whole
        size //= 2
    return total


@jit
def square_rows(rows: Array, squares: Array) -> None:
    n, d = rows.shape
    values, lanes = np.empty(min(d, BLOCK)), np.empty(DIRECTION_LANES)
    for j in range(n):
        total = 0.0
        for begin in range(0, d, BLOCK):
            size = min(d - begin, BLOCK)
            for i in range(size):
                x = np.float64(rows[j, begin + i])
                values[i] = x * x
            total += tile_sum(values[:size], lanes)
        squares[j] = total


@jit
def add_near(  # type: ignore[no-untyped-def]
    rows, scale, weights, first, reference, sums, spread, values, lanes
):
    n, d = rows.shape
    k = sums.shape[0]
    for begin in range(0, d, BLOCK):
        size = min(d - begin, BLOCK)
        for b in range(min(k, n)):
            block = (first + b) % k
            for j in range(b, n, k):
                for i in range(size):
                    off = scale[j] * np.float64(rows[j, begin + i]) - reference[begin + i]
                    sums[block, begin + i] += weights[j] * off
                    values[i] = off * off
                spread[block] += weights[j] * tile_sum(values[:size], lanes)


@jit
def add_far(  # type: ignore[no-untyped-def]
    rows, scale, weights, first, reference, sums, added, along, values, lanes
):
    n, d = rows.shape
    k = sums.shape[0]
    for begin in range(0, d, BLOCK):
        size = min(d - begin, BLOCK)
        for b in range(min(k, n)):
            block = (first + b) % k
            values[:size] = 0
            for j in range(b, n, k):
                factor = weights[j] * scale[j]
                for i in range(size):
                    values[i] += factor * np.float64(rows[j, begin + i])
            for i in range(size):
                sums[block, begin + i] += values[i] - added[b] * reference[begin + i]
                values[i] *= reference[begin + i]
            along[b] += tile_sum(values[:size], lanes)


@jit
def add_directions(  # type: ignore[no-untyped-def]
    rows, weights, squares, least, most, is_unit, chunk, first, reference, sums, weight, weight2, spread
):
    n, d = rows.shape
    k = sums.shape[0]
    values, lanes = np.empty(min(d, BLOCK)), np.empty(DIRECTION_LANES)
    step = chunk if chunk > 0 else max(n, 1)
    for begin in range(0, n, step):
        end = min(begin + step, n)
        part, w, scale = rows[begin:end], weights[begin:end], squares[begin:end]
        if chunk > 0:
            square_rows(part, scale)
        for j in range(scale.size):
            if not (least <= scale[j] <= most):
                return False
            scale[j] = 1.0 if is_unit else 1.0 / math.sqrt(scale[j])
        start = (first + begin) % k
        added, along = np.zeros(k), np.zeros(k)
        for b in range(k):
            total2 = 0.0
            for j in range(b, scale.size, k):
                added[b] += w[j]
                total2 += w[j] * w[j]
            weight[(start + b) % k] += added[b]
            weight2[(start + b) % k] += total2
        known, all_weight = 0.0, 0.0
        for b in range(k):
            known += spread[b]
            all_weight += weight[b]
        if known >= FAR * all_weight:
            add_far(part, scale, w, start, reference, sums, added, along, values, lanes)
            for b in range(k):
                spread[(start + b) % k] += 2.0 * max(added[b] - along[b], 0.0)
        else:
            add_near(part, scale, w, start, reference, sums, spread, values, lanes)
    return True


def directions(
    rows: Array,
    weights: Array | None,
    squares: Array,
    least: float,
    most: float,
    is_unit: bool,
    chunk: int,
    first: int,
    reference: Array,
    sums: Array,
    weight: Array,
    weight2: Array,
    spread: Array,
) -> bool:
    w = np.ones(len(rows)) if weights is None else weights
    bounds = float(least), float(most), bool(is_unit)
    done = add_directions(rows, w, squares, *bounds, chunk, first, reference, sums, weight, weight2, spread)
    return bool(done)
