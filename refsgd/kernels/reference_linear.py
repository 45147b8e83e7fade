"""The oracle of linear models: plain NumPy, one equation a line. See `refsgd.kernels.reference`."""

from __future__ import annotations

from typing import Any

import numpy as np

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
    POISSON,
    SMALLEST_ENTRY_EXPONENT,
    SQUARED,
    SQUARED_HINGE,
    Array,
)


def loss_at(loss: int, z: Any, y: Any, epsilon: float, spread: float) -> tuple[Any, Any, Any]:
    """Value, slope and curvature in the score z. Where a loss is not smooth the curvature is the secant over
    the step: what brings the slope to 0 no farther away than the loss's own scale."""
    margin, residual = y * z, z - y
    size = abs(residual)
    if loss == LOG:
        wrong = np.exp(-np.logaddexp(0, margin))  # 1 / (1 + exp(margin))
        return np.logaddexp(0, -margin), -y * wrong, max(wrong * (1 - wrong), wrong / 4)
    if loss == HINGE:
        return max(1 - margin, 0), -y * (margin < 1), 1 / max(1 - margin, 1)
    if loss == SQUARED_HINGE:
        return max(1 - margin, 0) ** 2, -2 * y * max(1 - margin, 0), 2
    if loss == MODIFIED_HUBER and margin >= -1:
        return max(1 - margin, 0) ** 2, -2 * y * max(1 - margin, 0), 2
    if loss == MODIFIED_HUBER:
        return -4 * margin, -4 * y, 4 / (1 - margin)
    if loss == SQUARED or (loss == HUBER and size <= epsilon):
        return size * size / 2, residual, 1
    if loss == HUBER:
        return epsilon * (size - epsilon / 2), epsilon * np.sign(residual), epsilon / size
    if loss == INSENSITIVE:
        return (
            max(size - epsilon, 0),
            np.sign(residual) * (size > epsilon),
            1 / max(size, spread) if size > 0 else 1,
        )
    assert loss == POISSON
    mean = np.exp(min(z, MAX_LOG_MEAN))
    return mean - y * z, mean - y, max(mean, y)


def multinomial(z: Array, y: int) -> tuple[Any, Array, Array]:
    """The same of softmax scores z (n_outputs,). ``2 p (1 - p)`` is the row sum of |diag(p) - p p^T|."""
    log_total = np.logaddexp.reduce(z)
    p = np.exp(z - log_total)
    slope = p - (np.arange(z.size) == y)
    return log_total - z[y], slope, np.maximum(2 * p * (1 - p), np.abs(slope) / 2)


def signal_share(pull: Any, g_avg: Any, g2_avg: Any, z: Any) -> Any:
    """``rho`` of a mean over z samples, of which each parameter has its own number."""
    noise = np.maximum(g2_avg - g_avg * g_avg, 0)
    total = z * pull * pull + noise
    return z * pull * pull / np.where(total > 0, total, 1)


def rates(records: Array, ridge: Any, h: Any, z: Any) -> tuple[Any, Any]:
    """Rates for a mean over z samples of curvature h, and rho. A penalty's gradient is ``ridge * theta``."""
    theta, g_avg, g2_avg, h_avg, *_ = np.moveaxis(records, -1, 0)
    largest = 2.0 ** MAX_CURV_EXPONENT[records.dtype.name]
    pull = np.clip(g_avg + ridge * theta, -largest, largest)
    rho = signal_share(pull, g_avg, g2_avg, z)
    own = (h + ridge) * np.sqrt(rho)  # no farther than to the sample's own minimum
    curv = np.maximum(h_avg + ridge, own)
    with np.errstate(over="ignore"):  # no step is taken at a rate of infinity
        return np.where(curv > 0, np.sqrt(rho) / np.where(curv > 0, curv, 1), 0), rho


def mean_touches(count: Array, n_samples: float, batch_size: int) -> Array:
    """Mean number of samples that touch a parameter in a minibatch in which any does."""
    often = np.minimum(count / n_samples, 1)
    with np.errstate(divide="ignore"):  # log(0) of a parameter that every sample touches
        return batch_size * often / -np.expm1(batch_size * np.log1p(-often))


def catch_up(records: Array, lazy: Array, sample: int) -> None:
    """Implicit steps along the gradient of the penalty, one for each sample that has passed by."""
    theta, passed, pull = records[..., 0].astype(np.float64), sample - records[..., 7], lazy[..., 1]
    loss = -np.expm1(-passed * np.log1p(pull))
    lazy[..., 0] += theta * np.where(pull > 0, loss / np.where(pull > 0, pull, 1), passed)
    records[..., 0] = theta - loss * theta
    records[..., 7] = sample


def look(indptr: Array | None, indices: Array | None, d: int, data: Array, bound: float) -> int:
    flags = 0 if (np.abs(data) <= bound).all() else ENTRY_BEYOND
    if indptr is None or indices is None:
        return flags
    columns, row = indices[: indptr[-1]], np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
    is_outside = (columns < 0) | (columns >= d)
    falls = (columns[1:] <= columns[:-1]) & (row[1:] == row[:-1])
    return flags | INDEX_OUTSIDE * bool(is_outside.any()) | INDEX_FALLS * bool(falls.any())


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
    d, real = len(records) - 1, records.dtype
    smallest = 2.0 ** SMALLEST_ENTRY_EXPONENT[real.name]
    max_count = 2.0 ** MAX_COUNT_EXPONENT[real.name]
    largest = 2.0 ** MAX_CURV_EXPONENT[real.name]
    strength = np.full((d + 1, 1), alpha)
    strength[d] = 0  # the intercept is not penalised
    for begin in range(0, len(order), batch_size):
        pool_g, pool_g2, pool_h, with_slope, z = np.zeros((5, *records.shape[:2]), real)
        for sample, row in enumerate(order[begin : begin + batch_size], begin):
            if indptr is None or indices is None:
                columns, x = np.arange(d), data.reshape(-1, d)[row]
            else:
                columns, x = indices[indptr[row] : indptr[row + 1]], data[indptr[row] : indptr[row + 1]]
            columns, x = columns[np.abs(x) >= smallest], x[np.abs(x) >= smallest]
            if has_intercept:
                columns, x = np.append(columns, d), np.append(x, real.type(1))
            x = x[:, None]

            if lazy is not None:
                touched, late = records[columns], lazy[columns]
                catch_up(touched, late, sample)
                records[columns], lazy[columns] = touched, late
            theta, _, _, _, _, square, count, _ = np.moveaxis(records[columns], -1, 0)
            is_grown = (x * x > square) & (square > 0)  # an entry larger than all before it together
            factor = np.sqrt(square / (square + x * x) * ((count + 1) / np.where(is_grown, count, 1)))
            theta = np.where(is_grown, theta * factor, theta)
            records[columns, :, 0] = theta
            is_counted = count < max_count
            count = count + is_counted
            square = square + is_counted * x * x
            records[columns, :, 5], records[columns, :, 6] = square, count
            scale = np.sqrt(square / count)
            score = np.clip((x * theta).sum(axis=0, dtype=np.float64), -MAX_SCORE, MAX_SCORE)
            row_sum = (np.abs(x) / scale).sum(axis=0)

            totals[0] += 1
            if loss in (SQUARED, HUBER, INSENSITIVE):
                totals[1] += (abs(score[0] - y[row]) - totals[1]) / totals[0]
            if loss == MULTINOMIAL:
                value, slope, curv = multinomial(score, int(y[row]))
            else:
                value, slope, curv = loss_at(loss, score[0], float(y[row]), epsilon, totals[1])
            totals[2] += weights[row] * value
            slope, curv = np.atleast_1d(weights[row] * slope), np.atleast_1d(weights[row] * curv)

            with np.errstate(over="ignore"):
                g = np.clip(slope.astype(real) * x, -largest, largest)
                # departure: the row sum of the Hessian, not its diagonal
                h = np.minimum(curv.astype(real) * row_sum * np.abs(x) * scale, largest * largest)
            has_slope = slope != 0
            pool_g[columns] += g
            pool_g2[columns] += g * g
            pool_h[columns] += h * has_slope  # else nothing is known of the curvature elsewhere
            with_slope[columns] += has_slope
            z[columns] += weights[row] > 0

        at = z > 0
        z, touched = z[at], records[at]
        theta, g_avg, g2_avg, h_avg, tau, _, count, _ = touched.T
        memory = np.where(tau > 0, tau, 1)
        g = pool_g[at] / z
        g_avg += (g - g_avg) / memory
        g2_avg += (pool_g2[at] / z - g2_avg) / memory
        h = pool_h[at] / np.maximum(with_slope[at], 1)
        h_avg += np.where(h > 0, (h - h_avg) / memory, 0)
        ridge = (np.broadcast_to(strength, at.shape)[at] * totals[0] / count).astype(real)
        rate, rho = rates(touched, ridge, h, z)
        tau[:] = np.where(tau > 0, (1 - rho) * tau + 1, np.where(h > 0, FIRST_TAU, 0))
        with np.errstate(over="ignore", invalid="ignore"):
            moved = theta - rate * g
        theta[:] = np.where(np.isfinite(moved), moved, theta)  # a step that would overflow is not taken
        records[at] = touched
        if lazy is not None and alpha > 0:
            each = rate.astype(np.float64) / mean_touches(count.astype(np.float64), totals[0], batch_size)
            lazy[at, 1] = np.broadcast_to(strength, at.shape)[at] * each
    if lazy is not None:
        catch_up(records, lazy, len(order))
        records[..., 7] = 0
