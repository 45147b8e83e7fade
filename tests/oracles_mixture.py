"""Slow twin of ``refsgd.directional.em``: an EM step in mpmath, row by row, from the equations as printed."""

from __future__ import annotations

from typing import NamedTuple

import mpmath
import numpy as np
import oracles_directional as oracle

DIGITS = 60


class EMStep(NamedTuple):
    """What one iteration makes of a mixture; floats but for the last digit."""

    log_likelihood: np.ndarray  # (n,), of the mixture before the step
    shares: np.ndarray  # (n, k)
    means: np.ndarray  # (k, d)
    kappa: np.ndarray  # (k,)
    weights: np.ndarray  # (k,)


def em_step(rows, means, kappa, weights, *, is_shared, is_hard):
    """Banerjee et al. (2005), algorithms soft-moVMF and hard-moVMF, with the exact concentration."""
    n, d, k = len(rows), len(rows[0]), len(means)
    with mpmath.workdps(DIGITS):
        u = [unit(row) for row in rows]
        mu = [unit(mean) for mean in means]
        log_c = [oracle.exact(float(v), d).log_c for v in kappa]
        log_likelihood, shares = [], []
        for row in u:
            f = [
                mpmath.mpf(float(weights[j]))
                * mpmath.exp(log_c[j] + mpmath.mpf(float(kappa[j])) * dot(mu[j], row))
                for j in range(k)
            ]
            best = max(range(k), key=f.__getitem__)
            log_likelihood.append(mpmath.log(f[best] if is_hard else sum(f)))
            shares.append([mpmath.mpf(j == best) if is_hard else f[j] / sum(f) for j in range(k)])
        size = [sum(share[j] for share in shares) for j in range(k)]
        sums = [[sum(shares[i][j] * u[i][c] for i in range(n)) for c in range(d)] for j in range(k)]
        length = [mpmath.sqrt(dot(s, s)) for s in sums]
        r = [sum(length) / sum(size)] * k if is_shared else [a / b for a, b in zip(length, size, strict=True)]
        b = [max(1 - v, mpmath.mpf("1e-13")) for v in r]  # the bound that stands for kappa = inf
        return EMStep(
            as_floats(log_likelihood),
            as_floats(shares),
            as_floats([[v / a for v in s] for s, a in zip(sums, length, strict=True)]),
            as_floats([oracle.exact_concentration(1 - v, v, d) for v in b]),
            as_floats([v / n for v in size]),
        )


def unit(row):
    row = [mpmath.mpf(float(v)) for v in row]
    length = mpmath.sqrt(dot(row, row))
    return [v / length for v in row]


def dot(a, b):
    return sum(v * w for v, w in zip(a, b, strict=True))


def as_floats(values):
    return np.array(values, dtype=object).astype(np.float64)
