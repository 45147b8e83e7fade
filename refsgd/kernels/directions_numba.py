"""The statistics of directions for Numba: the equations of `directions_numpy`, compiled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._numba import jit
from .contract import BLOCK, DIRECTION_LANES, FAR, Array, DirectionBatch, FoldArrays


@jit
def tile_sum(values: Array, lanes: Array) -> float:
    """The sum over a tile of columns, in the order of the contract. ``lanes`` is overwritten."""
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


class Chunk(NamedTuple):
    """Some vectors: their rows, ``1 / length`` or 1, weights, and the fold of the first."""

    rows: Array
    scale: Array
    weights: Array
    first_fold: int


@jit
def add_near(chunk: Chunk, folds: FoldArrays, values: Array, lanes: Array) -> None:
    rows, scale, weights, first_fold = chunk
    reference, sums, sq_distance = folds.reference, folds.sums, folds.sq_distance
    n, d = rows.shape
    k = sums.shape[0]
    for begin in range(0, d, BLOCK):
        size = min(d - begin, BLOCK)
        for b in range(min(k, n)):
            fold = (first_fold + b) % k
            for j in range(b, n, k):
                for i in range(size):
                    off = scale[j] * np.float64(rows[j, begin + i]) - reference[begin + i]
                    sums[fold, begin + i] += weights[j] * off
                    values[i] = off * off
                sq_distance[fold] += weights[j] * tile_sum(values[:size], lanes)


@jit
def add_far(chunk: Chunk, folds: FoldArrays, added: Array, values: Array, lanes: Array) -> None:
    rows, scale, weights, first_fold = chunk
    reference, sums = folds.reference, folds.sums
    n, d = rows.shape
    k = sums.shape[0]
    along = np.zeros(k)
    for begin in range(0, d, BLOCK):
        size = min(d - begin, BLOCK)
        for b in range(min(k, n)):
            fold = (first_fold + b) % k
            values[:size] = 0
            for j in range(b, n, k):
                factor = weights[j] * scale[j]
                for i in range(size):
                    values[i] += factor * np.float64(rows[j, begin + i])
            for i in range(size):
                sums[fold, begin + i] += values[i] - added[b] * reference[begin + i]
                values[i] *= reference[begin + i]
            along[b] += tile_sum(values[:size], lanes)
    for b in range(k):
        folds.sq_distance[(first_fold + b) % k] += 2.0 * max(added[b] - along[b], 0.0)


@jit
def add_chunk(chunk: Chunk, folds: FoldArrays, values: Array, lanes: Array) -> None:
    k, n = folds.sums.shape[0], chunk.weights.size
    added = np.zeros(k)
    for b in range(k):
        total2 = 0.0
        for j in range(b, n, k):
            added[b] += chunk.weights[j]
            total2 += chunk.weights[j] * chunk.weights[j]
        folds.weight[(chunk.first_fold + b) % k] += added[b]
        folds.weight2[(chunk.first_fold + b) % k] += total2
    known, all_weight = 0.0, 0.0
    for b in range(k):
        known += folds.sq_distance[b]
        all_weight += folds.weight[b]
    if known >= FAR * all_weight:
        add_far(chunk, folds, added, values, lanes)
    else:
        add_near(chunk, folds, values, lanes)


@jit
def add_directions(batch: DirectionBatch, folds: FoldArrays) -> bool:
    n, d = batch.rows.shape
    values, lanes = np.empty(min(d, BLOCK)), np.empty(DIRECTION_LANES)
    step = batch.chunk if batch.chunk > 0 else max(n, 1)
    for begin in range(0, n, step):
        end = min(begin + step, n)
        rows, scale = batch.rows[begin:end], batch.squares[begin:end]
        weights = batch.weights[begin:end]  # type: ignore[index]  # `directions` has replaced None
        if batch.chunk > 0:
            square_rows(rows, scale)
        for j in range(scale.size):
            if not (batch.least <= scale[j] <= batch.most):
                return False
            scale[j] = 1.0 if batch.is_unit else 1.0 / math.sqrt(scale[j])
        first_fold = (batch.first_fold + begin) % folds.sums.shape[0]
        add_chunk(Chunk(rows, scale, weights, first_fold), folds, values, lanes)
    return True


def directions(batch: DirectionBatch, folds: FoldArrays) -> bool:
    if batch.weights is None:
        batch = batch._replace(weights=np.ones(len(batch.rows)))
    batch = batch._replace(least=float(batch.least), most=float(batch.most), is_unit=bool(batch.is_unit))
    return bool(add_directions(batch, folds))
