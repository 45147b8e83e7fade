"""The published rules in Numba: the equations of `published_numpy`, one parameter at a time."""

from __future__ import annotations

import math

import numpy as np

from .._numba import inline, jit
from .contract import BLOCK, FD, MAX_CURV_EXPONENT, WIDEN, Array, PublishedMoments, StepRule

MAX_CURV_F32 = 2.0 ** MAX_CURV_EXPONENT["float32"]
MAX_CURV_F64 = 2.0 ** MAX_CURV_EXPONENT["float64"]


@jit
def curvature(rows: Array, probe_rows: Array, x: Array, point: Array, mean: Array, mean_sq: Array) -> None:
    n, d = rows.shape
    size = mean.dtype.type(n)
    largest = mean.dtype.type(MAX_CURV_F32 if mean.itemsize == 4 else MAX_CURV_F64)
    mean[:] = 0
    mean_sq[:] = 0
    for begin in range(0, d, BLOCK):
        end = min(begin + BLOCK, d)
        for j in range(n):
            for i in range(begin, end):
                diff = abs(rows[j, i] - probe_rows[j, i])
                mean[i] += diff
                mean_sq[i] += diff * diff
    for i in range(d):
        delta = abs(x[i] - point[i])
        mean[i] = min(mean[i] / size / delta, largest) if delta > 0 else 0
        mean_sq[i] = min(mean_sq[i] / size / delta / delta, largest * largest) if delta > 0 else 0


@inline
def probe_point(x: float, g_avg: float, eps: float) -> float:
    shortest = eps * abs(x)
    return x + (math.copysign(shortest, g_avg) if abs(g_avg) <= shortest else g_avg)


@jit
def published_probe(state: Array, point: Array) -> None:
    eps = state.dtype.type(WIDEN * np.finfo(state.dtype).eps)
    for i in range(point.size):
        point[i] = probe_point(state[0, i], state[1, i], eps)


@inline
def advance(parameter, values, move, n, limit, variant, zero, one):  # type: ignore[no-untyped-def]
    """One parameter: everything below the curvature. Numbers, ``zero`` and ``one`` too, have one dtype.

    ``parameter`` has one number of each row of the state, ``values`` one of each of `PublishedMoments`.
    """
    (x, ga, g2a, ha, h2a, t), (g, g2, h, h2) = parameter, values
    dg, dh = g - ga, h - ha
    g_var, h_var = abs(g2a - ga * ga), abs(h2a - ha * ha)
    is_outlier = (dg * dg > limit * g_var) | (dh * dh > limit * h_var)
    t += one if is_outlier else zero

    tau_inv = one / t
    ga += tau_inv * dg
    g2a += tau_inv * (g2 - g2a)
    ha += tau_inv * dh
    h2a += tau_inv * (h2 - h2a)

    square = ga * ga
    total = g2a + (n - one) * square
    ratio = n * square / (total if total > 0 else one)
    rho = min(ratio if total > 0 else zero, one)
    if variant == FD:
        known = ha / (h2a if h2a > 0 else one)
        rate = (known if h2a > 0 else zero) * rho
    else:
        known = rho / (ha if ha > 0 else one)
        rate = known if ha > 0 else zero
    ratio = square / (g2a if g2a > 0 else one)
    forget = min(ratio if g2a > 0 else zero, one)
    t = (one - forget) * t + one

    moved = x - rate * move
    x = moved if moved - moved == 0 else x  # a step that would overflow is not taken
    return x, ga, g2a, ha, h2a, t


def published_step(state: Array, moments: PublishedMoments, move: Array, n: float, rule: StepRule) -> None:
    _step(state, tuple(moments), move, n, tuple(rule))  # Numba is slow to take named tuples


@jit
def _step(state: Array, moments: tuple[Array, ...], move: Array, n: float, rule: tuple[float, int]) -> None:
    (grad, grad_sq, curv, curv_sq), (outliers, variant) = moments, rule
    real, d = state.dtype.type, grad.size
    zero, one, n, limit = real(0), real(1), real(n), real(outliers)
    x, g_avg, g2_avg = state[0, :d], state[1, :d], state[2, :d]
    h_avg, h2_avg, tau = state[3, :d], state[4, :d], state[5, :d]
    for i in range(d):
        x[i], g_avg[i], g2_avg[i], h_avg[i], h2_avg[i], tau[i] = advance(
            (x[i], g_avg[i], g2_avg[i], h_avg[i], h2_avg[i], tau[i]),
            (grad[i], grad_sq[i], curv[i], curv_sq[i]), move[i], n, limit, variant, zero, one,
        )  # fmt: skip


@jit
def published_step_fd(
    state: Array, grad: Array, grad_sq: Array | None, probe_grad: Array, n: int, limit: float
) -> None:
    real, d = state.dtype.type, grad.size
    zero, one, size, bound = real(0), real(1), real(n), real(limit)
    eps, largest = (
        real(WIDEN * np.finfo(state.dtype).eps),
        real(MAX_CURV_F32 if state.itemsize == 4 else MAX_CURV_F64),
    )
    x, g_avg, g2_avg = state[0, :d], state[1, :d], state[2, :d]
    h_avg, h2_avg, tau = state[3, :d], state[4, :d], state[5, :d]
    for i in range(d):
        g = grad[i]
        g2 = g * g if grad_sq is None else grad_sq[i]
        delta = x[i] - probe_point(x[i], g_avg[i], eps)
        h = abs((g - probe_grad[i]) / (delta if delta != 0 else one))
        h = min(h if delta != 0 else zero, largest)
        x[i], g_avg[i], g2_avg[i], h_avg[i], h2_avg[i], tau[i] = advance(
            (x[i], g_avg[i], g2_avg[i], h_avg[i], h2_avg[i], tau[i]),
            (g, g2, h, h * h), g, size, bound, FD, zero, one,
        )  # fmt: skip


def published_step_at(
    state: Array, columns: Array, count: Array, moments: PublishedMoments, rule: StepRule
) -> None:
    _step_at(state, columns, count, tuple(moments), tuple(rule))


@jit
def _step_at(
    state: Array, columns: Array, count: Array, moments: tuple[Array, ...], rule: tuple[float, int]
) -> None:
    (grad, grad_sq, curv, curv_sq), (outliers, variant) = moments, rule
    real = state.dtype.type
    zero, one, limit = real(0), real(1), real(outliers)
    for j in range(columns.size):
        i, n = columns[j], real(count[j])
        state[0, i], state[1, i], state[2, i], state[3, i], state[4, i], state[5, i] = advance(
            (state[0, i], state[1, i], state[2, i], state[3, i], state[4, i], state[5, i]),
            (grad[j], grad_sq[j], curv[j], curv_sq[j]), grad[j], n, limit, variant, zero, one,
        )  # fmt: skip
