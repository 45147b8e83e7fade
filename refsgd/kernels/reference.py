"""The oracle: plain NumPy, one equation a line. Every other backend is compared with this file.

[1] Schaul, Zhang & LeCun, *No more pesky learning rates*, arXiv 1206.1106.
[2] Schaul & LeCun, *Adaptive learning rates and parallelization for stochastic, sparse, non-smooth
    gradients*, arXiv 1301.3764.

Where the default departs from the printed rule, a comment says so; ``faithful`` follows [2], algorithm 1.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .contract import (
    BLOCK,
    DEFAULT,
    FAITHFUL_FD,
    LANES,
    MAX_CURV_EXPONENT,
    WIDEN,
    Array,
    Kernels,
    bind,
    n_blocks,
)
from .reference_directions import directions, square_rows
from .reference_linear import linear, look


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


def curvature(rows: Array, probe_rows: Array, x: Array, point: Array, mean: Array, mean_sq: Array) -> None:
    moments(np.abs(rows - probe_rows), mean, mean_sq)
    delta = np.abs(x - point)
    moved = np.where(delta > 0, delta, 1)
    largest = max_curv(x.dtype)
    with np.errstate(over="ignore"):
        mean[:] = np.minimum(np.where(delta > 0, mean / moved, 0), largest)
        mean_sq[:] = np.minimum(np.where(delta > 0, mean_sq / moved / moved, 0), largest * largest)


def probe_point(x: Array, g_avg: Array, scale: Any) -> Array:
    """[2] probes at x + g_avg (scale -1). The default goes along descent, on the scale of a step."""
    offset = np.asarray(scale, x.dtype) * g_avg
    shortest = WIDEN * np.finfo(x.dtype).eps * np.abs(x)
    offset = np.where(np.abs(offset) <= shortest, np.copysign(shortest, offset), offset)
    return x - offset


def probe(state: Array, scale: float, point: Array) -> None:
    x, g_avg = state[:2, : point.size]
    point[:] = probe_point(x, g_avg, scale)


def signal_share(g_avg: Array, g2_avg: Array, n: Any) -> Array:
    """rho, the share of signal in a mean gradient over n samples: 1 without noise ([2], eq. (3))."""
    n = np.asarray(n, g_avg.dtype)
    square = g_avg * g_avg
    total = g2_avg + (n - 1) * square
    return share(n * square, total)


def share(part: Array, total: Array) -> Array:
    """part / total, at most 1, and 0 where there is nothing to share."""
    return np.minimum(np.where(total > 0, part / np.where(total > 0, total, 1), 0), 1)


def faithful_rates(h_avg: Array, h2_avg: Array, rho: Array) -> Array:
    """[2], algorithm 1: h_avg / h2_avg * rho; where no curvature was ever seen, no step."""
    return np.where(h2_avg > 0, h_avg / np.where(h2_avg > 0, h2_avg, 1), 0) * rho


def faithful_bbprop_rates(h_avg: Array, rho: Array) -> Array:
    """[1], eq. (7): rho / h_avg; no step where there is no curvature."""
    with np.errstate(over="ignore"):
        return np.where(h_avg > 0, rho / np.where(h_avg > 0, h_avg, 1), 0)


def robust_rates(h_avg: Array, h2_avg: Array, tau_inv: Array, rho: Array, scale: float) -> Array:
    """rho**(3/4) / H, with H an estimate of the curvature that is cautious while little is known.

    H**2 = h_avg**2 + var(h)/tau: the squared mean and the squared error of that mean. [2] has
    h_avg/h2_avg, which rare large curvatures dominate. The power: [1]'s rho is right for one step of a known
    diagonal curvature, and decays as 1/t under noise; where curvature is an over-estimate 1/t stalls, and
    t**(-3/4) does not (docs/departures.md). Where no curvature was seen the rate is that of the probe.
    """
    curv2 = h_avg * h_avg + variance(h2_avg, h_avg) * tau_inv
    gain = rho * np.sqrt(rho)
    return np.sqrt(np.where(curv2 > 0, gain / np.where(curv2 > 0, curv2, 1), gain * (scale * scale)))


def variance(second_moment: Array, mean: Array) -> Array:
    """Where rounding makes it negative, its size is that of rounding."""
    return np.abs(second_moment - mean * mean)


@np.errstate(over="ignore", invalid="ignore")
def step(
    state: Array,
    grad: Array,
    grad_sq: Array,
    curv: Array,
    curv_sq: Array,
    move: Array,
    n: Any,
    limit_grad: Any,
    limit_curv: float,
    scale: float,
    variant: int,
) -> None:
    x, g_avg, g2_avg, h_avg, h2_avg, tau = state[:, : grad.size]
    scale = grad.dtype.type(scale)

    # where a limit is infinite and a variance 0, their product is NaN and compares as no outlier
    is_outlier = (grad - g_avg) ** 2 > limit_grad * variance(g2_avg, g_avg)
    is_outlier |= (curv - h_avg) ** 2 > limit_curv * variance(h2_avg, h_avg)
    tau += is_outlier

    tau_inv = 1 / tau
    g_avg += tau_inv * (grad - g_avg)
    g2_avg += tau_inv * (grad_sq - g2_avg)
    h_avg += tau_inv * (curv - h_avg)
    h2_avg += tau_inv * (curv_sq - h2_avg)

    rho = signal_share(g_avg, g2_avg, n)
    if variant == DEFAULT:
        rate = robust_rates(h_avg, h2_avg, tau_inv, rho, scale)
        forget = rho  # [2] forgets by g_avg**2 / g2_avg, as if each minibatch were one sample
    else:
        is_fd = variant == FAITHFUL_FD
        rate = faithful_rates(h_avg, h2_avg, rho) if is_fd else faithful_bbprop_rates(h_avg, rho)
        forget = share(g_avg * g_avg, g2_avg)
    tau[:] = (1 - forget) * tau + 1
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


def step_fd(
    state: Array,
    grad: Array,
    grad_sq: Array | None,
    probe_grad: Array,
    n: int,
    limit_grad: float,
    limit_curv: float,
    scale: float,
    faithful: bool,
    sums: Array,
) -> None:
    x, g_avg = state[:2, : grad.size]
    delta = x - probe_point(x, g_avg, scale)
    diff = grad - probe_grad
    curv = secant(diff, delta)
    if faithful:
        curv = np.abs(curv)
    if grad_sq is None:
        grad_sq = grad * grad
    curv_sq = curv * curv
    variant = FAITHFUL_FD if faithful else DEFAULT
    step(state, grad, grad_sq, curv, curv_sq, grad, n, limit_grad, limit_curv, scale, variant)
    for column, values in enumerate((delta * delta, diff * diff, state[5, : grad.size])):
        sums[:, column] = block_sums(values)


def block_sums(values: Array) -> Array:
    """Sums of each block, in the order that the contract lays down."""
    padded = np.zeros(n_blocks(values.size) * BLOCK, values.dtype)
    padded[: values.size] = values
    lanes = np.add.accumulate(padded.reshape(-1, BLOCK // LANES, LANES), axis=1)[:, -1]
    return np.add.accumulate(lanes.astype(np.float64), axis=1)[:, -1]


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
    add(indices, data, slots, total)
    add(indices, data * data, slots, total_sq)
    return k


def add(indices: Array, data: Array, slots: Array, total: Array) -> None:
    is_found = slots[indices] > 0
    np.add.at(total, slots[indices[is_found]] - 1, data[is_found])


def step_at(
    state: Array,
    columns: Array,
    count: Array,
    grad: Array,
    grad_sq: Array,
    curv: Array,
    curv_sq: Array,
    limit_grad: float,
    limit_curv: float,
    scale: float,
    variant: int,
) -> None:
    rows = state[:, columns]
    n = count.astype(grad.dtype)
    limit = limit_grad / n if variant == DEFAULT else limit_grad
    step(rows, grad, grad_sq, curv, curv_sq, grad, n, limit, limit_curv, scale, variant)
    state[:, columns] = rows


KERNELS = Kernels(
    f"numpy {np.__version__}",
    moments,
    curvature,
    probe,
    step,
    step_fd,
    bind(step_fd),
    collect,
    add,
    step_at,
    look,
    linear,
    square_rows,
    directions,
)
