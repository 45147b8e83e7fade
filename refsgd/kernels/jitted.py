"""Numba backend: the equations of `reference`, one parameter at a time, compiled on first use."""

from __future__ import annotations

import math

import numba
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
)
from .jitted_directions import directions, square_rows
from .jitted_linear import linear, look

MAX_CURV_F32 = 2.0 ** MAX_CURV_EXPONENT["float32"]
MAX_CURV_F64 = 2.0 ** MAX_CURV_EXPONENT["float64"]

jit = numba.njit(cache=True, error_model="numpy", nogil=True)
#: For short loops: a call with some arrays takes as long, and the compiler forgets how far apart these are.
inline = numba.njit(cache=True, error_model="numpy", nogil=True, inline="always")


@jit
def moments(rows: Array, mean: Array, mean_sq: Array | None) -> bool:
    n, d = rows.shape
    size, zero = mean.dtype.type(n), mean.dtype.type(0)
    is_finite = True
    mean[:] = 0
    if mean_sq is not None:
        mean_sq[:] = 0
    for begin in range(0, d, BLOCK):
        end = min(begin + BLOCK, d)
        for j in range(n):
            for i in range(begin, end):
                mean[i] += rows[j, i]
                if mean_sq is not None:
                    mean_sq[i] += rows[j, i] * rows[j, i]
        for i in range(begin, end):
            mean[i] /= size
            is_finite &= mean[i] * mean[i] * zero == zero
            if mean_sq is not None:
                mean_sq[i] /= size
                is_finite &= mean_sq[i] * zero == zero
    return is_finite


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
def probe_point(x: float, g_avg: float, scale: float, eps: float) -> float:
    offset = scale * g_avg
    shortest = eps * abs(x)
    if abs(offset) <= shortest:
        offset = math.copysign(shortest, offset)
    return x - offset


@inline
def probe(state: Array, scale: float, point: Array) -> None:
    real = state.dtype.type
    scale, eps = real(scale), real(WIDEN * np.finfo(state.dtype).eps)
    for i in range(point.size):
        point[i] = probe_point(state[0, i], state[1, i], scale, eps)


@inline
def advance(  # type: ignore[no-untyped-def]
    x, ga, g2a, ha, h2a, t, g, g2, h, h2, move, n, limit_g, limit_h, scale, variant, zero, one
):
    """One parameter: everything below the curvature. Numbers, ``zero`` and ``one`` too, have one dtype."""
    dg, dh = g - ga, h - ha
    g_var, h_var = abs(g2a - ga * ga), abs(h2a - ha * ha)
    is_outlier = (dg * dg > limit_g * g_var) | (dh * dh > limit_h * h_var)
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
    if variant == DEFAULT:
        curv2 = ha * ha + abs(h2a - ha * ha) * tau_inv
        gain = rho * math.sqrt(rho)
        known = gain / (curv2 if curv2 > 0 else one)
        rate = math.sqrt(known if curv2 > 0 else gain * (scale * scale))
        forget = rho
    else:
        if variant == FAITHFUL_FD:
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


@jit
def step(
    state: Array,
    grad: Array,
    grad_sq: Array,
    curv: Array,
    curv_sq: Array,
    move: Array,
    n: float,
    limit_grad: float,
    limit_curv: float,
    scale: float,
    variant: int,
) -> None:
    real, d = state.dtype.type, grad.size
    zero, one, n, s = real(0), real(1), real(n), real(scale)
    limit_g, limit_h = real(limit_grad), real(limit_curv)
    x, g_avg, g2_avg = state[0, :d], state[1, :d], state[2, :d]
    h_avg, h2_avg, tau = state[3, :d], state[4, :d], state[5, :d]
    for i in range(d):
        x[i], g_avg[i], g2_avg[i], h_avg[i], h2_avg[i], tau[i] = advance(
            x[i], g_avg[i], g2_avg[i], h_avg[i], h2_avg[i], tau[i],
            grad[i], grad_sq[i], curv[i], curv_sq[i], move[i], n, limit_g, limit_h, s, variant, zero, one,
        )  # fmt: skip


@jit
def collect(
    indices: Array, data: Array, slots: Array, columns: Array, count: Array, total: Array, total_sq: Array
) -> int:
    k = 0
    for e in range(data.size):
        value, column = data[e], indices[e]
        if value == 0:
            continue
        if slots[column] == 0:
            columns[k], count[k], total[k], total_sq[k] = column, 0, 0, 0
            k += 1
            slots[column] = k
        slot = slots[column] - 1
        count[slot] += 1
        total[slot] += value
        total_sq[slot] += value * value
    return k


@jit
def add(indices: Array, data: Array, slots: Array, total: Array) -> None:
    for e in range(data.size):
        slot = slots[indices[e]]
        if slot > 0:
            total[slot - 1] += data[e]


@jit
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
    real = state.dtype.type
    zero, one, s, limit, limit_h = real(0), real(1), real(scale), real(limit_grad), real(limit_curv)
    for j in range(columns.size):
        i, n = columns[j], real(count[j])
        limit_g = limit / n if variant == DEFAULT else limit
        state[0, i], state[1, i], state[2, i], state[3, i], state[4, i], state[5, i] = advance(
            state[0, i], state[1, i], state[2, i], state[3, i], state[4, i], state[5, i],
            grad[j], grad_sq[j], curv[j], curv_sq[j], grad[j], n, limit_g, limit_h, s, variant, zero, one,
        )  # fmt: skip


@inline
def advance_fd(  # type: ignore[no-untyped-def]
    x, ga, g2a, ha, h2a, t, g, g2, probe_g, n, limit_g, limit_h, scale, variant, eps, largest, zero, one
):
    """`advance` with the curvature by finite differences; returns what the sums are made of, too."""
    delta = x - probe_point(x, ga, scale, eps)
    diff = g - probe_g
    h = diff / (delta if delta != 0 else one)
    h = min(max(h if delta != 0 else zero, -largest), largest)
    h = abs(h) if variant == FAITHFUL_FD else h
    x, ga, g2a, ha, h2a, t = advance(
        x, ga, g2a, ha, h2a, t, g, g2, h, h * h, g, n, limit_g, limit_h, scale, variant, zero, one
    )
    return x, ga, g2a, ha, h2a, t, delta * delta, diff * diff


@inline
def update_fd(  # type: ignore[no-untyped-def]
    x, g_avg, g2_avg, h_avg, h2_avg, tau, grad, grad_sq, probe_grad,
    n, limit_g, limit_h, scale, variant, delta2, diff2,
):  # fmt: skip
    """`advance` each parameter of a block. Scalars have the dtype of x; a square that is None is computed."""
    real = x.dtype.type
    zero, one, eps = real(0), real(1), real(WIDEN * np.finfo(x.dtype).eps)
    largest = real(MAX_CURV_F32 if x.itemsize == 4 else MAX_CURV_F64)
    for i in range(x.size):
        g = grad[i]
        g2 = g * g if grad_sq is None else grad_sq[i]
        x[i], g_avg[i], g2_avg[i], h_avg[i], h2_avg[i], tau[i], delta2[i], diff2[i] = advance_fd(
            x[i], g_avg[i], g2_avg[i], h_avg[i], h2_avg[i], tau[i],
            g, g2, probe_grad[i], n, limit_g, limit_h, scale, variant, eps, largest, zero, one,
        )  # fmt: skip


@jit
def fold(values: Array, lanes: Array) -> None:
    """The interleaved partial sums ``lanes`` (LANES,) of one block."""
    whole = values.size // LANES * LANES
    lanes[:] = 0
    for begin in range(0, whole, LANES):
        row = values[begin : begin + LANES]
        for lane in range(LANES):
            lanes[lane] += row[lane]
    for i in range(whole, values.size):
        lanes[i - whole] += values[i]


@inline
def block_sums(one, two, three, lanes):  # type: ignore[no-untyped-def]
    """The sums of one block of each, in the order that the contract lays down.

    ``lanes`` (3, LANES) is overwritten. As few values as that are lanes themselves.
    """
    if one.size > LANES:
        fold(one, lanes[0])
        fold(two, lanes[1])
        fold(three, lanes[2])
        one, two, three = lanes[0], lanes[1], lanes[2]
    sum_one, sum_two, sum_three = 0.0, 0.0, 0.0
    for lane in range(one.size):
        sum_one += one[lane]
        sum_two += two[lane]
        sum_three += three[lane]
    return sum_one, sum_two, sum_three


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
    faithful: bool,
    sums: Array,
) -> None:
    real = state.dtype.type
    limit_g, limit_h, s = real(limit_grad), real(limit_curv), real(scale)
    variant = FAITHFUL_FD if faithful else DEFAULT
    scratch, lanes = np.empty((2, BLOCK), state.dtype), np.empty((3, LANES), state.dtype)
    for block in range(sums.shape[0]):
        i, j = block * BLOCK, min((block + 1) * BLOCK, grad.size)
        tau, delta2, diff2 = state[5, i:j], scratch[0, : j - i], scratch[1, : j - i]
        g2 = None if grad_sq is None else grad_sq[i:j]
        update_fd(
            state[0, i:j], state[1, i:j], state[2, i:j], state[3, i:j], state[4, i:j], tau,
            grad[i:j], g2, probe_grad[i:j], real(n), limit_g, limit_h, s, variant, delta2, diff2,
        )  # fmt: skip
        sums[block, 0], sums[block, 1], sums[block, 2] = block_sums(delta2, diff2, tau, lanes)


KERNELS = Kernels(
    f"numba {numba.__version__}",
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
