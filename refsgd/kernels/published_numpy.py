"""The oracle of the published rules: plain NumPy, one equation a line. All else is compared with it.

[1] Schaul, Zhang & LeCun, *No more pesky learning rates*, arXiv 1206.1106.
[2] Schaul & LeCun, *Adaptive learning rates and parallelization for stochastic, sparse, non-smooth
    gradients*, arXiv 1301.3764.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import samples_numpy
from .contract import FD, MAX_CURV_EXPONENT, WIDEN, Array, PublishedMoments, StepRule


def curvature(rows: Array, probe_rows: Array, x: Array, point: Array, mean: Array, mean_sq: Array) -> None:
    samples_numpy.moments(np.abs(rows - probe_rows), mean, mean_sq)
    delta = np.abs(x - point)
    moved = np.where(delta > 0, delta, 1)
    largest = max_curv(x.dtype)
    with np.errstate(over="ignore"):
        mean[:] = np.minimum(np.where(delta > 0, mean / moved, 0), largest)
        mean_sq[:] = np.minimum(np.where(delta > 0, mean_sq / moved / moved, 0), largest * largest)


def probe_point(x: Array, g_avg: Array) -> Array:
    """[2], algorithm 1, probes at x + g_avg; an offset that the addition would lose is widened."""
    shortest = WIDEN * np.finfo(x.dtype).eps * np.abs(x)
    return x + np.where(np.abs(g_avg) <= shortest, np.copysign(shortest, g_avg), g_avg)


def published_probe(state: Array, point: Array) -> None:
    x, g_avg = state[:2, : point.size]
    point[:] = probe_point(x, g_avg)


def signal_share(g_avg: Array, g2_avg: Array, n: Any) -> Array:
    """rho, the share of signal in a mean gradient over n samples: 1 without noise ([2], eq. (3))."""
    n = np.asarray(n, g_avg.dtype)
    square = g_avg * g_avg
    total = g2_avg + (n - 1) * square
    return share(n * square, total)


def share(part: Array, total: Array) -> Array:
    """part / total, at most 1, and 0 where there is nothing to share."""
    return np.minimum(np.where(total > 0, part / np.where(total > 0, total, 1), 0), 1)


def fd_rates(h_avg: Array, h2_avg: Array, rho: Array) -> Array:
    """[2], algorithm 1: h_avg / h2_avg * rho; where no curvature was ever seen, no step."""
    return np.where(h2_avg > 0, h_avg / np.where(h2_avg > 0, h2_avg, 1), 0) * rho


def bbprop_rates(h_avg: Array, rho: Array) -> Array:
    """[1], eq. (7): rho / h_avg; no step where there is no curvature."""
    with np.errstate(over="ignore"):
        return np.where(h_avg > 0, rho / np.where(h_avg > 0, h_avg, 1), 0)


def variance(second_moment: Array, mean: Array) -> Array:
    """Where rounding makes it negative, its size is that of rounding."""
    size: Array = np.abs(second_moment - mean * mean)
    return size


@np.errstate(over="ignore", invalid="ignore")
def published_step(state: Array, moments: PublishedMoments, move: Array, n: Any, rule: StepRule) -> None:
    (grad, grad_sq, curv, curv_sq), (limit, variant) = moments, rule
    x, g_avg, g2_avg, h_avg, h2_avg, tau = state[:, : grad.size]

    # where the limit is infinite and a variance 0, their product is NaN and compares as no outlier
    is_outlier = (grad - g_avg) ** 2 > limit * variance(g2_avg, g_avg)
    is_outlier |= (curv - h_avg) ** 2 > limit * variance(h2_avg, h_avg)
    tau += is_outlier

    tau_inv = 1 / tau
    g_avg += tau_inv * (grad - g_avg)
    g2_avg += tau_inv * (grad_sq - g2_avg)
    h_avg += tau_inv * (curv - h_avg)
    h2_avg += tau_inv * (curv_sq - h2_avg)

    rho = signal_share(g_avg, g2_avg, n)
    rate = fd_rates(h_avg, h2_avg, rho) if variant == FD else bbprop_rates(h_avg, rho)
    tau[:] = (1 - share(g_avg * g_avg, g2_avg)) * tau + 1  # as if each minibatch were one sample
    moved = x - rate * move
    x[:] = np.where(np.isfinite(moved), moved, x)  # a step that would overflow is not taken


def secant(diff: Array, delta: Array) -> Array:
    """Curvature by finite differences, 0 where the probe did not move."""
    with np.errstate(over="ignore"):
        curv = np.where(delta != 0, diff / np.where(delta != 0, delta, 1), 0)
    return np.clip(curv, -max_curv(diff.dtype), max_curv(diff.dtype))


@functools.cache
def max_curv(dtype: np.dtype[Any]) -> Any:
    return np.ldexp(dtype.type(1), MAX_CURV_EXPONENT[dtype.name])


def published_step_fd(
    state: Array, grad: Array, grad_sq: Array | None, probe_grad: Array, n: int, limit: float
) -> None:
    x, g_avg = state[:2, : grad.size]
    curv = np.abs(secant(grad - probe_grad, x - probe_point(x, g_avg)))
    if grad_sq is None:
        grad_sq = grad * grad
    moments = PublishedMoments(grad, grad_sq, curv, curv * curv)
    published_step(state, moments, grad, n, StepRule(limit, FD))


def published_step_at(
    state: Array, columns: Array, count: Array, moments: PublishedMoments, rule: StepRule
) -> None:
    rows = state[:, columns]
    published_step(rows, moments, moments.grad, count.astype(moments.grad.dtype), rule)
    state[:, columns] = rows
