"""The NumPy loops of ``concentration`` and ``vmf`` for Numba, equal to them up to rounding.

Functions take flat float64 arrays, write to preallocated outputs, which come last, and check nothing. The
equations are in the NumPy code. The inner loops run over `LANES` values, which the compiler keeps in vector
registers; no value depends on its neighbours.

Numba caches machine code by this file alone: touch it when the numbers that it imports change.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .._numba import jit
from . import _coefficients as coefficients
from ._series import LAST_STEP, MAX_STEPS, SERIES_FROM, TERMS, TERMS_FROM, Floats

LANES = 64
TWO_PI = 2.0 * math.pi


def _rectangle(table: tuple[tuple[float, ...], ...]) -> Floats:
    """The rows of a table as an array, padded with zeros; the last column holds their lengths."""
    array = np.zeros((len(table), max(map(len, table)) + 1))
    for i, row in enumerate(table):
        array[i, : len(row)] = row
        array[i, -1] = len(row)
    return array


RATIO = _rectangle(coefficients.RATIO)
CONCENTRATION = _rectangle(coefficients.CONCENTRATION)
NORMALIZER = _rectangle(coefficients.NORMALIZER)
LOG_H = _rectangle(coefficients.LOG_H)


@jit
def _terms(s: float) -> int:
    terms = TERMS[0]
    for i in range(1, len(TERMS)):  # no branch depends on s
        terms = TERMS[i] if s >= TERMS_FROM[i] else terms
    return terms


@jit
def _double_sum(table: Floats, terms: NDArray[np.int64], t: Floats, s_inv: Floats, total: Floats) -> None:
    n = terms.size
    row = np.empty(LANES)
    most = 0
    for i in range(n):
        most = max(most, terms[i])
        total[i] = 0.0
    for k in range(most - 1, -1, -1):
        last = int(table[k, -1]) - 1
        for i in range(n):
            row[i] = table[k, last]
        for j in range(last - 1, -1, -1):
            c = table[k, j]
            for i in range(n):
                row[i] = row[i] * t[i] + c
        for i in range(n):
            total[i] = (total[i] + row[i]) * s_inv[i] if k < terms[i] else 0.0


@jit
def _ratio(x: Floats, lam: Floats, a: Floats, b: Floats, slope: Floats) -> None:
    """A, 1 - A and A' of up to `LANES` values."""
    n = x.size
    work = np.empty((7, LANES))
    shift, s, s_inv, q = work[0], work[1], work[2], work[3]
    c, u, u_above = work[4], work[5], work[6]
    terms = np.empty(n, np.int64)
    most = 0.0
    for i in range(n):
        low = math.hypot(lam[i], x[i]) < SERIES_FROM
        shift[i] = math.ceil(math.sqrt(SERIES_FROM**2 - x[i] * x[i]) - lam[i]) if low else 0.0
        most = max(most, shift[i])
        s[i] = math.hypot(lam[i] + shift[i], x[i])
        q[i], s_inv[i] = (lam[i] + shift[i]) / s[i], 1.0 / s[i]
        terms[i] = _terms(s[i]) + 1
    _double_sum(RATIO, terms, q, s_inv, c)
    for i in range(n):
        high = lam[i] + shift[i]
        u[i], u_above[i] = 1.0, 2.0 * (1.0 + c[i]) / (high + s[i])
        b[i] = (high * (1.0 + high / (s[i] + x[i])) - x[i] * c[i]) / (high + s[i])
        slope[i] = -c[i] * (2.0 + (1.0 - q[i]) * c[i]) * (s[i] / (high + s[i]))
    for j in range(int(most), 0, -1):
        for i in range(n):
            h, order = 0.5 * x[i], lam[i] - 0.5 + j
            on = j <= shift[i]
            slope[i] = 0.5 * order * u[i] * u[i] - h * h * slope[i] if on else slope[i]
            b[i] = order * u[i] - h * b[i] if on else b[i]
            u_next = order * u[i] + h * h * u_above[i] if on else u[i]
            u_above[i] = u[i] if on else u_above[i]
            u[i] = u_next
    for i in range(n):
        a[i] = 0.5 * x[i] * (u_above[i] / u[i])
        b[i] /= u[i]
        slope[i] /= u[i] * u[i]


@jit
def triple(x: Floats, lam: Floats, a: Floats, b: Floats, slope: Floats) -> None:
    for i in range(0, x.size, LANES):
        j = i + LANES
        _ratio(x[i:j], lam[i:j], a[i:j], b[i:j], slope[i:j])


@jit
def _householder(r: Floats, b: Floats, lam: Floats, x: Floats) -> None:
    n = x.size
    work = np.empty((3, LANES))
    ratio, complement, slope = work[0, :n], work[1, :n], work[2, :n]
    is_open = np.ones(n, np.bool_)
    for _ in range(MAX_STEPS):
        _ratio(x, lam, ratio, complement, slope)
        for i in range(n):
            a = ratio[i]
            a1 = x[i] * slope[i]
            source = a1 + 2.0 * lam[i] * a
            a2 = source - 2.0 * (x[i] * a + lam[i]) * a1
            a3 = source - 4.0 * x[i] * a * a1 - 2.0 * x[i] * a1 * a1 - 2.0 * (x[i] * a + lam[i]) * a2
            newton = (r[i] - a if r[i] < 0.5 else complement[i] - b[i]) / a1
            k2, k3 = a2 / a1, a3 / a1
            step = newton * (1.0 - 0.5 * k2 * newton + (3.0 * k2 * k2 - k3) * newton * newton / 6.0)
            if is_open[i]:
                x[i] *= math.exp(min(max(step, -0.5), 0.5))
                is_open[i] = abs(step) >= LAST_STEP
        if not is_open.any():
            break


@jit
def _concentration(r: Floats, b: Floats, lam: Floats, kappa: Floats) -> None:
    n = r.size
    work = np.empty((9, LANES))
    x0, s0, w, s0_inv, total = work[0], work[1], work[2], work[3], work[4]
    low_r, low_b, low_lam, low_x = work[5], work[6], work[7], work[8]
    terms, low = np.empty(n, np.int64), np.empty(n, np.int64)
    m = 0
    for i in range(n):
        op, om = 1.0 + r[i] * r[i], b[i] * (1.0 + r[i])
        x0[i], s0[i], w[i] = 2.0 * lam[i] * r[i] / om, lam[i] * op / om, (2.0 * r[i] / op) ** 2
        s0_inv[i] = 1.0 / s0[i]
        terms[i] = _terms(s0[i]) if s0[i] >= SERIES_FROM else 0
    _double_sum(CONCENTRATION, terms, w, s0_inv, total)
    for i in range(n):
        kappa[i] = x0[i] * (1.0 + total[i])
        if s0[i] < SERIES_FROM and r[i] > 0.0:
            s, t = s0[i], w[i]
            start = x0[i] * (1.0 + 0.5 / s + (0.25 * t / (s * s)) / (1.0 + (1.5 - 2.5 * t) / s))
            low[m], low_r[m], low_b[m], low_lam[m], low_x[m] = i, r[i], b[i], lam[i], start
            m += 1
    if m > 0:
        _householder(low_r[:m], low_b[:m], low_lam[:m], low_x[:m])
        for i in range(m):
            kappa[low[i]] = low_x[i]


@jit
def concentration(r: Floats, b: Floats, lam: Floats, kappa: Floats) -> None:
    for i in range(0, r.size, LANES):
        j = i + LANES
        _concentration(r[i:j], b[i:j], lam[i:j], kappa[i:j])


@jit
def _log_parts(x: Floats, lam: Floats, log_uniform: Floats, log_h: Floats, kl: Floats, mode: Floats) -> None:
    n = x.size
    work = np.empty((7, LANES))
    q, s_inv, high_inv, shift = work[0], work[1], work[2], work[3]
    ratio_sum, normalizer_sum, log_h_sum = work[4], work[5], work[6]
    terms, more, near = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        far = lam[i] < SERIES_FROM and x[i] >= max(SERIES_FROM, 2.0 * lam[i])
        shift[i] = 0.0 if far else math.ceil(max(SERIES_FROM - lam[i], 0.0))
        high = lam[i] + shift[i]
        s = math.hypot(high, x[i])
        q[i], s_inv[i], high_inv[i] = high / s, 1.0 / s, 1.0 / high
        terms[i] = _terms(s)
        more[i], near[i] = terms[i] + 1, 0 if far else _terms(high)
    _double_sum(RATIO, more, q, s_inv, ratio_sum)
    _double_sum(NORMALIZER, terms, q, s_inv, normalizer_sum)
    _double_sum(LOG_H, near, q, high_inv, log_h_sum)
    for i in range(n):
        xi, high, c = x[i], lam[i] + shift[i], ratio_sum[i]
        s = math.hypot(high, xi)
        mode[i] = high * (math.log((high + s) / TWO_PI) - high / (s + xi)) - 0.5 * math.log1p(q[i])
        mode[i] -= normalizer_sum[i]
        b = (high * (1.0 + high / (s + xi)) - xi * c) / (high + s)
        if near[i] == 0:
            excess = mode[i] - log_uniform[i]
            log_h[i], kl[i] = xi - excess, excess - xi * b
            continue
        delta = xi * (xi / (s + high))
        spread = high * math.log1p(0.5 * delta / high) + 0.5 * math.log1p(delta / (s + high))
        spread += delta * s_inv[i] * log_h_sum[i]
        log_h[i], kl[i] = delta - spread, delta * c + spread
        if shift[i] > 0.0:
            excess, above, v = 0.0, (2.0 * high + 1.0) * (1.0 + c) / (high + s), b
            for j in range(int(shift[i]), 0, -1):
                order = lam[i] - 0.5 + j
                v = 1.0 + excess - 0.5 * xi / order * v
                above, excess = 1.0 + excess, excess + 0.25 * xi * xi / (order * (order + 1.0)) * above
            growth = math.log1p(excess)
            a = xi / (2.0 * lam[i] + 1.0) * above / (1.0 + excess)
            if a < 0.5:
                kl[i] = xi * a - (growth + log_h[i])
            else:
                kl[i] = (xi - growth) - log_h[i] - xi * (v / (1.0 + excess))
            log_h[i] += growth
            mode[i] = log_uniform[i] - log_h[i] + xi


@jit
def log_parts(x: Floats, lam: Floats, log_uniform: Floats, log_h: Floats, kl: Floats, mode: Floats) -> None:
    for i in range(0, x.size, LANES):
        j = i + LANES
        _log_parts(x[i:j], lam[i:j], log_uniform[i:j], log_h[i:j], kl[i:j], mode[i:j])
