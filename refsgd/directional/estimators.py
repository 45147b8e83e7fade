"""What a sample of directions says about the concentration, as functions of numbers.

`r` is the mean resultant length, ``one_minus_r`` its complement (which carries all the information near r =
1), `dim` the dimension d, and `n` the number of directions. For weighted directions `n` is the effective
number ``sum(w)**2 / sum(w**2)``; every formula below then holds unless it says otherwise. Folds are disjoint
parts of the sample. Their sums provide what an interval or a test needs if the directions are not isotropic
about their mean, and gradients are not.

All functions raise TypeError if an argument is not real, and ValueError if r, ``one_minus_r`` or `dim` is out
of range, r and ``one_minus_r`` do not add up to 1, or `n` is not finite. A NaN for r gives NaN.

References
----------
- [1] A. Banerjee, I. S. Dhillon, J. Ghosh, S. Sra, "Clustering on the unit hypersphere using von
  Mises-Fisher distributions", JMLR 6, 2005.
- [2] G. Schou, "Estimation of the concentration parameter in von Mises-Fisher distributions",
  Biometrika 65, 1978.
- [3] K. V. Mardia, P. E. Jupp, "Directional Statistics", Wiley, 2000.
- [4] F. M. T. A. Busing, E. Meijer, R. van der Leeden, "Delete-m jackknife for unequal m", Statistics and
  Computing 9, 1999.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .._errors import message
from .._validation import float_array, real_number
from ._arguments import broadcast, dimension, with_complement
from ._series import Floats
from .concentration import concentration, ratio, ratio_complement, triple

mle = concentration


def banerjee(r: ArrayLike, dim: ArrayLike, one_minus_r: ArrayLike | None = None) -> Any:
    """``r (d - r**2) / (1 - r**2)``, the closed form of [1], eq. (4.4), for the concentration.

    Parameters
    ----------
    r, dim, one_minus_r : array_like of float
        As for :func:`refsgd.vmf.concentration`; they broadcast. r = 1 gives inf.

    Returns
    -------
    ndarray of float64, or a float where all arguments are scalars

    See Also
    --------
    refsgd.vmf.concentration : the maximum-likelihood estimate, to which this is an approximation.

    Examples
    --------
    >>> float(banerjee(0.5, 3))
    1.8333333333333333
    """
    length, complement = with_complement(r, one_minus_r)
    length, complement, d = broadcast(r=length, one_minus_r=complement, dim=dimension(dim))
    with np.errstate(divide="ignore"):
        return (length * (d - length**2) / (complement * (1.0 + length)))[()]


def mean_pairwise_cosine(r: float, n: float, one_minus_r: float | None = None) -> tuple[float, float]:
    """U, the mean of ``u_i @ u_j`` over all pairs i != j, and ``1 - U`` to full relative accuracy.

    ``U = (n r**2 - 1)/(n - 1)`` estimates ``|E u|**2``, which is ``A(kappa)**2``, without bias under any
    law of independent directions. It may be negative.

    Parameters
    ----------
    r : float
        Mean resultant length, in [0, 1].
    n : float
        Number of directions, more than 1, or its effective value.
    one_minus_r : float, optional
        ``1 - r``; pass it where you know it better than by subtraction.

    Returns
    -------
    u, one_minus_u : float

    Raises
    ------
    ValueError
        If ``n <= 1``: one direction has no pairs.

    See Also
    --------
    unbiased : the concentration that belongs to U.

    Examples
    --------
    >>> mean_pairwise_cosine(0.5, 4)
    (0.0, 1.0)
    """
    n, (r, b) = _checked_size(n), _checked_length(r, one_minus_r)
    return float((n * r * r - 1.0) / (n - 1.0)), float(n * b * (1.0 + r) / (n - 1.0))


def unbiased(r: float, dim: float, n: float, one_minus_r: float | None = None) -> float:
    """Concentration whose ``A(kappa)**2`` is the mean pairwise cosine U, or 0 if U is negative.

    Unlike the maximum-likelihood estimate, it is not inflated if n is below d: uniform directions give about
    0.

    Parameters
    ----------
    r : float
        Mean resultant length, in [0, 1].
    dim : float
        Dimension of the space, real and at least 2.
    n : float
        Number of directions, more than 1, or its effective value.
    one_minus_r : float, optional
        ``1 - r``; pass it where you know it better than by subtraction.

    Returns
    -------
    float

    See Also
    --------
    marginal : another estimate for few directions.
    jackknife_interval, score_interval : intervals about this estimate.

    Examples
    --------
    >>> unbiased(0.1, 1000, 100)  # 100 uniform directions have r near 1/sqrt(100)
    0.0
    >>> float(mle(0.1, 1000).round(3))
    101.008
    """
    dim = _checked_dim(dim)
    return _from_pairwise_cosine(*mean_pairwise_cosine(r, n, one_minus_r), dim)


def marginal(r: float, dim: float, n: float, one_minus_r: float | None = None) -> float:
    """Concentration that makes the resultant length most likely if the mean direction is unknown.

    It is the root of ``A(kappa) = r A(n r kappa)`` [2], and 0 if ``n r**2 <= 1``. Weighted directions have
    no such likelihood; for them it solves the same equation at the effective number.

    Parameters
    ----------
    r : float
        Mean resultant length, in [0, 1].
    dim : float
        Dimension of the space, real and at least 2.
    n : float
        Number of directions, more than 1, or its effective value.
    one_minus_r : float, optional
        ``1 - r``; pass it where you know it better than by subtraction.

    Returns
    -------
    float

    See Also
    --------
    unbiased : another estimate for few directions.

    Examples
    --------
    >>> marginal(0.1, 1000, 99)
    0.0
    >>> round(marginal(0.5, 3, 10), 3)
    1.473
    """
    dim, n, (r, b) = _checked_dim(dim), _checked_size(n), _checked_length(r, one_minus_r)
    if n * r * r <= 1.0:
        return 0.0
    if np.isnan(r + b):
        return np.nan

    def excess(kappa: float) -> Any:
        if r < 0.5:
            return r * ratio(n * r * kappa, dim) - ratio(kappa, dim)
        return ratio_complement(kappa, dim) - (b + r * ratio_complement(n * r * kappa, dim))

    start = float(concentration(r, dim, b))
    return start if np.isinf(start) else _last_positive(excess, start)


def score_interval(
    r: float, dim: float, n: float, level: float = 0.95, one_minus_r: float | None = None
) -> tuple[float, float]:
    """Interval of all kappa for which U is within z standard deviations of ``A(kappa)**2``.

    The variance is that of a von Mises-Fisher sample,
    ``4 A^2 A'/n + 2 (A'^2 + (d-1)(A/kappa)^2)/(n (n-1))``. So the interval holds for directions that are
    isotropic about their mean, in any dimension and from n = 2 on.

    Parameters
    ----------
    r : float
        Mean resultant length, in [0, 1].
    dim : float
        Dimension of the space, real and at least 2.
    n : float
        Number of directions, more than 1, or its effective value.
    level : float
        Intended coverage, between 0 and 1.
    one_minus_r : float, optional
        ``1 - r``; pass it where you know it better than by subtraction.

    Returns
    -------
    low, high : float
        An end may be 0; both are inf if all directions are equal.

    Raises
    ------
    ValueError
        If ``n <= 1``, or `level` is not between 0 and 1.

    See Also
    --------
    jackknife_interval : for directions of any law.

    Examples
    --------
    >>> [round(end, 2) for end in score_interval(0.5, 3, 100)]
    [1.36, 2.24]
    """
    dim, n, level = _checked_dim(dim), _checked_size(n), _checked_level(level)
    u, one_minus_u = mean_pairwise_cosine(r, n, one_minus_r)
    if np.isnan(u + one_minus_u):
        return np.nan, np.nan
    z = special.ndtri(0.5 + 0.5 * level)
    pairs = n * (n - 1.0)

    def gap(kappa: float, side: float) -> float:
        a, b, slope = triple(kappa, dim)
        variance = 4.0 * a**2 * slope / n + 2.0 * (slope**2 + (dim - 1.0) * (a / kappa) ** 2) / pairs
        distance = u - a**2 if u < 0.5 else b * (1.0 + a) - one_minus_u
        return float(distance - side * z * np.sqrt(variance))

    at_zero = z * np.sqrt(2.0 / (dim * pairs))
    start = max(_from_pairwise_cosine(u, one_minus_u, dim), float(np.sqrt(dim / n)))
    if np.isinf(start):
        return start, start
    low = _last_positive(lambda kappa: gap(kappa, 1.0), start) if u > at_zero else 0.0
    high = _last_positive(lambda kappa: gap(kappa, -1.0), start) if u > -at_zero else 0.0
    return low, high


def jackknife_interval(
    gram: Floats, weight: Floats, weight2: Floats, sq_distance: Floats, dim: float, level: float = 0.95
) -> tuple[float, float]:
    """Interval of kappa by leaving out one fold at a time, for directions of any law.

    This is Student's interval about U with the variance of the delete-m jackknife [4], because folds may
    differ in weight. It is computed on the scale ``z = arctanh(sqrt((U + floor)/(1 + floor)))``, on which
    errors are about equally large on both sides. That is Fisher's z of the mean resultant length (near 1,
    half the logarithm of kappa), kept smooth through U = 0 by a floor of two standard errors of U.

    Parameters
    ----------
    gram : (k, k) ndarray
        Inner products of the folds' sums ``S = sum w (u - c)`` about one reference direction c.
    weight, weight2, sq_distance : (k,) ndarray
        ``sum w``, ``sum w**2`` and ``sum w |u - c|**2`` of each fold. Folds without weight are ignored.
    dim : float
        Dimension of the space.
    level : float
        Intended coverage.

    Returns
    -------
    low, high : float
        The lower end is 0 if U may be 0; the upper is inf if a single fold keeps U from being 1.

    Raises
    ------
    ValueError
        If fewer than 3 folds have weight, shapes do not fit, an entry is not finite, or `level` is not
        between 0 and 1.

    See Also
    --------
    score_interval : shorter, for directions that are isotropic about their mean.

    Examples
    --------
    >>> gram = np.diag([1.0, 2.0, 3.0]) + 8.0
    >>> low, high = jackknife_interval(gram, *np.full((3, 3), 4.0), dim=3)
    >>> round(low, 2), round(high, 2)
    (2.7, 4.24)
    """
    dim, gram = _checked_dim(dim), _checked_gram(gram)
    weight, weight2, sq_distance = (
        float_array(name, value, (len(gram),))
        for name, value in (("weight", weight), ("weight2", weight2), ("sq_distance", sq_distance))
    )
    held = weight > 0.0
    k = int(np.count_nonzero(held))
    if k < 3:
        must = "have at least 3 folds with directions"
        raise ValueError(message("the jackknife", must, k, "collect more directions"))
    level = _checked_level(level)
    gram = gram[np.ix_(held, held)]
    weight, weight2, sq_distance = weight[held], weight2[held], sq_distance[held]

    def one_minus_u(w: Any, w2: Any, q: Any, resultant2: Any) -> Any:
        return np.maximum(w * q - resultant2, 0.0) / (w**2 - w2)

    def standard_error(t: Any, t_left: Any) -> Any:
        h = weight.sum() / weight
        pseudo = h * t - (h - 1.0) * t_left
        centre = k * t - ((1.0 - 1.0 / h) * t_left).sum()
        return np.sqrt(((pseudo - centre) ** 2 / (h - 1.0)).mean())

    whole = one_minus_u(weight.sum(), weight2.sum(), sq_distance.sum(), gram.sum())
    left = one_minus_u(
        weight.sum() - weight,
        weight2.sum() - weight2,
        sq_distance.sum() - sq_distance,
        gram.sum() - 2.0 * gram.sum(axis=1) + gram.diagonal(),
    )
    if whole == 0.0:
        return np.inf, np.inf
    if not left.all():
        return 0.0, np.inf
    floor = 2.0 * standard_error(whole, left)

    def scaled(c: Any) -> Any:
        c = np.minimum(c / (1.0 + floor), 1.0)
        return np.log1p(np.sqrt(1.0 - c)) - 0.5 * np.log(c)

    reach = special.stdtrit(k - 1, 0.5 + 0.5 * level) * standard_error(scaled(whole), scaled(left))
    ends = (scaled(whole) - reach, scaled(whole) + reach)
    complements = [(1.0 + floor) / np.cosh(max(z, 0.0)) ** 2 for z in ends]
    low, high = (_from_pairwise_cosine(1.0 - c, c, dim) for c in complements)
    return low, high


def isotropic_uniformity(r: float, dim: float, n: float) -> float:
    """P-value of uniform against concentrated directions, from the resultant length.

    Under uniformity ``z = U sqrt(n (n-1) d/2)`` has mean 0, variance 1 and the skewness of a chi-squared
    variable with ``f = d n (n-1)/(n-2)**2`` degrees of freedom, whose tail gives the p-value. For ``d <= 3``
    and ``n < 10`` it is the modified Rayleigh statistic of [3], section 10.4.1. The test is one-sided: a
    sample that is spread too evenly has a p-value near 1. The effective number of weighted directions matches
    the first two moments only.

    Parameters
    ----------
    r : float
        Mean resultant length, in [0, 1].
    dim : float
        Dimension of the space, real and at least 2.
    n : float
        Number of directions, at least 3, or its effective value.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If ``n < 3``.

    See Also
    --------
    signflip_uniformity : for directions of any covariance.

    Examples
    --------
    >>> round(isotropic_uniformity(0.1, 1000, 100), 2)
    0.49
    """
    dim, n, (r, _) = _checked_dim(dim), _checked_size(n), _checked_length(r, None)
    if n < 3.0:
        raise ValueError(message("n", "be at least 3", f"{n:g}", "collect more directions"))
    if dim <= 3.0 and n < 10.0:
        rayleigh = dim * n * r * r
        return float(
            special.gammaincc(dim / 2.0, 0.5 * rayleigh * (1.0 - (1.0 - rayleigh / (dim + 2.0)) / (2.0 * n)))
        )
    u, _ = mean_pairwise_cosine(r, n)
    z = u * np.sqrt(0.5 * n * (n - 1.0) * dim)
    f = dim * n * (n - 1.0) / (n - 2.0) ** 2
    return float(special.gammaincc(0.5 * f, np.maximum(0.5 * (f + z * np.sqrt(2.0 * f)), 0.0)))


def signflip_uniformity(gram: Floats) -> float:
    """P-value of no mean direction: ``|sum s S|**2`` over folds, for all signs s of the folds' sums S.

    It is exact, whatever the covariance, if the law of the directions is symmetric, and otherwise as far as
    the law of the folds' sums is. It tries all ``2**(k-1)`` sign vectors that differ by more than a global
    sign, so the smallest p-value is ``2**(1-k)``. It forms them from pairs of halves, whose inner products
    are one matrix product.

    Parameters
    ----------
    gram : (k, k) ndarray
        Inner products of the folds' sums ``S = sum w u`` about the origin. Empty folds are ignored.

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    ValueError
        If fewer than 2 folds have directions, `gram` is not square, or an entry is not finite.

    See Also
    --------
    isotropic_uniformity : more power, if no mean direction implies uniform directions.

    Examples
    --------
    >>> signflip_uniformity(np.eye(5))
    1.0
    >>> signflip_uniformity(np.ones((5, 5)))
    0.0625
    """
    gram = _checked_gram(gram)
    held = gram.diagonal() > 0.0
    k = int(np.count_nonzero(held))
    if k < 2:
        must = "have at least 2 folds with directions"
        raise ValueError(message("the sign-flip test", must, k, "collect more directions"))
    gram = gram[np.ix_(held, held)]
    h = k // 2
    one, other = sign_vectors(h), sign_vectors(k - h)[: 2 ** (k - h - 1)]  # the last sign is kept
    resultant2 = ((one @ gram[:h, :h]) * one).sum(axis=1)[:, None] + 2.0 * (one @ gram[:h, h:] @ other.T)
    resultant2 += ((other @ gram[h:, h:]) * other).sum(axis=1)
    rounding = 1e-12 * np.abs(gram).sum()  # ties count, on whichever side they fall
    return float(np.mean(resultant2 >= resultant2[0, 0] - rounding))


def sign_vectors(k: int) -> Floats:
    """All sign vectors (2**k, k); row 0 is all plus, and the last sign is minus in the second half."""
    return np.where(np.arange(2**k)[:, None] >> np.arange(k) & 1, -1.0, 1.0)


def _checked_length(r: float, one_minus_r: float | None) -> tuple[float, float]:
    given = None if one_minus_r is None else real_number("one_minus_r", one_minus_r)
    length, complement = with_complement(real_number("r", r), given)
    return float(length), float(complement)


def _checked_dim(dim: float) -> float:
    return float(dimension(real_number("dim", dim)))


def _checked_size(n: float) -> float:
    n = real_number("n", n)
    if not n > 1.0:
        raise ValueError(message("n", "be greater than 1", f"{n:g}", "collect at least two directions"))
    if n == np.inf:
        raise ValueError(message("n", "be finite", n, "pass the number of directions"))
    return n


def _checked_gram(gram: Floats) -> Floats:
    gram = float_array("gram", gram, ("k", "k"))
    return float_array("gram", gram, (len(gram), len(gram)))


def _from_pairwise_cosine(u: float, one_minus_u: float, dim: float) -> float:
    """kappa with ``A(kappa)**2 = u``, or 0 if u is negative."""
    if u <= 0.0:
        return 0.0
    root = np.sqrt(u)
    return float(concentration(min(root, 1.0), dim, one_minus_u / (1.0 + root)))


def _checked_level(level: float) -> float:
    level = real_number("level", level)
    if not 0.0 < level < 1.0:
        raise ValueError(message("level", "be between 0 and 1", f"{level:g}", "pass for example level=0.95"))
    return level


def _last_positive(f: Callable[[float], float], start: float) -> float:
    """The kappa at which f, positive towards 0 and negative towards inf, changes sign."""
    from scipy.optimize import brentq  # importing it takes as long as the rest of refsgd, and few need it

    low = high = start
    while f(low) < 0.0:
        low *= 0.5
        if low == 0.0:
            return 0.0
    while f(high) > 0.0:
        high *= 2.0
        if np.isinf(high):
            return high
    return (
        low
        if low == high
        else float(np.exp(brentq(lambda t: f(np.exp(t)), np.log(low), np.log(high), xtol=1e-14)))
    )
