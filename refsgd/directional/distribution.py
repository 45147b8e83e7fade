"""The von Mises-Fisher distribution as an object: density, fit, samples, divergence, caps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._errors import message
from .._validation import choice, float_array, integer, real_number
from . import estimators, vmf
from ._arguments import checked
from ._series import Floats
from .concentration import ratio
from .directions import CHUNK, Directions
from .stats import DirectionStats, Estimator

UNIT_TOLERANCE = 1e-5  # for lengths; the value of SciPy, wide enough for rows normalised in float32


@dataclass(frozen=True, eq=False)
class VonMisesFisher:
    """The law on the unit sphere with density ``f(u) = C_d(kappa) exp(kappa mu @ u)``.

    Two distributions are equal, and have the same hash, if their `mu` and `kappa` are equal bit for bit.

    Parameters
    ----------
    mu : (d,) array_like
        Mean direction, a unit vector, d >= 2. It is kept in float64, read-only, and normalised if its length
        is off by more than rounding.
    kappa : float
        Concentration, in [0, inf]: 0 is the uniform law, inf has all mass at `mu`.

    Raises
    ------
    TypeError
        If `mu` or `kappa` is not real.
    ValueError
        If `mu` is not a unit vector of at least two finite entries, or `kappa` is negative or NaN.

    See Also
    --------
    refsgd.vmf : what does not depend on `mu`, vectorised over kappa and the dimension.
    refsgd.DirectionStats : estimates, intervals and tests from streamed directions.
    refsgd.VonMisesFisherMixture : several such distributions, fitted to one sample.

    Examples
    --------
    >>> law = VonMisesFisher([0.6, 0.8, 0.0], kappa=20.0)
    >>> rows = law.rvs(1000, random_state=0)
    >>> rows.shape
    (1000, 3)
    >>> fitted = VonMisesFisher.fit(rows)
    >>> round(fitted.kappa, 2)
    19.83
    >>> fitted.mu.round(1)
    array([0.6, 0.8, 0. ])
    >>> fitted.kl_divergence(law) < 0.01
    True
    """

    mu: Floats
    kappa: float

    def __post_init__(self) -> None:
        mu = float_array("mu", _real(self.mu), ("d",)).astype(np.float64) + 0.0  # -0.0 and 0.0 are one hash
        if mu.size < 2:
            raise ValueError(message("mu", "have at least 2 entries", mu.size, "pass a point of a sphere"))
        length = float(np.linalg.norm(mu))
        if not abs(length - 1.0) <= UNIT_TOLERANCE:
            raise ValueError(message("mu", "be a unit vector", f"length {length:.6g}", "divide it by that"))
        if abs(length - 1.0) > 1e-14:  # otherwise it is as accurate as it can be, and stays as it is
            mu /= length
        mu.flags.writeable = False
        kappa = real_number("kappa", self.kappa)
        if not kappa >= 0.0:
            raise ValueError(message("kappa", "be in [0, inf]", kappa, "pass a concentration of 0 or more"))
        object.__setattr__(self, "mu", mu)
        object.__setattr__(self, "kappa", kappa)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VonMisesFisher):
            return NotImplemented
        return self.kappa == other.kappa and np.array_equal(self.mu, other.mu)

    def __hash__(self) -> int:
        return hash((self.mu.tobytes(), self.kappa))

    @property
    def dim(self) -> int:
        """Dimension d of the space."""
        return self.mu.size

    @cached_property
    def _log_mode(self) -> float:
        """The log density at mu, which costs more than the rest of `logpdf` on a few rows."""
        return float(vmf.log_parts(self.kappa, self.dim)[2])

    @classmethod
    def fit(
        cls,
        rows: Any,
        *,
        weights: ArrayLike | None = None,
        normalize: bool = False,
        estimator: Estimator = "mle",
        mu: ArrayLike | None = None,
        kappa: float | None = None,
    ) -> VonMisesFisher:
        """Fit a distribution to directions.

        Parameters
        ----------
        rows : (n, d) array_like of float32 or float64, or scipy.sparse matrix or array
            One direction per row. Sparse rows are not made dense.
        weights : (n,) array_like of float32 or float64, optional
            Positive weights of the rows; 1 by default.
        normalize : bool
            Accept rows of any length but zero. By default, rows must be unit vectors, to 1e-5.
        estimator : {"mle", "banerjee", "unbiased", "marginal"}
            Estimator of the concentration, see :mod:`refsgd.directional.estimators`. With fewer rows than
            dimensions, the first two mostly measure the number of rows; the last two do not.
        mu : (d,) array_like, optional
            Mean direction, if known. The concentration then follows from the mean of ``mu @ u``, by "mle" or
            "banerjee", and is 0 if that mean is negative.
        kappa : float, optional
            Concentration, if known, in [0, inf].

        Returns
        -------
        VonMisesFisher
            Its kappa is inf if all rows are equal.

        Raises
        ------
        TypeError
            If a dtype is neither float32 nor float64.
        ValueError
            If a shape does not fit; a row is not finite, zero, or under ``normalize=False`` not a unit
            vector; a weight is not positive; there are fewer than 2 rows to estimate a concentration from;
            rows cancel, so that they have no mean direction; both `mu` and `kappa` are given; or `estimator`
            needs an unknown `mu`.

        See Also
        --------
        refsgd.DirectionStats : for directions that come in pieces.

        Examples
        --------
        >>> gradients = np.random.default_rng(0).normal(size=(50, 1000)) + 0.1
        >>> round(VonMisesFisher.fit(gradients, normalize=True, estimator="unbiased").kappa)
        99
        """
        choice("estimator", estimator, get_args(Estimator))
        if mu is not None and kappa is not None:
            raise ValueError(message("kappa", "be None where mu is given", kappa, "leave one of them to fit"))
        given = Directions.of(rows, "d")
        if not normalize:
            given.check_unit(UNIT_TOLERANCE, "drop zero rows and pass normalize=True")
        stats = DirectionStats(given.vectors.shape[1], n_folds=1)
        stats.update(given.vectors, weights)
        if mu is not None:
            known = cls(float_array("mu", _real(mu), (stats.dim,)), 0.0).mu
            return cls(known, _along(known, stats, estimator))
        if stats.mean_resultant_length == 0.0:
            remedy = "the fit is uniform: VonMisesFisher(mu, 0.0) with any mu"
            raise ValueError(message("rows", "have a mean direction", "rows that cancel", remedy))
        if kappa is None:
            if stats.n < 2:
                raise ValueError(message("rows", "number at least 2", stats.n, "collect more or pass kappa"))
            kappa = stats.concentration(estimator)
        return cls(stats.mean_direction, kappa)

    def logpdf(self, x: ArrayLike) -> Any:
        """Log density with respect to the area of the sphere, in nats.

        It is computed as ``log f(mu) - kappa |x - mu|**2/2``. Near mu, where ``kappa mu @ x`` and ``log C_d``
        cancel, this keeps its digits at any concentration, and rounding in the length of x does not matter.

        Parameters
        ----------
        x : (..., d) array_like
            Unit vectors, to 1e-5.

        Returns
        -------
        (...) ndarray of float64, or a float for one vector
            At ``kappa = inf`` the density is that of a point mass: inf where x equals mu and -inf elsewhere.

        Raises
        ------
        TypeError
            If `x` is not real.
        ValueError
            If the last axis does not have length d, or a vector does not have length 1.

        See Also
        --------
        pdf : the density itself.
        refsgd.vmf.log_normalizer : the part that does not depend on x.

        Examples
        --------
        >>> float(VonMisesFisher([0, 0, 1], 3.0).logpdf([0, 0, 1]))  # log(3/(2 pi (1 - exp(-6))))
        -0.7367829483722761
        """
        x = _real(x)
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise ValueError(message("x", f"have shape (..., {self.dim})", x.shape, "pass one point a row"))
        rows = float_array("x", x.reshape(-1, self.dim), ("n", self.dim), finite=False)
        Directions(rows).check_unit(UNIT_TOLERANCE, "divide each row by its length", "x")
        gap = np.empty(len(rows))
        for part in _chunks(len(rows), self.dim):
            off = rows[part] - self.mu
            gap[part] = 0.5 * np.einsum("ij,ij->i", off, off)
        if np.isinf(self.kappa):
            values = np.where(gap == 0.0, np.inf, -np.inf)
        else:
            values = self._log_mode - self.kappa * gap
        return values.reshape(x.shape[:-1])[()]

    def pdf(self, x: ArrayLike) -> Any:
        """Density with respect to the area of the sphere, ``exp(logpdf(x))``.

        In many dimensions it leaves the range of float64, and `logpdf` does not.

        Parameters
        ----------
        x : (..., d) array_like
            Unit vectors, to 1e-5.

        Returns
        -------
        (...) ndarray of float64, or a float for one vector

        See Also
        --------
        logpdf : what it raises, and the density at ``kappa = inf``.

        Examples
        --------
        >>> float(VonMisesFisher([0, 1], 0.0).pdf([1, 0]))  # 1/(2 pi)
        0.15915494309189535
        """
        with np.errstate(over="ignore"):
            return np.exp(self.logpdf(x))

    def rvs(self, size: int | tuple[int, ...] = 1, random_state: Any = None) -> Floats:
        """Draw random directions, in time and memory linear in their number and in d.

        Wood's rejection (1994) draws heights along mu, in terms of ``1 - mu @ u`` so that they are accurate
        at any concentration. A normal vector of d - 1 entries gives the direction across, and a Householder
        reflection takes the first axis to mu.

        Parameters
        ----------
        size : int or tuple of int
            Number of directions, or the shape of an array of directions.
        random_state : None, int or numpy.random.Generator
            Seed or source of random numbers.

        Returns
        -------
        (..., d) ndarray of float64
            Unit vectors up to rounding. As in SciPy, the default gives one direction of shape (1, d).

        Raises
        ------
        TypeError, ValueError
            If `size` does not consist of integers of 0 or more.

        See Also
        --------
        fit : the way back.

        Examples
        --------
        >>> mu = np.full(10_000, 0.01)
        >>> u = VonMisesFisher(mu, 1e5).rvs(3, random_state=0)
        >>> u.shape, (u @ mu).round(2)
        ((3, 10000), array([0.95, 0.95, 0.95]))
        """
        shape = tuple(integer("size", k, 0) for k in (size if isinstance(size, tuple) else (size,)))
        rng = np.random.default_rng(random_state)
        n = math.prod(shape)
        if np.isinf(self.kappa):
            return np.tile(self.mu, (*shape, 1))
        below, across = vmf.random_heights(self.kappa, self.dim, n, rng)
        rows = np.empty((n, self.dim))
        sign = math.copysign(1.0, self.mu[0])
        normal = self.mu.copy()
        normal[0] += sign  # the reflection along it takes -sign * (first axis) to mu
        for part in _chunks(n, self.dim):
            u = rng.standard_normal(out=rows[part])
            u[:, 0] = 0.0
            u *= (across[part] / np.sqrt(np.einsum("ij,ij->i", u, u)))[:, None]
            u[:, 0] = -sign * (1.0 - below[part])
            u -= np.outer(u @ (normal / abs(normal[0])), normal)
        return rows.reshape(*shape, self.dim)

    def mean(self) -> Floats:
        """Mean of the distribution, ``A_d(kappa) mu``.

        Returns
        -------
        (d,) ndarray of float64

        See Also
        --------
        refsgd.vmf.mean_resultant_length : its length.

        Examples
        --------
        >>> VonMisesFisher([0, 0, 1], 2.0).mean().round(3)
        array([0.   , 0.   , 0.537])
        """
        return float(ratio(self.kappa, self.dim)) * self.mu

    def entropy(self) -> float:
        """Differential entropy in nats, -inf at kappa = inf.

        Returns
        -------
        float

        See Also
        --------
        refsgd.vmf.entropy : the same, vectorised over kappa and the dimension.

        Examples
        --------
        >>> round(VonMisesFisher([0, 0, 1], 0.0).entropy(), 3)  # log(4 pi)
        2.531
        """
        return float(vmf.entropy(self.kappa, self.dim))

    def kl_divergence(self, other: VonMisesFisher) -> float:
        """Kullback-Leibler divergence KL(self || other) in nats.

        With the concentrations k and c, it is ``c A(k) |mu - mu'|**2/2 + int_k^c (c - t) A'(t) dt``. All
        terms are positive, so it is as accurate between near distributions as between distant ones.

        Parameters
        ----------
        other : VonMisesFisher
            A distribution of the same dimension.

        Returns
        -------
        float
            inf if one of the two is a point mass, unless they are equal.

        Raises
        ------
        TypeError
            If `other` is not a VonMisesFisher.
        ValueError
            If it has another dimension.

        See Also
        --------
        refsgd.vmf.kl_to_uniform : the divergence to the uniform law.

        Examples
        --------
        >>> north, east = VonMisesFisher([0, 1], 2.0), VonMisesFisher([1, 0], 2.0)
        >>> north.kl_divergence(north), round(north.kl_divergence(east), 4)
        (0.0, 1.3955)
        """
        if not isinstance(other, VonMisesFisher):
            got = type(other).__name__
            raise TypeError(message("other", "be a VonMisesFisher", got, "pass the law to compare with"))
        if other.dim != self.dim:
            must = f"have shape {self.mu.shape}"
            raise ValueError(message("other.mu", must, other.mu.shape, "compare equal dimensions"))
        if np.isinf(self.kappa) or np.isinf(other.kappa):
            return 0.0 if self == other else math.inf
        off = self.mu - other.mu
        turned = 0.5 * other.kappa * float(ratio(self.kappa, self.dim)) * float(off @ off)
        return turned + vmf.spread_divergence(self.kappa, other.kappa, self.dim)

    def interval(self, confidence: ArrayLike) -> Any:
        """Half-angle of the cap about mu that contains a random direction with a given probability.

        A cap on the sphere corresponds to an interval about the mean on a line, so there is one number where
        SciPy's laws on the line have two: ``arccos(mu @ u) <= interval(confidence)`` has probability
        `confidence`. It integrates numerically, on a scale on which the law has about the same width for all
        kappa, and is accurate to 1e-13, or to ``1e-16 sqrt(d)`` in very many dimensions.

        Parameters
        ----------
        confidence : array_like of float
            Probability, in [0, 1]; NaN gives NaN.

        Returns
        -------
        ndarray of float64 of the shape of `confidence`, or a float
            Angle in radians, in [0, pi]; 0 at kappa = inf.

        Raises
        ------
        ValueError
            If a confidence is outside [0, 1].

        See Also
        --------
        refsgd.DirectionStats.interval : an interval of kappa, from data.

        Examples
        --------
        >>> VonMisesFisher([1, 0, 0], 10.0).interval([0.5, 0.95]).round(4)
        array([0.3745, 0.7948])
        >>> float(VonMisesFisher([1, 0, 0], 0.0).interval(0.5).round(4))  # half of the sphere
        1.5708
        """
        confidence = checked("confidence", confidence, 1.0)
        if np.isinf(self.kappa):
            return (0.0 * confidence)[()]
        angles = vmf.cap_angles(confidence.ravel(), self.kappa, self.dim)
        return angles.reshape(confidence.shape)[()]


def _real(value: Any) -> NDArray[Any]:
    """An array; integers become float64, because users write axes as integers."""
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "iu" else array


def _chunks(n: int, dim: int) -> Iterator[slice]:
    """Slices of n rows, each small enough to stay in cache."""
    step = max(1, CHUNK // dim)
    return (slice(i, i + step) for i in range(0, n, step))


def _along(mu: Floats, stats: DirectionStats, estimator: Estimator) -> float:
    """Concentration from the mean c of ``mu @ u``; ``1 - c = 1 - r + r |mean direction - mu|**2/2``."""
    if estimator not in ("mle", "banerjee"):
        must = "be 'mle' or 'banerjee' where mu is given"
        raise ValueError(message("estimator", must, repr(estimator), "choose one of these or fit mu too"))
    r = stats.mean_resultant_length
    c = r * float(stats.mean_direction @ mu) if r > 0.0 else 0.0
    if c <= 0.0:
        return 0.0
    off = stats.mean_direction - mu
    complement = stats.one_minus_r + 0.5 * r * float(off @ off)
    return float(getattr(estimators, estimator)(min(c, 1.0), mu.size, complement))
