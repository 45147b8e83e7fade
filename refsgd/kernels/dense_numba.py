"""The default rule in Numba: the equations of `dense_numpy`, a parameter at a time, compiled on first use."""

from __future__ import annotations

import math

import numpy as np

from .._numba import inline, jit
from . import dense_numpy
from .contract import BLOCK, LANES, LIMIT, WIDEN, Array


@jit
def lanes_sum(values: Array, lanes: Array) -> float:
    """The sum of one block, in the order that the contract lays down. ``lanes`` (LANES,) is overwritten."""
    whole = values.size // LANES * LANES
    lanes[:] = 0
    for begin in range(0, whole, LANES):
        row = values[begin : begin + LANES]
        for lane in range(LANES):
            lanes[lane] += row[lane]
    for i in range(whole, values.size):
        lanes[i - whole] += values[i]
    total = 0.0
    for lane in range(LANES):
        total += lanes[lane]
    return total


@jit
def add_blocks(sums: Array) -> None:
    """The last row: the sum of the others, in order."""
    last = sums.shape[0] - 1
    sums[last] = 0
    for block in range(last):
        for column in range(sums.shape[1]):
            sums[last, column] += sums[block, column]


@inline
def moved(x, m, v, g, length, limit, zero, one):  # type: ignore[no-untyped-def]
    """x after a step along g, and the gain. All numbers have one dtype."""
    ratio = abs(m) / (v if v > 0 else one)
    gain = ratio if v > 0 else zero
    reach = limit * math.sqrt(abs(v - m * m))
    low, high = m - reach, m + reach
    limited = g if g > low else low
    there = x - (length * gain) * (limited if limited < high else high)
    return (there if there - there == 0 else x), gain  # a step that would overflow is not taken


@inline
def update(x, m, v, tau, grad, factor, length):  # type: ignore[no-untyped-def]
    """One step of each parameter of a block. Scalars have the dtype of x."""
    real = x.dtype.type
    zero, one, four, limit = real(0), real(1), real(4), real(LIMIT)
    for i in range(x.size):
        g = factor * grad[i]
        off = g - m[i]
        t = tau[i] + (one if off * off > four * abs(v[i] - m[i] * m[i]) else zero)
        keep = one / t
        m[i] += keep * off
        v[i] += keep * (g * g - v[i])
        x[i], gain = moved(x[i], m[i], v[i], g, length, limit, zero, one)
        rho = abs(m[i]) * gain
        tau[i] = (one - (one if rho > one else rho)) * t + one  # NaN where rho is


@jit
def check(grad: Array, unit: float, sums: Array) -> None:
    factor, squares, lanes = grad.dtype.type(unit), np.empty(BLOCK, grad.dtype), np.empty(LANES, grad.dtype)
    for block in range(sums.shape[0] - 1):
        g = grad[block * BLOCK : min((block + 1) * BLOCK, grad.size)]
        for i in range(g.size):
            squares[i] = (factor * g[i]) * (factor * g[i])
        sums[block, 0] = lanes_sum(squares[: g.size], lanes)
    add_blocks(sums)


@inline
def probe_point(x, m, v, length, eps, one):  # type: ignore[no-untyped-def]
    ratio = length * m / (math.sqrt(v) if v > 0 else one)
    offset = ratio if v > 0 else one - one
    shortest = eps * abs(x)
    if abs(offset) <= shortest:
        offset = math.copysign(shortest, offset)
    return x - offset


@jit
def probe(state: Array, begin: int, length: float, point: Array) -> None:
    real = state.dtype.type
    size, eps, one = real(length), real(WIDEN * np.finfo(state.dtype).eps), real(1)
    for i in range(point.size):
        j = begin + i
        point[i] = probe_point(state[0, j], state[1, j], state[2, j], size, eps, one)


@jit
def land(state: Array, begin: int, grad: Array, unit: float, length: float, point: Array) -> None:
    real = state.dtype.type
    factor, size, limit, zero, one = real(unit), real(length), real(LIMIT), real(0), real(1)
    for i in range(grad.size):
        j = begin + i
        point[i], _ = moved(state[0, j], state[1, j], state[2, j], factor * grad[i], size, limit, zero, one)


@inline
def secant_terms(x, v, point, g, other, zero, one):  # type: ignore[no-untyped-def]
    d, metric, change = x - point, math.sqrt(v), g - other
    bound = change * change / (metric if metric > 0 else one)
    return d * d * metric, d * change, (bound if metric > 0 else zero), g * d


@jit
def secant(
    state: Array, begin: int, point: Array, grad: Array, point_grad: Array, unit: float, sums: Array
) -> None:
    real = state.dtype.type
    factor, zero, one = real(unit), real(0), real(1)
    terms, lanes = np.empty((4, BLOCK), state.dtype), np.empty(LANES, state.dtype)
    for block in range(sums.shape[0] - 1):
        first = block * BLOCK
        size = min(BLOCK, grad.size - first)
        for i in range(size):
            j = first + i
            terms[0, i], terms[1, i], terms[2, i], terms[3, i] = secant_terms(
                state[0, begin + j], state[2, begin + j], point[j],
                factor * grad[j], factor * point_grad[j], zero, one,
            )  # fmt: skip
        for column in range(4):
            sums[block, column] = lanes_sum(terms[column, :size], lanes)
    add_blocks(sums)


@jit
def step(
    state: Array, begin: int, grad: Array, factor: float, length: float, weight: float, sums: Array
) -> None:
    real, lanes = state.dtype.type, np.empty(LANES, state.dtype)
    for block in range(sums.shape[0] - 1):
        first = block * BLOCK
        last = min(first + BLOCK, grad.size)
        a, b = begin + first, begin + last
        x, m, v, tau = state[0, a:b], state[1, a:b], state[2, a:b], state[3, a:b]
        update(x, m, v, tau, grad[first:last], real(factor), real(length))
        if state.shape[0] > 4:
            share = real(weight)
            for i in range(a, b):
                state[4, i] += share * (state[0, i] - state[4, i])
        sums[block, 0] = lanes_sum(v, lanes)
        sums[block, 1] = lanes_sum(tau, lanes)
    add_blocks(sums)


bind_advance = dense_numpy.bind_advance(check, step)
