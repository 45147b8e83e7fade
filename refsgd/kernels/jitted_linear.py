"""Numba backend of linear models: the equations of `reference_linear`, one parameter at a time."""

from __future__ import annotations

import math

import numpy as np

from .._numba import inline, jit
from .contract import (
    ENTRY_BEYOND,
    FIRST_TAU,
    HINGE,
    HUBER,
    INDEX_FALLS,
    INDEX_OUTSIDE,
    INSENSITIVE,
    LOG,
    MAX_COUNT_EXPONENT,
    MAX_CURV_EXPONENT,
    MAX_LOG_MEAN,
    MAX_SCORE,
    MODIFIED_HUBER,
    MULTINOMIAL,
    SMALLEST_ENTRY_EXPONENT,
    SQUARED,
    SQUARED_HINGE,
    Array,
)

SMALLEST_F32, SMALLEST_F64 = (2.0**exponent for exponent in SMALLEST_ENTRY_EXPONENT.values())
MAX_COUNT_F32, MAX_COUNT_F64 = (2.0**exponent for exponent in MAX_COUNT_EXPONENT.values())
LARGEST_F32, LARGEST_F64 = (2.0**exponent for exponent in MAX_CURV_EXPONENT.values())


@jit
def loss_at(loss: int, z: float, y: float, epsilon: float, spread: float) -> tuple[float, float, float]:
    margin, residual = y * z, z - y
    size, short = abs(residual), max(1 - margin, 0.0)
    if loss == LOG:
        e = math.exp(-abs(margin))
        wrong = (e if margin > 0 else 1.0) / (1 + e)
        return math.log1p(e) + max(-margin, 0.0), -y * wrong, max(wrong * (1 - wrong), wrong / 4)
    if loss == HINGE:
        return short, (-y if margin < 1 else 0.0), 1 / max(short, 1.0)
    if loss == SQUARED_HINGE or (loss == MODIFIED_HUBER and margin >= -1):
        return short * short, -2 * y * short, 2.0
    if loss == MODIFIED_HUBER:
        return -4 * margin, -4 * y, 4 / short
    if loss == SQUARED or (loss == HUBER and size <= epsilon):
        return size * size / 2, residual, 1.0
    if loss == HUBER:
        return epsilon * (size - epsilon / 2), math.copysign(epsilon, residual), epsilon / size
    if loss == INSENSITIVE:
        slope = math.copysign(1.0, residual) if size > epsilon else 0.0
        return max(size - epsilon, 0.0), slope, 1 / max(size, spread) if size > 0 else 1.0
    mean = math.exp(min(z, MAX_LOG_MEAN))
    return mean - y * z, mean - y, max(mean, y)


@jit
def multinomial(z: Array, y: int, slope: Array, curv: Array) -> float:
    top, total = z.max(), 0.0
    for k in range(z.size):
        total += math.exp(z[k] - top)
    for k in range(z.size):
        p = math.exp(z[k] - top) / total
        slope[k] = p - (1.0 if k == y else 0.0)
        curv[k] = max(2 * p * (1 - p), abs(slope[k]) / 2)
    return math.log(total) + top - z[y]


@jit
def catch_up(records: Array, lazy: Array, i: int, k: int, sample: int) -> None:
    theta, pull = np.float64(records[i, k, 0]), lazy[i, k, 1]
    passed = np.float64(sample) - np.float64(records[i, k, 7])
    loss = -math.expm1(-passed * math.log1p(pull)) if pull > 0 else 0.0
    lazy[i, k, 0] += theta * (loss / pull if pull > 0 else passed)
    records[i, k, 0] = theta - loss * theta
    records[i, k, 7] = sample


@inline
def advance(
    r: Array, i: int, k: int, g: float, g2: float, h: float, z: float, ridge: float, limit: float
) -> float:
    is_first = r[i, k, 4] == 0
    zero, one = z - z, z / z
    memory = one if is_first else r[i, k, 4]
    r[i, k, 1] += (g - r[i, k, 1]) / memory
    r[i, k, 2] += (g2 - r[i, k, 2]) / memory
    if h > 0:
        r[i, k, 3] += (h - r[i, k, 3]) / memory
    pull = min(max(r[i, k, 1] + ridge * r[i, k, 0], -limit), limit)
    noise = max(r[i, k, 2] - r[i, k, 1] * r[i, k, 1], zero)
    total = z * pull * pull + noise
    rho = z * pull * pull / total if total > 0 else zero
    if not is_first:
        r[i, k, 4] = (one - rho) * r[i, k, 4] + one
    elif h > 0:
        r[i, k, 4] = FIRST_TAU
    root = r.dtype.type(math.sqrt(rho))
    curv = max(r[i, k, 3] + ridge, (h + ridge) * root)
    rate = root / curv if curv > 0 else zero
    moved = r[i, k, 0] - rate * g
    if math.isfinite(moved):
        r[i, k, 0] = moved
    return rate


@jit
def look(indptr: Array | None, indices: Array | None, d: int, data: Array, bound: float) -> int:
    flags = 0
    for e in range(data.size):
        if not abs(data[e]) <= bound:
            flags |= ENTRY_BEYOND
    if indptr is None or indices is None:
        return flags
    for row in range(indptr.size - 1):
        begin, end = indptr[row], indptr[row + 1]
        for e in range(begin, end):
            if not 0 <= indices[e] < d:
                flags |= INDEX_OUTSIDE
            if e > begin and indices[e] <= indices[e - 1]:
                flags |= INDEX_FALLS
    return flags


@jit
def linear(
    records: Array,
    lazy: Array | None,
    indptr: Array | None,
    indices: Array | None,
    data: Array,
    y: Array,
    weights: Array,
    order: Array,
    batch_size: int,
    loss: int,
    epsilon: float,
    alpha: float,
    has_intercept: bool,
    totals: Array,
) -> None:
    d, n_outputs = records.shape[0] - 1, records.shape[1]
    real = records.dtype.type
    one = real(1)
    is_single = records.itemsize == 4
    smallest = real(SMALLEST_F32 if is_single else SMALLEST_F64)
    max_count = real(MAX_COUNT_F32 if is_single else MAX_COUNT_F64)
    largest = real(LARGEST_F32 if is_single else LARGEST_F64)
    score, slope, curv = np.zeros((3, n_outputs))
    row_sum = np.zeros(n_outputs, records.dtype)
    pools = np.zeros((d + 1 if batch_size > 1 else 0, n_outputs, 5), records.dtype)
    for sample in range(order.size):
        row = order[sample]
        begin = row * d if indptr is None else indptr[row]
        stop = begin + d if indptr is None else indptr[row + 1]
        end = stop + (1 if has_intercept else 0)
        score[:] = 0
        row_sum[:] = 0
        for e in range(begin, end):
            x = one if e == stop else data[e]
            if abs(x) < smallest:
                continue
            i = d if e == stop else e - begin if indices is None else indices[e]
            for k in range(n_outputs):
                if lazy is not None:
                    catch_up(records, lazy, i, k, sample)
                square, count = records[i, k, 5], records[i, k, 6]
                if x * x > square and square > 0:
                    records[i, k, 0] *= real(math.sqrt(square / (square + x * x) * ((count + one) / count)))
                score[k] += x * records[i, k, 0]
                if records[i, k, 6] < max_count:
                    records[i, k, 6] += one
                    records[i, k, 5] += x * x
                row_sum[k] += abs(x) / real(math.sqrt(records[i, k, 5] / records[i, k, 6]))

        totals[0] += 1
        for k in range(n_outputs):
            score[k] = max(min(score[k], MAX_SCORE), -MAX_SCORE)
        if loss in (SQUARED, HUBER, INSENSITIVE):
            totals[1] += (abs(score[0] - y[row]) - totals[1]) / totals[0]
        if loss == MULTINOMIAL:
            value = multinomial(score, int(y[row]), slope, curv)
        else:
            value, slope[0], curv[0] = loss_at(loss, score[0], y[row], epsilon, totals[1])
        totals[2] += weights[row] * value
        penalty = alpha * totals[0]

        for e in range(begin, end):
            x = one if e == stop else data[e]
            if abs(x) < smallest:
                continue
            i = d if e == stop else e - begin if indices is None else indices[e]
            for k in range(n_outputs):
                if weights[row] == 0:
                    continue
                scale = real(math.sqrt(records[i, k, 5] / records[i, k, 6]))
                g = min(max(real(weights[row] * slope[k]) * x, -largest), largest)
                h = real(weights[row] * curv[k]) * row_sum[k] * abs(x) * scale
                h = min(h, largest * largest) if slope[k] != 0 else real(0)
                if batch_size == 1:
                    ridge = real(0) if i == d else real(penalty) / records[i, k, 6]
                    rate = advance(records, i, k, g, g * g, h, one, ridge, largest)
                    if lazy is not None and i < d:
                        lazy[i, k, 1] = alpha * rate
                else:
                    pools[i, k, 0] += g
                    pools[i, k, 1] += g * g
                    pools[i, k, 2] += h
                    pools[i, k, 3] += one
                    pools[i, k, 4] += one if slope[k] != 0 else real(0)

        if batch_size == 1 or ((sample + 1) % batch_size and sample + 1 < order.size):
            continue
        for i in range(d + 1):
            for k in range(n_outputs):
                z = pools[i, k, 3]
                if z > 0:
                    g, g2, h = (
                        pools[i, k, 0] / z,
                        pools[i, k, 1] / z,
                        pools[i, k, 2] / max(pools[i, k, 4], one),
                    )
                    ridge = real(0) if i == d else real(penalty / records[i, k, 6])
                    rate = advance(records, i, k, g, g2, h, z, ridge, largest)
                    often = min(records[i, k, 6] / totals[0], 1.0)
                    touches = batch_size * often / -math.expm1(batch_size * math.log1p(-often))
                    if lazy is not None and i < d:
                        lazy[i, k, 1] = alpha * rate / touches
                    pools[i, k] = 0
    if lazy is not None:
        for i in range(d + 1):
            for k in range(n_outputs):
                catch_up(records, lazy, i, k, order.size)
                records[i, k, 7] = 0
