r"""The von Mises-Fisher distribution, ``f(u) = C_d(kappa) exp(kappa mu @ u)`` on the unit sphere of R^d.

Functions of numbers, vectorised over (kappa or r, dim); dim may be any real number from 2 on. The normaliser
is an integral of the Bessel ratio, ``d log C/d kappa = -A``, so it can be summed in the same way: with
``lambda = (d-1)/2``, ``s = hypot(lambda, kappa)`` and ``q = lambda/s`` it is elementary apart from a short
sum in 1/s. Likelihood ratios need its change from kappa = 0, ``log H = log C(0) - log C(kappa)``, which is
formed term by term, so that nothing is lost where C itself is astronomically large or small.

References
----------
.. [1] A. T. A. Wood, "Simulation of the von Mises Fisher distribution", Communications in Statistics -
   Simulation and Computation 23, 1994.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ._arguments import broadcast, checked, half_dimension
from ._coefficients import LOG_H, NORMALIZER, RATIO
from ._series import SERIES_FROM, Floats, double_sum
from .concentration import (
    compiled_for,
    concentration,
    mean_resultant_length,
    ratio_complement,
    ratio_derivative,
)

__all__ = [
    "concentration",
    "entropy",
    "kl_to_uniform",
    "log_h",
    "log_normalizer",
    "mean_resultant_length",
    "mean_resultant_length_complement",
    "mean_resultant_length_derivative",
]

NEGLIGIBLE = 300.0  # caps with a probability below exp(-300) are not distinguished
NODES, NODE_WEIGHTS = (0.5 * v for v in np.polynomial.legendre.leggauss(16))
NODES += 0.5  # on a panel from 0 to 1

mean_resultant_length_complement = ratio_complement
mean_resultant_length_derivative = ratio_derivative


def log_normalizer(kappa: ArrayLike, dim: ArrayLike) -> Any:
    """``log C_d(kappa)``, the log density at directions orthogonal to mu.

    Parameters
    ----------
    kappa : array_like of float
        Concentration, in [0, inf]; 0 gives minus the log area of the sphere, inf gives -inf. NaN gives NaN.
    dim : array_like of float
        Dimension of the space, real and at least 2; broadcast against `kappa`.

    Returns
    -------
    ndarray of float64, or a float where both arguments are scalars

    Raises
    ------
    TypeError
        If an argument is not made of integers or floats.
    ValueError
        If a concentration is negative, a dimension is below 2 or not finite, or shapes do not broadcast.

    See Also
    --------
    log_h : its change from kappa = 0.
    refsgd.VonMisesFisher.logpdf : the log density.

    Examples
    --------
    >>> float(log_normalizer(0.0, 2))  # -log(2 pi)
    -1.8378770664093453
    >>> log_normalizer([1.0, 1e6], 1e6).round(1)
    array([5488810.4, 5111382.3])
    """
    return log_parts(kappa, dim)[3]


def log_h(kappa: ArrayLike, dim: ArrayLike) -> Any:
    """``log H = log 0F1(; d/2; kappa**2/4) = log C_d(0) - log C_d(kappa)``.

    It is the log of the mean of ``exp(kappa mu @ u)`` over uniform u, and the Kullback-Leibler divergence of
    the uniform distribution from this one, to full relative accuracy.

    Parameters
    ----------
    kappa : array_like of float
        Concentration, in [0, inf]; inf gives inf. NaN gives NaN.
    dim : array_like of float
        Dimension of the space, real and at least 2; broadcast against `kappa`.

    Returns
    -------
    ndarray of float64, or a float where both arguments are scalars

    See Also
    --------
    log_normalizer : what it raises.
    kl_to_uniform : the divergence in the other direction.

    Examples
    --------
    >>> float(log_h(2.0, 3))  # in three dimensions log(sinh(kappa)/kappa)
    0.5952201920542227
    >>> f"{log_h(1e-150, 4):.3g}"  # kappa**2/(2d)
    '1.25e-301'
    """
    return log_parts(kappa, dim)[0]


def kl_to_uniform(kappa: ArrayLike, dim: ArrayLike) -> Any:
    """Kullback-Leibler divergence to the uniform distribution, in nats, to full relative accuracy.

    It is ``kappa A(kappa) - log H(kappa)``.

    Parameters
    ----------
    kappa : array_like of float
        Concentration, in [0, inf]; inf gives inf. NaN gives NaN.
    dim : array_like of float
        Dimension of the space, real and at least 2; broadcast against `kappa`.

    Returns
    -------
    ndarray of float64, or a float where both arguments are scalars

    See Also
    --------
    log_normalizer : what it raises.
    refsgd.VonMisesFisher.kl_divergence : between two distributions.

    Examples
    --------
    >>> kl_to_uniform([0.0, 1.0, float("inf")], 2)
    array([0.        , 0.21047561,        inf])
    """
    return log_parts(kappa, dim)[1]


def entropy(kappa: ArrayLike, dim: ArrayLike) -> Any:
    """Differential entropy, in nats: the log area of the sphere minus :func:`kl_to_uniform`.

    Parameters
    ----------
    kappa : array_like of float
        Concentration, in [0, inf]; inf gives -inf. NaN gives NaN.
    dim : array_like of float
        Dimension of the space, real and at least 2; broadcast against `kappa`.

    Returns
    -------
    ndarray of float64, or a float where both arguments are scalars

    See Also
    --------
    log_normalizer : what it raises.

    Examples
    --------
    >>> float(entropy(0.0, 3))  # log(4 pi)
    2.5310242469692907
    """
    return -_log_uniform(half_dimension(dim)) - kl_to_uniform(kappa, dim)


def log_parts(kappa: ArrayLike, dim: ArrayLike) -> tuple[Any, ...]:
    """log H, the divergence to the uniform distribution, the log density at the mode, and log C."""
    lam = half_dimension(dim)
    grid = broadcast(kappa=checked("kappa", kappa, np.inf), dim=lam)
    log_uniform = np.broadcast_to(_log_uniform(lam), grid[0].shape).ravel()
    x, lam = (v.ravel() for v in grid)
    found = np.empty((4, x.size))
    inner = ~np.isinf(x)
    found[:, ~inner] = [[np.inf], [np.inf], [np.inf], [-np.inf]]
    x, lam, log_uniform = x[inner], lam[inner], log_uniform[inner]
    if compiled := compiled_for(x.size):
        inside = np.empty((3, x.size))
        compiled.log_parts(x, lam, log_uniform, *inside)
    else:
        with np.errstate(over="ignore"):  # s + kappa, which divides
            inside = _log_parts(x, lam, log_uniform)
    found[:3, inner], found[3, inner] = inside, inside[2] - x
    return tuple(v.reshape(grid[0].shape)[()] for v in found)


def _log_uniform(lam: Floats) -> Floats:
    """``log C_d(0)``: minus the log area of the sphere."""
    value: Floats = special.gammaln(lam + 0.5) - (lam + 0.5) * np.log(np.pi) - np.log(2.0)
    return value


def _log_parts(x: Floats, lam: Floats, log_uniform: Floats) -> Floats:
    """log H, the divergence to the uniform distribution and the log density at the mode, at finite x.

    If lambda is below 32 and kappa not far above both, a recurrence carries them down from an order where the
    sums hold, as it does the ratio.
    """
    far = (lam < SERIES_FROM) & (x >= np.maximum(SERIES_FROM, 2.0 * lam))
    shift = np.where(far, 0.0, np.ceil(np.maximum(SERIES_FROM - lam, 0.0)))
    high = lam + shift
    s = np.hypot(high, x)
    q = high / s
    c = double_sum(RATIO, q, s, 1)
    mode = high * (np.log((high + s) / (2.0 * np.pi)) - high / (s + x)) - 0.5 * np.log1p(q)
    mode -= double_sum(NORMALIZER, q, s, 0)

    delta = x * (x / (s + high))  # kappa A = delta (1 + c)
    spread = high * np.log1p(0.5 * delta / high) + 0.5 * np.log1p(delta / (s + high))
    near = ~far
    spread[near] += delta[near] / s[near] * double_sum(LOG_H, q[near], high[near], 0)
    log_h, kl = delta - spread, delta * c + spread

    above = (2.0 * high + 1.0) * (1.0 + c) / (high + s)  # H one order higher, over H
    b = (high * (1.0 + high / (s + x)) - x * c) / (high + s)  # 1 - A
    low = shift > 0.0
    if low.any():
        growth, kl[low] = _carried_down(x[low], lam[low], shift[low], log_h[low], above[low], b[low])
        log_h[low] += growth
        mode[low] = log_uniform[low] - log_h[low] + x[low]
    if far.any():
        excess = mode - log_uniform
        log_h[far], kl[far] = (x - excess)[far], (excess - x * b)[far]
    return np.array([log_h, kl, mode])


def _carried_down(
    x: Floats, lam: Floats, shift: Floats, log_h: Floats, above: Floats, v: Floats
) -> tuple[Floats, Floats]:
    """Gain of log H when the order comes down by `shift` to lambda - 1/2, and the divergence there.

    ``H_n = H_{n+1} + H_{n+2} kappa**2/(4 (n+1) (n+2))``, all positive. In units of H at the high order, the
    loop carries ``H - 1``, so that a small gain is as accurate as a large one, and ``v = H (1 - A)``.
    """
    excess = np.zeros_like(x)
    for j in range(int(shift.max()), 0, -1):
        n, on = lam - 0.5 + j, j <= shift
        step = 0.25 * x * x / (n * (n + 1.0)) * above
        v = np.where(on, 1.0 + excess - 0.5 * x / n * v, v)
        above, excess = np.where(on, 1.0 + excess, above), np.where(on, excess + step, excess)
    growth = np.log1p(excess)
    a, b = x / (2.0 * lam + 1.0) * above / (1.0 + excess), v / (1.0 + excess)
    kl = np.where(a < 0.5, x * a - (growth + log_h), (x - growth) - log_h - x * b)  # kappa A - log H
    return growth, kl


def spread_divergence(kappa: float, other: float, dim: float) -> float:
    """KL between two distributions with one mean direction: ``int_kappa^other (other - t) A'(t) dt``.

    It uses Gauss's rule in panels on the scale of ``asinh(t/lambda)``, where the poles of A' are at least
    pi/2 away. The panels are so short that the error is below rounding.
    """
    lam = (dim - 1.0) / 2.0
    start, stop = np.arcsinh(kappa / lam), np.arcsinh(other / lam)
    panels = max(1, math.ceil(abs(stop - start)))
    edges = lam * np.sinh(np.linspace(start, stop, panels + 1))
    edges[0], edges[-1] = kappa, other
    width = np.diff(edges)[:, None]
    rest = (other - edges[1:, None]) + width * (1.0 - NODES)
    slope = ratio_derivative(edges[:-1, None] + width * NODES, dim)
    return float((NODE_WEIGHTS * (width * slope) * rest).sum())


def random_heights(kappa: float, dim: int, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """``1 - w`` and ``sqrt(1 - w**2)`` for n draws of ``w = mu @ u``, both to full relative accuracy.

    Wood's rejection [1]_: ``tan(theta/2)**2 = b z/(1 - z)`` with z from a beta law, accepted with
    probability ``((1 + y) exp(-y))**m``.
    """
    m, b = dim - 1, _envelope(kappa, dim)
    z = np.empty(0)
    while z.size < n:
        new = rng.beta(0.5 * m, 0.5 * m, n - z.size)
        y = 0.5 * (1.0 - b) * (2.0 * new - 1.0) / (1.0 - new + b * new)
        z = np.append(z, new[m * (np.log1p(y) - y) >= np.log1p(-rng.random(new.size))])
    scale = 1.0 - z + b * z
    return 2.0 * b * z / scale, 2.0 * np.sqrt(b * z * (1.0 - z)) / scale


def cap_angles(confidence: Floats, kappa: float, dim: int) -> Floats:
    """Angles (k,) between mu and a direction that are not exceeded with the given probabilities.

    The density of ``t = log(tan(theta/2)/sqrt(b))`` is proportional to
    ``(exp(-y) (1 + y)/cosh t)**m`` with y as in `random_heights`, so about as wide as ``1/sqrt(m)`` for all
    kappa. Gauss's rule in panels integrates it, and the root is then sought within its panel.
    """
    from scipy.optimize import brentq  # importing it takes as long as the rest of refsgd, and few need it

    m, b = dim - 1, _envelope(kappa, dim)

    def density(t: Any) -> Any:
        y = 0.5 * (1.0 - b) * np.expm1(2.0 * t) / (1.0 + b * np.exp(2.0 * t))
        return np.exp(m * (np.log1p(y) - y - 0.5 * np.log1p(np.sinh(t) ** 2)))

    def mass(start: Any, stop: Any) -> Any:
        width = stop - start
        return (width * NODE_WEIGHTS * density(start + width * NODES)).sum(axis=-1)

    reach = math.acosh(math.exp(NEGLIGIBLE / m))
    edges = np.linspace(-reach, reach, max(128, math.ceil(4.0 * reach)) + 1)
    below = np.append(0.0, np.cumsum(mass(edges[:-1, None], edges[1:, None])))

    def quantile(p: float) -> Any:
        if not 0.0 < p < 1.0:
            return math.inf * (p - 0.5)
        k = int(np.searchsorted(below, p * below[-1])) - 1
        rest = p * below[-1] - below[k]
        if not mass(edges[k], edges[k + 1]) > rest:  # by rounding
            return edges[k + 1]
        return brentq(lambda t: mass(edges[k], t) - rest, edges[k], edges[k + 1], xtol=1e-16 * reach)

    t: Floats = np.array([quantile(p) for p in confidence.tolist()])
    angles: Floats = 2.0 * np.arctan(np.sqrt(b) * np.exp(t))
    return angles


def _envelope(kappa: float, dim: int) -> float:
    """The parameter b of Wood's envelope, 1 at kappa = 0 and about ``m/(4 kappa)`` where that is small."""
    m = dim - 1.0
    return m / (2.0 * kappa + math.hypot(2.0 * kappa, m))
