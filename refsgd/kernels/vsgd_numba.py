"""Kernels of the default rule for Numba: the equations of `vsgd_numpy`, one parameter at a time.

Functions that take rows of a state and have no sums are inlined, also into the compiled loop of a run: their
arrays have one length, of at most `BLOCK`, and their scalars the dtype of the arrays.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from . import vsgd_numpy
from .contract import BLOCK, LANES, LIMIT, WIDEN, Array

jit = numba.njit(cache=True, error_model="numpy", nogil=True)
#: For short loops: a call with some arrays takes as long, and the compiler forgets how far apart these are.
inline = numba.njit(cache=True, error_model="numpy", nogil=True, inline="always")

guarded = jit(vsgd_numpy.guarded)


# One parameter. Numbers, ``zero`` and ``one`` too, have one dtype.


@inline
def over(part, whole, zero, one):  # type: ignore[no-untyped-def]
    ratio = part / (whole if whole > 0 else one)
    return ratio if whole > 0 else zero


@inline
def moved(x, m, v, g, length, limit, zero, one):  # type: ignore[no-untyped-def]
    """x after a step along g, and the gain."""
    gain = over(abs(m), v, zero, one)
    reach = limit * math.sqrt(abs(v - m * m))
    low, high = m - reach, m + reach
    above = g if g > low else low
    there = x - (length * gain) * (above if above < high else high)
    return (there if there - there == 0 else x), gain


@inline
def advance(x, m, v, t, g, length, limit, four, zero, one):  # type: ignore[no-untyped-def]
    away = g - m
    t += one if away * away > four * abs(v - m * m) else zero
    keep = one / t
    m += keep * away
    v += keep * (g * g - v)
    x, gain = moved(x, m, v, g, length, limit, zero, one)
    rho = abs(m) * gain
    t = (one - (one if rho > one else rho)) * t + one
    return x, m, v, t


# Rows


@inline
def probe_rows(x: Array, m: Array, v: Array, length: float, point: Array) -> None:
    real = x.dtype.type
    zero, one, eps = real(0), real(1), real(WIDEN * np.finfo(x.dtype).eps)
    for i in range(point.size):
        offset, shortest = over(length * m[i], math.sqrt(v[i]), zero, one), eps * abs(x[i])
        if abs(offset) <= shortest:
            offset = math.copysign(shortest, offset)
        point[i] = x[i] - offset


@inline
def land_rows(x: Array, m: Array, v: Array, grad: Array, unit: float, length: float, point: Array) -> None:
    real = x.dtype.type
    zero, one, limit = real(0), real(1), real(LIMIT)
    for i in range(point.size):
        point[i], _ = moved(x[i], m[i], v[i], unit * grad[i], length, limit, zero, one)


@inline
def step_rows(x: Array, m: Array, v: Array, tau: Array, grad: Array, factor: float, length: float) -> None:
    real = x.dtype.type
    zero, one, four, limit = real(0), real(1), real(4), real(LIMIT)
    for i in range(grad.size):
        x[i], m[i], v[i], tau[i] = advance(
            x[i], m[i], v[i], tau[i], factor * grad[i], length, limit, four, zero, one
        )


@inline
def average_rows(x: Array, x_avg: Array, weight: float) -> None:
    for i in range(x.size):
        x_avg[i] += weight * (x[i] - x_avg[i])


@inline
def square_rows(grad: Array, unit: float, squares: Array) -> None:
    """What the sum of `check` is made of."""
    for i in range(grad.size):
        g = unit * grad[i]
        squares[i] = g * g


@inline
def secant_rows(  # type: ignore[no-untyped-def]
    x, v, point, grad, point_grad, unit, d2_metric, along, change2, slope
):
    """What the sums of `secant` are made of."""
    real = x.dtype.type
    zero, one = real(0), real(1)
    for i in range(grad.size):
        d, D, g = x[i] - point[i], math.sqrt(v[i]), unit * grad[i]
        change = g - unit * point_grad[i]
        d2_metric[i] = d * d * D
        along[i] = d * change
        change2[i] = over(change * change, D, zero, one)
        slope[i] = g * d


# Sums


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
def block_sum(values: Array, lanes: Array) -> float:
    """The sum of one block in the order that the contract lays down; ``lanes`` (LANES,) is overwritten."""
    if values.size > LANES:
        fold(values, lanes)
        values = lanes
    total = 0.0
    for value in values:  # as few as that are lanes themselves
        total += value
    return total


@inline
def add_blocks(sums: Array) -> None:
    """The sums of all blocks, in the last row."""
    n = sums.shape[0] - 1
    for column in range(sums.shape[1]):
        total = 0.0
        for block in range(n):
            total += sums[block, column]
        sums[n, column] = total


# The slots


@jit
def check(grad: Array, unit: float, sums: Array) -> None:
    scratch, lanes = np.empty(BLOCK, grad.dtype), np.empty(LANES, grad.dtype)
    unit = grad.dtype.type(unit)
    for block in range(sums.shape[0] - 1):
        part = grad[block * BLOCK : (block + 1) * BLOCK]
        squares = scratch[: part.size]
        square_rows(part, unit, squares)
        sums[block, 0] = block_sum(squares, lanes)
    add_blocks(sums)


@jit
def probe(state: Array, begin: int, length: float, point: Array) -> None:
    end = begin + point.size
    probe_rows(state[0, begin:end], state[1, begin:end], state[2, begin:end], state.dtype.type(length), point)


@jit
def land(state: Array, begin: int, grad: Array, unit: float, length: float, point: Array) -> None:
    real, end = state.dtype.type, begin + grad.size
    x, m, v = state[0, begin:end], state[1, begin:end], state[2, begin:end]
    land_rows(x, m, v, grad, real(unit), real(length), point)


@jit
def secant(
    state: Array, begin: int, point: Array, grad: Array, point_grad: Array, unit: float, sums: Array
) -> None:
    scratch, lanes = np.empty((4, BLOCK), state.dtype), np.empty(LANES, state.dtype)
    unit = state.dtype.type(unit)
    for block in range(sums.shape[0] - 1):
        i, j = block * BLOCK, min((block + 1) * BLOCK, grad.size)
        x, v = state[0, begin + i : begin + j], state[2, begin + i : begin + j]
        one, two, three, four = (
            scratch[0, : j - i],
            scratch[1, : j - i],
            scratch[2, : j - i],
            scratch[3, : j - i],
        )
        secant_rows(x, v, point[i:j], grad[i:j], point_grad[i:j], unit, one, two, three, four)
        for column in range(4):
            sums[block, column] = block_sum(scratch[column, : j - i], lanes)
    add_blocks(sums)


@jit
def step(
    state: Array, begin: int, grad: Array, factor: float, length: float, weight: float, sums: Array
) -> None:
    real, lanes = state.dtype.type, np.empty(LANES, state.dtype)
    for block in range(sums.shape[0] - 1):
        i, j = block * BLOCK, min((block + 1) * BLOCK, grad.size)
        a, b = begin + i, begin + j
        x, v, tau = state[0, a:b], state[2, a:b], state[3, a:b]
        step_rows(x, state[1, a:b], v, tau, grad[i:j], real(factor), real(length))
        if state.shape[0] > 4:
            average_rows(x, state[4, a:b], real(weight))
        sums[block, 0], sums[block, 1] = block_sum(v, lanes), block_sum(tau, lanes)
    add_blocks(sums)


@jit
def advance_all(state, energy, sums, grad, unit, g2_sum, length, weight):  # type: ignore[no-untyped-def]
    check(grad, unit, energy)
    total = energy[-1, 0]
    if not math.isfinite(total):
        return False
    step(state, 0, grad, guarded(unit, total, g2_sum), length, weight, sums)
    return True


def bind_advance(state: Array, energy: Array, sums: Array) -> Any:
    def advance(grad: Array, unit: float, g2_sum: float, length: float, weight: float) -> bool:
        return advance_all(state, energy, sums, grad, unit, g2_sum, length, weight)

    return advance
