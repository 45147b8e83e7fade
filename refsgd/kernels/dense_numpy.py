"""The oracle of the default rule: plain NumPy, one equation a line. All else is compared with it.

Per parameter the state holds x, m (``g_avg``), v (``g2_avg``) and tau; D = sqrt(v) is the metric in which
``length`` is measured. ``unit`` is a power of 2 that gradients are multiplied by, so that their squares stay
in range: it changes no bit of x.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .contract import BLOCK, GUARD, LANES, LIMIT, WIDEN, Array, n_blocks


def add_up(values: list[Array], sums: Array) -> None:
    """The sums of each block and, in the last row, of all: in the order that the contract lays down."""
    for column, value in enumerate(values):
        padded = np.zeros(n_blocks(value.size) * BLOCK, value.dtype)
        padded[: value.size] = value
        lanes = np.add.accumulate(padded.reshape(-1, BLOCK // LANES, LANES), axis=1)[:, -1] + 0  # no -0
        sums[:-1, column] = np.add.accumulate(lanes.astype(np.float64), axis=1)[:, -1]
        sums[-1, column] = np.add.accumulate(sums[:-1, column])[-1]


def guarded(unit: float, energy: float, g2_sum: float) -> float:
    """A minibatch out of proportion counts as `GUARD` root mean squares."""
    if energy > GUARD**2 * g2_sum > 0:
        return unit * (GUARD * math.sqrt(g2_sum / energy))
    return unit


def over(part: Array, whole: Array) -> Array:
    """part / whole, 0 where the whole is 0."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0)


@np.errstate(over="ignore", invalid="ignore")
def check(grad: Array, unit: float, sums: Array) -> None:
    g = grad.dtype.type(unit) * grad
    add_up([g * g], sums)


@np.errstate(over="ignore", invalid="ignore")
def probe(state: Array, begin: int, length: float, point: Array) -> None:
    x, m, v, _ = state[:4, begin : begin + point.size]
    offset = over(x.dtype.type(length) * m, np.sqrt(v))
    shortest = WIDEN * np.finfo(x.dtype).eps * np.abs(x)
    offset = np.where(np.abs(offset) <= shortest, np.copysign(shortest, offset), offset)
    point[:] = x - offset


def moved(x: Array, m: Array, v: Array, g: Array, length: float) -> tuple[Array, Array]:
    """x after a step along g, and the gain ``|m| / v``, which is ``sqrt(rho) / D``."""
    gain = over(np.abs(m), v)
    reach = LIMIT * np.sqrt(np.abs(v - m * m))
    low, high = m - reach, m + reach
    limited = np.where(g > low, g, low)  # NumPy's minimum has zeros of either sign
    limited = np.where(limited < high, limited, high)
    there = x - (x.dtype.type(length) * gain) * limited
    return np.where(np.isfinite(there), there, x), gain  # a step that would overflow is not taken


@np.errstate(over="ignore", invalid="ignore")
def land(state: Array, begin: int, grad: Array, unit: float, length: float, point: Array) -> None:
    x, m, v, _ = state[:4, begin : begin + grad.size]
    point[:], _ = moved(x, m, v, grad.dtype.type(unit) * grad, length)


@np.errstate(over="ignore", invalid="ignore")
def secant(
    state: Array, begin: int, point: Array, grad: Array, point_grad: Array, unit: float, sums: Array
) -> None:
    x, _, v, _ = state[:4, begin : begin + grad.size]
    unit = grad.dtype.type(unit)
    d, D, g = x - point, np.sqrt(v), unit * grad
    change = g - unit * point_grad
    add_up([d * d * D, d * change, over(change * change, D), g * d], sums)


@np.errstate(over="ignore", invalid="ignore")
def step(
    state: Array, begin: int, grad: Array, factor: float, length: float, weight: float, sums: Array
) -> None:
    x, m, v, tau, *averages = state[:, begin : begin + grad.size]
    g = grad.dtype.type(factor) * grad

    tau += (g - m) ** 2 > 4 * np.abs(v - m * m)  # an outlier: the memory grows by a step
    keep = 1 / tau
    m += keep * (g - m)
    v += keep * (g * g - v)

    x[:], gain = moved(x, m, v, g, length)
    rho = np.minimum(np.abs(m) * gain, 1)
    tau[:] = (1 - rho) * tau + 1
    for x_avg in averages:
        x_avg += x.dtype.type(weight) * (x - x_avg)
    add_up([v, tau], sums)


def bind_advance(check: Any, step: Any) -> Any:
    """`contract.BindAdvance` of a backend that takes arrays as they are."""

    def bind_advance(state: Array, energy: Array, sums: Array) -> Any:
        def advance(grad: Array, unit: float, g2_sum: float, length: float, weight: float) -> bool:
            check(grad, unit, energy)
            total = float(energy[-1, 0])
            if not math.isfinite(total):
                return False
            step(state, 0, grad, guarded(unit, total, g2_sum), length, weight, sums)
            return True

        return advance

    return bind_advance
