"""Slow twins of ``refsgd.directional``: mpmath for the functions, all n rows at once for the statistics."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np

DIGITS = 60


def triple(kappa, dim):
    """A, 1 - A and A' by the continued fraction of the Bessel ratio, backwards from deep enough."""
    with mpmath.workdps(DIGITS):
        x, nu = mpmath.mpf(float(kappa)), mpmath.mpf(float(dim)) / 2 - 1
        depth, log_error = 1, 0.0
        while log_error > -DIGITS * math.log(10.0):
            m = float(nu) + depth
            log_error += 2.0 * math.log(float(kappa) / (m + math.hypot(m, float(kappa))))
            depth += 1
        a = x / (2 * (nu + depth + 1))
        for j in range(depth, 0, -1):
            a = 1 / (2 * (nu + j) / x + a)
        return a, 1 - a, 1 - a * a - (2 * nu + 1) * a / x


def besseli_ratio(kappa, dim):
    """A from the Bessel functions themselves, for moderate arguments."""
    with mpmath.workdps(DIGITS):
        nu = mpmath.mpf(float(dim)) / 2
        return mpmath.besseli(nu, float(kappa)) / mpmath.besseli(nu - 1, float(kappa))


def relative_error(got, true):
    with mpmath.workdps(DIGITS):
        return abs(float((mpmath.mpf(float(got)) - true) / true))


def concentration_error(kappa, r, dim, one_minus_r):
    """Relative error of kappa as the root of ``A = r``: one Newton step from it in extended precision."""
    a, complement, slope = triple(kappa, dim)
    with mpmath.workdps(DIGITS):
        gap = mpmath.mpf(float(r)) - a if r < 0.5 else complement - mpmath.mpf(float(one_minus_r))
        return abs(float(gap / slope / float(kappa)))


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def lengths(rows, weights):
    """r and 1 - r of the normalised rows, exactly but for the last digit."""
    with mpmath.workdps(DIGITS):
        total = [mpmath.mpf(0)] * rows.shape[1]
        for row, w in zip(rows, weights, strict=True):
            row = [mpmath.mpf(float(v)) for v in row]
            norm = mpmath.sqrt(sum(v * v for v in row))
            total = [t + mpmath.mpf(float(w)) * v / norm for t, v in zip(total, row, strict=True)]
        r = mpmath.sqrt(sum(t * t for t in total)) / sum(mpmath.mpf(float(w)) for w in weights)
        return float(r), float(1 - r)


def mean_pairwise_cosine(rows, weights):
    """``sum_{i != j} w_i w_j u_i @ u_j / sum_{i != j} w_i w_j``, pair by pair."""
    u = unit(rows)
    pairs = list(itertools.combinations(range(len(u)), 2))
    top = math.fsum(weights[i] * weights[j] * float(u[i] @ u[j]) for i, j in pairs)
    return top / math.fsum(weights[i] * weights[j] for i, j in pairs)


def blocks(rows, n_blocks):
    """Indices of the rows of every block that holds some."""
    index = np.arange(len(rows)) % n_blocks
    return [np.flatnonzero(index == b) for b in range(min(n_blocks, len(rows)))]


def jackknife(rows, weights, n_blocks, scale):
    """scale(U) and its standard error, every block in turn left out and U computed anew."""
    members = blocks(rows, n_blocks)
    whole = scale(mean_pairwise_cosine(rows, weights))
    h, left = [], []
    for block in members:
        rest = np.setdiff1d(np.arange(len(rows)), block)
        left.append(scale(mean_pairwise_cosine(rows[rest], weights[rest])))
        h.append(weights.sum() / weights[block].sum())
    centre = sum(whole - (1 - 1 / hb) * t for hb, t in zip(h, left, strict=True))
    squares = [(hb * whole - (hb - 1) * t - centre) ** 2 / (hb - 1) for hb, t in zip(h, left, strict=True)]
    return whole, math.sqrt(sum(squares) / len(members))


def signflip_pvalue(rows, weights, n_blocks):
    """Share of all 2**k sign vectors of the block sums whose resultant is as long as the observed one."""
    u = unit(rows)
    sums = [weights[block] @ u[block] for block in blocks(rows, n_blocks)]
    observed = np.linalg.norm(sum(sums))
    flips = itertools.product((1.0, -1.0), repeat=len(sums))
    found = [np.linalg.norm(sum(s * v for s, v in zip(signs, sums, strict=True))) for signs in flips]
    return np.mean(np.array(found) >= observed * (1.0 - 1e-10))


def von_mises_fisher(n, dim, kappa, rng):
    """Directions about the first axis, by Wood's rejection (1994) in the form for kappa > 0."""
    b = (dim - 1) / (2 * kappa + math.hypot(2 * kappa, dim - 1))
    x0 = (1 - b) / (1 + b)
    w = np.empty(0)
    while w.size < n:
        z = rng.beta((dim - 1) / 2, (dim - 1) / 2, 2 * n)
        t = (1 - (1 + b) * z) / (1 - (1 - b) * z)
        bound = kappa * x0 + (dim - 1) * math.log1p(-(x0**2))
        w = np.append(w, t[kappa * t + (dim - 1) * np.log1p(-x0 * t) - bound >= np.log(rng.random(t.size))])
    w = w[:n, None]
    return np.hstack([w, np.sqrt(1 - w**2) * unit(rng.normal(size=(n, dim - 1)))])
