r"""The Bessel ratio ``A = I_{d/2}(kappa) / I_{d/2-1}(kappa)`` and its inverse, for any dimension.

Throughout, ``lambda = (d-1)/2``, ``s = hypot(lambda, kappa)`` and ``q = lambda/s``. Where ``s >= 32``, both
the ratio and its inverse are short sums in ``1/s`` whose coefficients depend on ``q`` alone
(``_coefficients.py``). Below, the recurrence of the Bessel functions carries the ratio down from an order
where the sum holds, and Householder steps find the inverse. The sums are formal asymptotic expansions; the
tests justify them by comparison with mpmath.

The NumPy loops here are the oracle for the compiled ones in ``_compiled.py``, which long arrays use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import kernels
from .._config import backend_name
from ._arguments import broadcast, checked, half_dimension, with_complement
from ._coefficients import CONCENTRATION, RATIO
from ._series import LAST_STEP, MAX_STEPS, SERIES_FROM, Floats, double_sum

# Below this size NumPy takes a few ms, less than loading or compiling with Numba. The size alone decides, not
# what ran before, so that equal calls give equal bits.
COMPILED_FROM = 4096


def ratio(kappa: ArrayLike, dim: ArrayLike) -> Any:
    """Ratio ``A(kappa) = I_{d/2}(kappa) / I_{d/2-1}(kappa)``: the mean resultant length of the distribution.

    Parameters
    ----------
    kappa : array_like of float
        Concentration, in [0, inf]; 0 gives 0 and inf gives 1. NaN gives NaN.
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
    concentration : the inverse.
    ratio_complement, ratio_derivative

    Examples
    --------
    >>> float(ratio(2.0, 3))  # in three dimensions coth(kappa) - 1/kappa
    0.5373147207275482
    >>> ratio([0.0, 1e6, float("inf")], 1e6).round(6)
    array([0.      , 0.618034, 1.      ])
    """
    return triple(kappa, dim)[0]


def ratio_complement(kappa: ArrayLike, dim: ArrayLike) -> Any:
    """``1 - A(kappa)`` to full relative accuracy.

    Parameters
    ----------
    kappa : array_like of float
        Concentration, in [0, inf]; 0 gives 1 and inf gives 0. NaN gives NaN.
    dim : array_like of float
        Dimension of the space, real and at least 2; broadcast against `kappa`.

    Returns
    -------
    ndarray of float64, or a float where both arguments are scalars

    See Also
    --------
    ratio : what it raises.

    Examples
    --------
    >>> float(ratio_complement(1e20, 3))
    1e-20
    """
    return triple(kappa, dim)[1]


def ratio_derivative(kappa: ArrayLike, dim: ArrayLike) -> Any:
    """``dA/dkappa = 1 - A**2 - (d-1)*A/kappa`` to full relative accuracy.

    It is the variance of ``mu @ u``, and the Fisher information on kappa in one observation.

    Parameters
    ----------
    kappa : array_like of float
        Concentration, in [0, inf]; 0 gives 1/dim and inf gives 0. NaN gives NaN.
    dim : array_like of float
        Dimension of the space, real and at least 2; broadcast against `kappa`.

    Returns
    -------
    ndarray of float64, or a float where both arguments are scalars

    See Also
    --------
    ratio : what it raises.

    Examples
    --------
    >>> ratio_derivative([0.0, 10.0], 4)
    array([0.25      , 0.01411187])
    """
    return triple(kappa, dim)[2]


# The same function, named as a property of the distribution.
mean_resultant_length = ratio


def concentration(r: ArrayLike, dim: ArrayLike, one_minus_r: ArrayLike | None = None) -> Any:
    """Concentration kappa with ``A(kappa) = r``: the maximum-likelihood estimate from r.

    Calls no Bessel function. For ``s0 >= 32`` it sums the inverse series of the ratio; below, it starts from
    that series and takes fourth-order steps in log kappa.

    Parameters
    ----------
    r : array_like of float
        Mean resultant length, in [0, 1]; 0 gives 0 and 1 gives inf (its limit). NaN gives NaN.
    dim : array_like of float
        Dimension of the space, real and at least 2; broadcast against `r`.
    one_minus_r : array_like of float, optional
        ``1 - r``. For r near 1 it carries all the information: pass it if you know it better than by
        subtraction.

    Returns
    -------
    ndarray of float64, or a float where all arguments are scalars

    Raises
    ------
    TypeError
        If an argument is not made of integers or floats.
    ValueError
        If `r` or `one_minus_r` is outside [0, 1], they do not add up to 1, a dimension is below 2 or not
        finite, or shapes do not broadcast.

    See Also
    --------
    ratio : the inverse, `refsgd.vmf.mean_resultant_length`.
    refsgd.DirectionStats.concentration : other estimates, from data.

    Examples
    --------
    >>> float(concentration(0.5, 3))
    1.7967559847237136
    >>> concentration(1.0, 1e6, one_minus_r=[1e-18, 0.0])
    array([4.999995e+23,          inf])
    """
    r, b = with_complement(r, one_minus_r)
    grid = broadcast(r=r, one_minus_r=b, dim=half_dimension(dim))
    r, b, lam = (v.ravel() for v in grid)
    if compiled := compiled_for(r.size):
        kappa = np.empty(r.size)
        compiled.concentration(r, b, lam, kappa)
    else:
        kappa = _concentration(r, b, lam)
    return kappa.reshape(grid[0].shape)[()]


def _concentration(r: Floats, b: Floats, lam: Floats) -> Floats:
    with np.errstate(divide="ignore"):  # at r = 1, x0 = s0 = kappa = inf
        op, om = 1.0 + r * r, b * (1.0 + r)
        x0, s0, w = 2.0 * lam * r / om, lam * op / om, (2.0 * r / op) ** 2
    kappa = x0.copy()  # right where r is 0, 1 or NaN
    high = s0 >= SERIES_FROM
    kappa[high] = x0[high] * (1.0 + double_sum(CONCENTRATION, w[high], s0[high], 0))
    low = (s0 < SERIES_FROM) & (r > 0.0)
    if low.any():
        x0, s0, w = x0[low], s0[low], w[low]
        start = x0 * (1.0 + 0.5 / s0 + (0.25 * w / s0**2) / (1.0 + (1.5 - 2.5 * w) / s0))
        kappa[low] = _householder(r[low], b[low], lam[low], start)
    return kappa


def compiled_for(size: int) -> Any:
    """The module of compiled loops if `size` values are worth it, else None.

    Backend "numba" uses it for any size, "numpy" never, and the others if Numba is installed.
    """
    name = backend_name()
    if name == "numpy" or (name != "numba" and (size < COMPILED_FROM or kernels.unavailable("numba"))):
        return None
    kernels.load("numba")  # raises if the user chose Numba and it is missing
    from . import _compiled

    return _compiled


def triple(kappa: ArrayLike, dim: ArrayLike) -> tuple[Any, ...]:
    """A, 1 - A and A' of checked and broadcast arguments, limits included."""
    grid = broadcast(kappa=checked("kappa", kappa, np.inf), dim=half_dimension(dim))
    x, lam = (v.ravel() for v in grid)
    found = np.empty((3, x.size))
    inner = ~np.isinf(x)
    found[:, ~inner] = [[1.0], [0.0], [0.0]]
    x, lam = x[inner], lam[inner]
    if compiled := compiled_for(x.size):
        inside = np.empty((3, x.size))
        compiled.triple(x, lam, *inside)
        found[:, inner] = inside
    else:
        with np.errstate(over="ignore"):  # s + kappa, which divides
            found[:, inner] = _inner_triple(x, lam)
    return tuple(v.reshape(grid[0].shape)[()] for v in found)


def _inner_triple(x: Floats, lam: Floats) -> tuple[Floats, Floats, Floats]:
    """A, 1 - A and A' at finite x; nothing else in NumPy computes them."""
    short = np.sqrt(SERIES_FROM**2 - np.minimum(x, SERIES_FROM) ** 2) - lam
    shift = np.where(np.hypot(lam, x) < SERIES_FROM, np.ceil(short), 0.0)
    a_over_x, b, slope = _series(x, lam + shift)
    low = shift > 0.0
    if low.any():
        a_over_x[low], b[low], slope[low] = _carried_down(
            x[low], lam[low], shift[low], a_over_x[low], b[low], slope[low]
        )
    return x * a_over_x, b, slope


def _series(x: Floats, lam: Floats) -> tuple[Floats, Floats, Floats]:
    """A/x, 1 - A and A' by the sum in 1/s, without differences of nearly equal numbers."""
    s = np.hypot(lam, x)
    q = lam / s
    c = double_sum(RATIO, q, s, 1)
    a_over_x = (1.0 + c) / (lam + s)
    b = (lam * (1.0 + lam / (s + x)) - x * c) / (lam + s)
    slope = -c * (2.0 + (1.0 - q) * c) * (s / (lam + s))
    return a_over_x, b, slope


def _carried_down(
    x: Floats, lam: Floats, shift: Floats, a_over_x: Floats, b: Floats, slope: Floats
) -> tuple[Floats, Floats, Floats]:
    """A/x, 1 - A and A' at order lambda - 1/2, from their values at an order higher by `shift`.

    One step down is ``I_{n-1} = (2n/x) I_n + I_{n+1}``. u is proportional to I_{n-1}, v = u*(1 - A) and
    z = u**2 * A', so the only divisions are at the end.
    """
    h = 0.5 * x
    u, u_above, v, z = np.ones_like(x), 2.0 * a_over_x, b, slope
    for j in range(int(shift.max()), 0, -1):
        n = lam - 0.5 + j
        on = j <= shift
        z = np.where(on, 0.5 * n * u**2 - h**2 * z, z)
        v = np.where(on, n * u - h * v, v)
        u, u_above = np.where(on, n * u + h**2 * u_above, u), np.where(on, u, u_above)
    return 0.5 * u_above / u, v / u, z / u**2


def _householder(r: Floats, b: Floats, lam: Floats, x: Floats) -> Floats:
    """Solve A(x) = r, or 1 - A(x) = b in the upper half, by steps of order four in log x."""
    is_open = np.ones(x.shape, dtype=bool)
    for _ in range(MAX_STEPS):
        a, complement, slope = _inner_triple(x, lam)
        a1 = x * slope  # derivatives of A with respect to log x
        source = a1 + 2.0 * lam * a
        a2 = source - 2.0 * (x * a + lam) * a1
        a3 = source - 4.0 * x * a * a1 - 2.0 * x * a1**2 - 2.0 * (x * a + lam) * a2
        newton, k2, k3 = np.where(r < 0.5, r - a, complement - b) / a1, a2 / a1, a3 / a1
        step = newton * (1.0 - 0.5 * k2 * newton + (3.0 * k2**2 - k3) * newton**2 / 6.0)
        x = np.where(is_open, x * np.exp(np.clip(step, -0.5, 0.5)), x)
        is_open &= np.abs(step) >= LAST_STEP
        if not is_open.any():
            break
    return x
