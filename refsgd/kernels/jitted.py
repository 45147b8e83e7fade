"""Numba backend: the equations of `reference`, one parameter at a time, compiled on first use."""

from __future__ import annotations

import math

import numba
import numpy as np

from .contract import BLOCK, LANES, MAX_CURV_EXPONENT, WIDEN, Array, Kernels

MAX_CURV_F32 = 2.0 ** MAX_CURV_EXPONENT["float32"]
MAX_CURV_F64 = 2.0 ** MAX_CURV_EXPONENT["float64"]

jit = numba.njit(cache=True, error_model="numpy", nogil=True)
inline = numba.njit(cache=True, error_model="numpy", nogil=True, inline="always")


@jit
def moments(rows: Array, mean: Array, mean_sq: Array) -> None:
    n, d = rows.shape
    mean[:] = 0
    mean_sq[:] = 0
    for begin in range(0, d, BLOCK):
        end = min(begin + BLOCK, d)
        for j in range(n):
            for i in range(begin, end):
                mean[i] += rows[j, i]
                mean_sq[i] += rows[j, i] * rows[j, i]
    mean /= mean.dtype.type(n)
    mean_sq /= mean.dtype.type(n)


@jit
def curvature(rows: Array, probe_rows: Array, x: Array, point: Array, mean: Array, mean_sq: Array) -> None:
    n, d = rows.shape
    size = mean.dtype.type(n)
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
        mean[i] = mean[i] / size / delta if delta > 0 else 0
        mean_sq[i] = mean_sq[i] / size / delta / delta if delta > 0 else 0


@inline
def probe_point(x: float, g_avg: float, scale: float, eps: float) -> float:
    offset = scale * g_avg
    shortest = eps * abs(x)
    if abs(offset) <= shortest:
        offset = math.copysign(shortest, offset)
    return x - offset


@jit
def probe(state: Array, scale: float, point: Array) -> None:
    real = state.dtype.type
    scale, eps = real(scale), real(WIDEN * np.finfo(state.dtype).eps)
    for i in range(point.size):
        point[i] = probe_point(state[0, i], state[1, i], scale, eps)


@inline
def update(state, i, g, g2, h, h2, n, limit_grad, limit_curv, scale, lipschitz, faithful):  # type: ignore[no-untyped-def]
    """One parameter below the curvature; the scalars have the dtype of ``state``."""
    zero, one = state.dtype.type(0), state.dtype.type(1)
    g_avg, g2_avg, h_avg, h2_avg, tau = state[1, i], state[2, i], state[3, i], state[4, i], state[5, i]

    dg, dh = g - g_avg, h - h_avg
    g_var, h_var = max(g2_avg - g_avg * g_avg, zero), max(h2_avg - h_avg * h_avg, zero)
    if dg * dg > limit_grad * g_var or dh * dh > limit_curv * h_var:
        tau += one

    tau_inv = one / tau
    g_avg += tau_inv * dg
    g2_avg += tau_inv * (g2 - g2_avg)
    h_avg += tau_inv * dh
    h2_avg += tau_inv * (h2 - h2_avg)

    square = g_avg * g_avg
    total = g2_avg + (n - one) * square
    rho = min(n * square / (total if total > 0 else one), one)
    if faithful:
        rate = h_avg / (h2_avg if h2_avg > 0 else one) * rho
        forget = square / (g2_avg if g2_avg > 0 else one)
    else:
        doubt = lipschitz * tau_inv
        curv2 = h_avg * h_avg + max(h2_avg - h_avg * h_avg, zero) * tau_inv + doubt * doubt
        gain = rho * math.sqrt(rho)
        rate = math.sqrt(gain / curv2 if curv2 > 0 else gain * (scale * scale))
        forget = rho
    tau = max((one - forget) * tau + one, one)

    moved = state[0, i] - rate * g
    if moved - moved == 0:  # a step that would overflow is not taken
        state[0, i] = moved
    state[1, i], state[2, i], state[3, i], state[4, i], state[5, i] = g_avg, g2_avg, h_avg, h2_avg, tau


@jit
def step(
    state: Array,
    grad: Array,
    grad_sq: Array,
    curv: Array,
    curv_sq: Array,
    n: int,
    limit_grad: float,
    limit_curv: float,
    scale: float,
    lipschitz: float,
    faithful: bool,
) -> None:
    real = state.dtype.type
    size, limit_g, limit_h = real(n), real(limit_grad), real(limit_curv)
    s, lip = real(scale), real(lipschitz)
    for i in range(grad.size):
        g, g2, h, h2 = grad[i], grad_sq[i], curv[i], curv_sq[i]
        update(state, i, g, g2, h, h2, size, limit_g, limit_h, s, lip, faithful)


@jit
def step_fd(
    state: Array,
    grad: Array,
    grad_sq: Array | None,
    probe_grad: Array,
    n: int,
    limit_grad: float,
    limit_curv: float,
    scale: float,
    lipschitz: float,
    faithful: bool,
    sums: Array,
) -> None:
    real = state.dtype.type
    size, limit_g, limit_h = real(n), real(limit_grad), real(limit_curv)
    s, lip = real(scale), real(lipschitz)
    eps = real(WIDEN * np.finfo(state.dtype).eps)
    largest = real(MAX_CURV_F32 if state.itemsize == 4 else MAX_CURV_F64)
    d = grad.size
    lanes = np.empty((3, LANES), state.dtype)
    for block in range(sums.shape[0]):
        lanes[:] = 0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, d)):
            x, g = state[0, i], grad[i]
            delta = x - probe_point(x, state[1, i], s, eps)
            diff = g - probe_grad[i]
            h = diff / delta if delta != 0 else real(0)
            h = min(max(h, -largest), largest)
            if faithful:
                h = abs(h)
            g2 = g * g if grad_sq is None else grad_sq[i]
            update(state, i, g, g2, h, h * h, size, limit_g, limit_h, s, lip, faithful)
            lane = i % LANES
            lanes[0, lane] += delta * delta
            lanes[1, lane] += diff * diff
            lanes[2, lane] += state[5, i]
        for k in range(3):
            total = np.float64(0)
            for lane in range(LANES):
                total += lanes[k, lane]
            sums[block, k] = total


def set_num_threads(n: int) -> None:
    """These loops are serial; the C backend is the one that uses threads."""


KERNELS = Kernels(f"numba {numba.__version__}", moments, curvature, probe, step, step_fd, set_num_threads)
