"""Slow twins of ``refsgd.directional``: mpmath for the functions, all n rows at once for the statistics."""

from __future__ import annotations

import functools
import itertools
import math
from fractions import Fraction
from typing import NamedTuple

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


@functools.cache
def debye_polynomials(terms):
    """u_0 ... of Debye's expansion, DLMF 10.41.9, as exact coefficients of powers of p."""
    u = [[Fraction(1)]]
    for _ in range(terms):
        following = [Fraction(0)] * (len(u[-1]) + 3)
        for j, c in enumerate(u[-1]):
            following[j + 1] += c * j / 2 + c / (8 * (j + 1))
            following[j + 3] -= c * j / 2 + 5 * c / (8 * (j + 3))
        u.append(following)
    return u


def log_0f1(nu, x):
    """``log 0F1(; nu+1; x**2/4)`` in the precision that is set.

    From its power series, from Hankel's expansion of I_nu where x is large, or from Debye's in 26 powers of
    1/nu where nu is: three ways that share nothing with the sums in 1/s.
    """
    if x < 2e4 and (nu < 500 or x * x < nu):
        return mpmath.log(mpmath.hyp0f1(nu + 1, x * x / 4))
    if nu < 500:
        return mpmath.loggamma(nu + 1) - nu * mpmath.log(x / 2) + mpmath.log(mpmath.besseli(nu, x))
    root = mpmath.sqrt(1 + (x / nu) ** 2)
    total = mpmath.mpf(0)
    for k, u in enumerate(debye_polynomials(26)):
        total += sum(mpmath.mpf(c.numerator) / c.denominator / root**j for j, c in enumerate(u)) / nu**k
    log_i = nu * (root + mpmath.log(x / nu / (1 + root))) + mpmath.log(total)
    log_i -= mpmath.log(2 * mpmath.pi * nu * root) / 2
    return mpmath.loggamma(nu + 1) - nu * mpmath.log(x / 2) + log_i


class Exact(NamedTuple):
    log_h: mpmath.mpf
    kl: mpmath.mpf
    log_c: mpmath.mpf
    a: mpmath.mpf
    one_minus_a: mpmath.mpf
    a_prime: mpmath.mpf


def digits_for(kappa, dim):
    """Digits that leave `DIGITS` after the cancellations at very small and very large kappa/dim."""
    return DIGITS + int(3 * abs(mpmath.log10(kappa / dim)))


def exact(kappa, dim):
    """What ``refsgd.vmf`` computes, to 40 digits or more."""
    with mpmath.workdps(digits_for(kappa, dim)):
        x, nu = mpmath.mpf(kappa), mpmath.mpf(dim) / 2 - 1
        log_h = log_0f1(nu, x)
        a = x / (2 * nu + 2) * mpmath.exp(log_0f1(nu + 1, x) - log_h)
        log_c = mpmath.loggamma(nu + 1) - mpmath.log(2) - (nu + 1) * mpmath.log(mpmath.pi) - log_h
        return Exact(log_h, x * a - log_h, log_c, a, 1 - a, 1 - a * a - (2 * nu + 1) * a / x)


def exact_concentration(r, one_minus_r, dim):
    """The root of ``A(kappa) = r``, from 1/2 on that of ``1 - A(kappa) = one_minus_r``, by Newton's steps."""
    r, b, d = mpmath.mpf(r), mpmath.mpf(one_minus_r), mpmath.mpf(dim)
    with mpmath.workdps(2 * DIGITS):
        kappa = r * (d - r * r) / (b * (1 + r))
    while True:
        now = exact(kappa, dim)
        with mpmath.workdps(digits_for(kappa, dim)):
            gap = r - now.a if r < 0.5 else now.one_minus_a - b
            step = gap / now.a_prime / kappa
            kappa *= mpmath.exp(step)
        if abs(step) < mpmath.mpf(10) ** -30:
            return kappa


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


def folds(rows, n_folds):
    """Indices of the rows of every block that holds some."""
    index = np.arange(len(rows)) % n_folds
    return [np.flatnonzero(index == b) for b in range(min(n_folds, len(rows)))]


def jackknife(rows, weights, n_folds, scale):
    """scale(U) and its standard error, every block in turn left out and U computed anew."""
    members = folds(rows, n_folds)
    whole = scale(mean_pairwise_cosine(rows, weights))
    h, left = [], []
    for block in members:
        rest = np.setdiff1d(np.arange(len(rows)), block)
        left.append(scale(mean_pairwise_cosine(rows[rest], weights[rest])))
        h.append(weights.sum() / weights[block].sum())
    centre = sum(whole - (1 - 1 / hb) * t for hb, t in zip(h, left, strict=True))
    squares = [(hb * whole - (hb - 1) * t - centre) ** 2 / (hb - 1) for hb, t in zip(h, left, strict=True)]
    return whole, math.sqrt(sum(squares) / len(members))


def signflip_pvalue(rows, weights, n_folds):
    """Share of all 2**k sign vectors of the block sums whose resultant is as long as the observed one."""
    u = unit(rows)
    sums = [weights[fold] @ u[fold] for fold in folds(rows, n_folds)]
    observed = np.linalg.norm(sum(sums))
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(sums))))
    found = np.linalg.norm(signs @ np.array(sums), axis=1)
    return np.mean(found >= observed * (1.0 - 1e-10))


def report(rows, batch_size=1):
    """What a monitor has to say of gradients (n, d), from all of them at once; intervals and angles aside."""
    n, norms = len(rows), np.linalg.norm(rows, axis=1)
    mean, trace = rows.mean(axis=0), rows.var(axis=0, ddof=1).sum()
    signal = mean @ mean - trace / n
    found = {
        "n": n,
        "n_zero": np.count_nonzero(norms == 0),
        "dim": rows.shape[1],
        "snr": np.linalg.norm(mean) / math.sqrt(trace),
        "norm_snr": norms.mean() / norms.std(ddof=1),
        "noise_scale": batch_size * trace / signal if signal > 0 else math.inf,
    }
    rows = rows[norms > 0]
    ones = np.ones(len(rows))
    r, one_minus_r = lengths(rows, ones)
    d = rows.shape[1]
    return found | {
        "mean_resultant_length": r,
        "kappa": r * (d - r * r) / (one_minus_r * (1 + r)),
        "mean_pairwise_cosine": mean_pairwise_cosine(rows, ones),
    }


def mean_of_directions(mean, deviation):
    """``E g/|g|`` for independent normal entries, as ``1/|g| = integral exp(-s |g|**2) / sqrt(pi s) ds``."""
    s = np.exp(np.linspace(-25, 25, 2001))[:, None]
    wide = 1 + 2 * s * deviation**2
    laplace = np.exp((-0.5 * np.log(wide) - s * mean**2 / wide).sum(axis=1))
    integrand = np.sqrt(s / math.pi) * laplace[:, None] * mean / wide  # ds = s d(log s)
    return integrand.sum(axis=0) * 50 / 2000


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
