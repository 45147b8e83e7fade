"""Numba backend of linear models: the equations of `linear_numpy`, one parameter at a time."""

from __future__ import annotations

import math

import numpy as np

from .._numba import inline, jit
from . import contract
from .contract import Array, Csr, LinearRule, LinearState

Arrays = tuple[Array, Array, Array]

SMALLEST_F32, SMALLEST_F64 = (2.0**exponent for exponent in contract.SMALLEST_ENTRY_EXPONENT.values())
MAX_COUNT_F32, MAX_COUNT_F64 = (2.0**exponent for exponent in contract.MAX_COUNT_EXPONENT.values())
LARGEST_F32, LARGEST_F64 = (2.0**exponent for exponent in contract.MAX_CURV_EXPONENT.values())


@jit
def loss_at(loss: int, z: float, y: float, epsilon: float, spread: float) -> tuple[float, float, float]:
    margin, residual = y * z, z - y
    size, short = abs(residual), max(1 - margin, 0.0)
    if loss == contract.LOG:
        e = math.exp(-abs(margin))
        wrong = (e if margin > 0 else 1.0) / (1 + e)
        return math.log1p(e) + max(-margin, 0.0), -y * wrong, max(wrong * (1 - wrong), wrong / 4)
    if loss == contract.HINGE:
        return short, (-y if margin < 1 else 0.0), 1 / max(short, 1.0)
    if loss == contract.SQUARED_HINGE or (loss == contract.MODIFIED_HUBER and margin >= -1):
        return short * short, -2 * y * short, 2.0
    if loss == contract.MODIFIED_HUBER:
        return -4 * margin, -4 * y, 4 / short
    if loss == contract.SQUARED or (loss == contract.HUBER and size <= epsilon):
        return size * size / 2, residual, 1.0
    if loss == contract.HUBER:
        return epsilon * (size - epsilon / 2), math.copysign(epsilon, residual), epsilon / size
    if loss == contract.INSENSITIVE:
        slope = math.copysign(1.0, residual) if size > epsilon else 0.0
        return max(size - epsilon, 0.0), slope, 1 / max(size, spread) if size > 0 else 1.0
    mean = math.exp(min(z, contract.MAX_LOG_MEAN))
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
    value: float = math.log(total) + top - z[y]
    return value


@jit
def catch_up(records: Array, lazy: Array, i: int, k: int, sample: int) -> None:
    theta, pull = np.float64(records[i, k, 0]), lazy[i, k, 1]
    passed = np.float64(sample) - np.float64(records[i, k, 7])
    loss = -math.expm1(-passed * math.log1p(pull)) if pull > 0 else 0.0
    lazy[i, k, 0] += theta * (loss / pull if pull > 0 else passed)
    records[i, k, 0] = theta - loss * theta
    records[i, k, 7] = sample


@inline
def advance(r: Array, i: int, k: int, g: float, g2: float, h: float, z: float, ridge: float) -> float:
    """One step of the parameter of record r[i, k] from the means over z samples; returns the rate."""
    limit = r.dtype.type(LARGEST_F32 if r.itemsize == 4 else LARGEST_F64)
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
        r[i, k, 4] = contract.FIRST_TAU
    root = r.dtype.type(math.sqrt(rho))
    curv = max(r[i, k, 3] + ridge, (h + ridge) * root)
    rate = root / curv if curv > 0 else zero
    moved = r[i, k, 0] - rate * g
    if math.isfinite(moved):
        r[i, k, 0] = moved
    return rate


def without_none(samples: Csr) -> Arrays:
    """The fields of ``samples``, empty instead of None: Numba cannot test part of a tuple for None."""
    indptr, indices, data = samples
    if indptr is None or indices is None:
        return np.empty(0, np.int64), np.empty(0, np.int32), data
    return indptr, indices, data


def row_flaws(samples: Csr, d: int, bound: float) -> int:
    flaws: int = _row_flaws(without_none(samples), d, bound)
    return flaws


@jit
def _row_flaws(samples: Arrays, d: int, bound: float) -> int:
    indptr, indices, data = samples
    flags = 0
    for e in range(data.size):
        if not abs(data[e]) <= bound:
            flags |= contract.ENTRY_BEYOND
    for row in range(indptr.size - 1):
        begin, end = indptr[row], indptr[row + 1]
        for e in range(begin, end):
            if not 0 <= indices[e] < d:
                flags |= contract.INDEX_OUTSIDE
            if e > begin and indices[e] <= indices[e - 1]:
                flags |= contract.INDEX_FALLS
    return flags


@jit
def collect_entries(
    samples: Arrays, row: int, d: int, has_intercept: bool, smallest: float, columns: Array, x: Array
) -> int:
    """The entries of one sample that count, the intercept's 1 last; returns their number."""
    indptr, indices, data = samples
    n, is_sparse = 0, indptr.size > 0
    begin, end = (indptr[row], indptr[row + 1]) if is_sparse else (row * d, row * d + d)
    for e in range(begin, end):
        columns[n], x[n] = indices[e] if is_sparse else e - begin, data[e]
        n += 1 if abs(data[e]) >= smallest else 0
    if has_intercept:
        columns[n], x[n] = d, 1
        n += 1
    return n


def linear(
    state: LinearState, samples: Csr, y: Array, weights: Array, order: Array, rule: LinearRule
) -> None:
    records, lazy, totals = state
    arrays = records, np.empty((0, 0, 2)) if lazy is None else lazy, totals
    _linear(arrays, without_none(samples), y, weights, order, rule)


@jit
def _linear(state: Arrays, samples: Arrays, y: Array, weights: Array, order: Array, rule: LinearRule) -> None:
    (records, lazy, totals), indptr = state, samples[0]
    loss, epsilon, alpha, batch_size, has_intercept = rule
    d, n_outputs = records.shape[0] - 1, records.shape[1]
    real = records.dtype.type
    zero, one = real(0), real(1)
    is_single = records.itemsize == 4
    smallest = real(SMALLEST_F32 if is_single else SMALLEST_F64)
    max_count = real(MAX_COUNT_F32 if is_single else MAX_COUNT_F64)
    largest = real(LARGEST_F32 if is_single else LARGEST_F64)
    longest = np.diff(indptr).max() if indptr.size > 1 else d
    columns, xs = np.empty(longest + 1, np.int64), np.empty(longest + 1, records.dtype)
    score, slope, curv = np.zeros((3, n_outputs))
    row_sum = np.zeros(n_outputs, records.dtype)
    pools = np.zeros((d + 1 if batch_size > 1 else 0, n_outputs, 5), records.dtype)
    for sample in range(order.size):
        row = order[sample]
        weight = weights[row]
        n = collect_entries(samples, row, d, has_intercept, smallest, columns, xs)
        score[:] = 0
        row_sum[:] = 0
        for e in range(n):
            i, x = columns[e], xs[e]
            for k in range(n_outputs):
                if lazy.size:
                    catch_up(records, lazy, i, k, sample)
                square, count = records[i, k, 5], records[i, k, 6]
                if x * x > square and square > 0:
                    records[i, k, 0] *= real(math.sqrt(square / (square + x * x) * ((count + one) / count)))
                score[k] += x * records[i, k, 0]
                if count < max_count:
                    records[i, k, 6] += one
                    records[i, k, 5] += x * x
                row_sum[k] += abs(x) / real(math.sqrt(records[i, k, 5] / records[i, k, 6]))

        totals[0] += 1
        for k in range(n_outputs):
            score[k] = max(min(score[k], contract.MAX_SCORE), -contract.MAX_SCORE)
        if loss in (contract.SQUARED, contract.HUBER, contract.INSENSITIVE):
            totals[1] += (abs(score[0] - y[row]) - totals[1]) / totals[0]
        if loss == contract.MULTINOMIAL:
            value = multinomial(score, int(y[row]), slope, curv)
        else:
            value, slope[0], curv[0] = loss_at(loss, score[0], y[row], epsilon, totals[1])
        totals[2] += weight * value
        penalty = alpha * totals[0]

        for e in range(n if weight > 0 else 0):
            i, x = columns[e], xs[e]
            for k in range(n_outputs):
                scale = real(math.sqrt(records[i, k, 5] / records[i, k, 6]))
                g = min(max(real(weight * slope[k]) * x, -largest), largest)
                h = real(weight * curv[k]) * row_sum[k] * abs(x) * scale
                h = min(h, largest * largest) if slope[k] != 0 else zero
                if batch_size == 1:
                    ridge = zero if i == d else real(penalty) / records[i, k, 6]
                    rate = advance(records, i, k, g, g * g, h, one, ridge)
                    if lazy.size and i < d:
                        lazy[i, k, 1] = alpha * rate
                else:
                    pools[i, k, 0] += g
                    pools[i, k, 1] += g * g
                    pools[i, k, 2] += h
                    pools[i, k, 3] += one
                    pools[i, k, 4] += one if slope[k] != 0 else zero

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
                    ridge = zero if i == d else real(penalty / records[i, k, 6])
                    rate = advance(records, i, k, g, g2, h, z, ridge)
                    if lazy.size and i < d:
                        often = min(records[i, k, 6] / totals[0], 1.0)
                        touches = batch_size * often / -math.expm1(batch_size * math.log1p(-often))
                        lazy[i, k, 1] = alpha * rate / touches
                    pools[i, k] = 0
    for i in range(lazy.shape[0]):
        for k in range(n_outputs):
            catch_up(records, lazy, i, k, order.size)
            records[i, k, 7] = 0
