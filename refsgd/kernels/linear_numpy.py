"""The oracle of linear models: plain NumPy, one equation a line. The other backends are compared with it.

docs/linear.md derives the rule; the losses are those of `refsgd.linear.losses`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..linear.losses import BY_NUMBER
from . import contract
from .contract import Array, Csr, LinearRule, LinearState


def signal_share(pull: Any, g_avg: Any, g2_avg: Any, z: Any) -> Any:
    """``rho`` of a mean over z samples; z may differ between parameters."""
    noise = np.maximum(g2_avg - g_avg * g_avg, 0)
    total = z * pull * pull + noise
    return z * pull * pull / np.where(total > 0, total, 1)


def rates(records: Array, ridge: Any, h: Any, z: Any) -> tuple[Any, Any]:
    """Rates for a mean over z samples of curvature h, and rho. A penalty's gradient is ``ridge * theta``."""
    theta, g_avg, g2_avg, h_avg, *_ = np.moveaxis(records, -1, 0)
    largest = 2.0 ** contract.MAX_CURV_EXPONENT[records.dtype.name]
    pull = np.clip(g_avg + ridge * theta, -largest, largest)
    rho = signal_share(pull, g_avg, g2_avg, z)
    own = (h + ridge) * np.sqrt(rho)  # no farther than to the sample's own minimum
    curv = np.maximum(h_avg + ridge, own)
    with np.errstate(over="ignore"):  # no step is taken at a rate of infinity
        return np.where(curv > 0, np.sqrt(rho) / np.where(curv > 0, curv, 1), 0), rho


def mean_touches(count: Array, n_samples: float, batch_size: int) -> Any:
    """Mean number of samples that touch a parameter in a minibatch that touches it."""
    often = np.minimum(count / n_samples, 1)
    with np.errstate(divide="ignore"):  # log(0) of a parameter that every sample touches
        return batch_size * often / -np.expm1(batch_size * np.log1p(-often))


def catch_up(records: Array, lazy: Array, sample: int) -> None:
    """Implicit steps along the gradient of the penalty, one for each sample since the last touch."""
    theta, passed, pull = records[..., 0].astype(np.float64), sample - records[..., 7], lazy[..., 1]
    loss = -np.expm1(-passed * np.log1p(pull))
    lazy[..., 0] += theta * np.where(pull > 0, loss / np.where(pull > 0, pull, 1), passed)
    records[..., 0] = theta - loss * theta
    records[..., 7] = sample


def row_flaws(samples: Csr, d: int, bound: float) -> int:
    indptr, indices, data = samples
    flags = 0 if (np.abs(data) <= bound).all() else contract.ENTRY_BEYOND
    if indptr is None or indices is None:
        return flags
    columns, row = indices[: indptr[-1]], np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
    is_outside = (columns < 0) | (columns >= d)
    falls = (columns[1:] <= columns[:-1]) & (row[1:] == row[:-1])
    return flags | contract.INDEX_OUTSIDE * bool(is_outside.any()) | contract.INDEX_FALLS * bool(falls.any())


def entries(samples: Csr, row: int, d: int, has_intercept: bool) -> tuple[Array, Array]:
    """Columns and values (k, 1) of the entries of one sample that count, the intercept's 1 last."""
    indptr, indices, data = samples
    if indptr is None or indices is None:
        columns, x = np.arange(d), data.reshape(-1, d)[row]
    else:
        columns, x = indices[indptr[row] : indptr[row + 1]], data[indptr[row] : indptr[row + 1]]
    counts = np.abs(x) >= 2.0 ** contract.SMALLEST_ENTRY_EXPONENT[x.dtype.name]
    columns, x = columns[counts], x[counts]
    if has_intercept:
        columns, x = np.append(columns, d), np.append(x, x.dtype.type(1))
    return columns, x[:, None]


def rescale(records: Array, columns: Array, x: Array) -> Any:
    """Count the entries x in the scales of their features, and return these scales."""
    theta, _, _, _, _, square, count, _ = np.moveaxis(records[columns], -1, 0)
    is_grown = (x * x > square) & (square > 0)  # an entry larger than all before it together
    factor = np.sqrt(square / (square + x * x) * ((count + 1) / np.where(is_grown, count, 1)))
    is_counted = count < 2.0 ** contract.MAX_COUNT_EXPONENT[records.dtype.name]
    count = count + is_counted
    square = square + is_counted * x * x
    records[columns, :, 0] = np.where(is_grown, theta * factor, theta)
    records[columns, :, 5], records[columns, :, 6] = square, count
    return np.sqrt(square / count)


def weighted_loss(score: Array, y: Any, weight: Any, totals: Array, rule: LinearRule) -> tuple[Array, Array]:
    """Weighted slopes and curvatures of one sample, whose loss goes into ``totals``."""
    loss, is_multinomial = BY_NUMBER[rule.loss], rule.loss == contract.MULTINOMIAL
    z, y = (score, int(y)) if is_multinomial else (score[0], float(y))
    totals[0] += 1
    if loss.targets == "numbers":
        totals[1] += (abs(z - y) - totals[1]) / totals[0]
    totals[2] += weight * loss.value(z, y, rule.epsilon)
    slope = loss.slope(z, y, rule.epsilon)
    with np.errstate(over="ignore"):  # where the residual is denormal
        curv = loss.curvature(z, y, rule.epsilon, totals[1])
    return np.atleast_1d(weight * slope), np.atleast_1d(weight * curv)


def step(touched: Array, sums: Array, ridge: Array) -> Any:
    """One step of touched parameters from `linear`'s sums over a minibatch; returns the rates."""
    theta, g_avg, g2_avg, h_avg, tau, *_ = touched.T
    sum_g, sum_g2, sum_h, n_with_slope, z = sums
    memory = np.where(tau > 0, tau, 1)
    g = sum_g / z
    g_avg += (g - g_avg) / memory
    g2_avg += (sum_g2 / z - g2_avg) / memory
    h = sum_h / np.maximum(n_with_slope, 1)
    h_avg += np.where(h > 0, (h - h_avg) / memory, 0)
    rate, rho = rates(touched, ridge, h, z)
    tau[:] = np.where(tau > 0, (1 - rho) * tau + 1, np.where(h > 0, contract.FIRST_TAU, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        moved = theta - rate * g
    theta[:] = np.where(np.isfinite(moved), moved, theta)  # a step that would overflow is not taken
    return rate


def linear(
    state: LinearState, samples: Csr, y: Array, weights: Array, order: Array, rule: LinearRule
) -> None:
    records, lazy, totals = state
    d, real = len(records) - 1, records.dtype
    largest = 2.0 ** contract.MAX_CURV_EXPONENT[real.name]
    strength = np.full(records.shape[:2], rule.alpha)
    strength[d] = 0  # the intercept is not penalised
    for begin in range(0, len(order), rule.batch_size):
        sums = np.zeros((5, *records.shape[:2]), real)
        for sample, row in enumerate(order[begin : begin + rule.batch_size], begin):
            columns, x = entries(samples, row, d, rule.has_intercept)
            if lazy is not None:
                touched, late = records[columns], lazy[columns]
                catch_up(touched, late, sample)
                records[columns], lazy[columns] = touched, late
            scale = rescale(records, columns, x)
            score = (x * records[columns, :, 0]).sum(axis=0, dtype=np.float64)
            row_sum = (np.abs(x) / scale).sum(axis=0)
            score = np.clip(score, -contract.MAX_SCORE, contract.MAX_SCORE)
            slope, curv = weighted_loss(score, y[row], weights[row], totals, rule)
            with np.errstate(over="ignore"):
                g = np.clip(slope.astype(real) * x, -largest, largest)
                # departure: the row sum of the Hessian, not its diagonal
                h = np.minimum(curv.astype(real) * row_sum * np.abs(x) * scale, largest * largest)
            has_slope = np.broadcast_to(slope != 0, g.shape)  # else the curvature elsewhere is unknown
            counts = np.full(g.shape, weights[row] > 0)
            sums[:, columns] += np.stack([g, g * g, h * has_slope, has_slope, counts])

        at = sums[4] > 0
        touched = records[at]
        ridge = strength[at] * totals[0] / touched[:, 6]
        rate = step(touched, sums[:, at], ridge.astype(real))
        records[at] = touched
        if lazy is not None and rule.alpha > 0:
            touches = mean_touches(touched[:, 6].astype(np.float64), totals[0], rule.batch_size)
            lazy[at, 1] = strength[at] * (rate.astype(np.float64) / touches)
    if lazy is not None:
        catch_up(records, lazy, len(order))
        records[..., 7] = 0
