"""How stochastic the gradients of a run are: in size, in direction, and against their mean.

References
----------
.. [1] C. Lee, K. Cho, W. Kang, "Directional Analysis of Stochastic Gradient Descent via von Mises-Fisher
   Distributions in Deep Learning", arXiv:1810.00150, 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._validation import float_array
from .bessel import Floats
from .stats import DirectionStats


class DirectionReport(NamedTuple):
    """What a :class:`DirectionMonitor` saw. A number that the gradients do not determine is NaN.

    Attributes
    ----------
    n : int
        Gradients, zero ones included.
    n_zero : int
        Zero gradients: they count for `snr` and `norm_snr`, and have no direction.
    dim : int
        Number of parameters, 0 before the first gradient.
    snr : float
        ``|mean g| / sqrt(tr cov g)``, "gradient stochasticity" of [1]_; covariance with divisor n - 1.
    norm_snr : float
        ``mean |g| / std |g|``, "gradient norm stochasticity" of [1]_; variance with divisor n - 1.
    mean_resultant_length : float
        Length of the mean of the unit gradients.
    kappa : float
        Concentration of the directions, "directional uniformity" of [1]_, by the closed form used there.
        With fewer gradients than parameters it measures their number too: compare runs of equal n, or use
        the next.
    kappa_unbiased : float
        Concentration from the mean pairwise cosine, which does not depend on n but for noise; 0 if no mean
        direction shows.
    kappa_interval : (float, float)
        Jackknife interval of level 0.95 about `kappa_unbiased`; needs 3 directions.
    uniformity_pvalue : float
        P-value of no mean direction, by sign flips of block sums; needs 2 directions.

    References
    ----------
    .. [1] Lee, Cho & Kang, *Directional analysis of stochastic gradient descent via von Mises-Fisher
       distributions in deep learning*, arXiv 1810.00150.
    """

    n: int
    n_zero: int
    dim: int
    snr: float
    norm_snr: float
    mean_resultant_length: float
    kappa: float
    kappa_unbiased: float
    kappa_interval: tuple[float, float]
    uniformity_pvalue: float


class DirectionMonitor:
    """Watch minibatch gradients as they come, in the memory of 18 of them, in float64, however many come.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> monitor = DirectionMonitor()
    >>> for _ in range(64):
    ...     monitor.update(np.ones(100) + rng.normal(size=100))
    >>> report = monitor.report()
    >>> round(report.snr, 2), round(report.kappa_unbiased)
    (1.01, 141)
    >>> low, high = report.kappa_interval
    >>> low < report.kappa_unbiased < high
    True
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all gradients, and their dimension."""
        self._stats: DirectionStats | None = None
        self._n = 0
        self._mean: Floats = np.zeros(0)
        self._scatter = 0.0  # sum |g - mean|**2
        self._norm_mean = 0.0
        self._norm_scatter = 0.0

    def update(self, g: ArrayLike) -> None:
        """Take in one gradient.

        Parameters
        ----------
        g : (dim,) array_like of float32 or float64
            A minibatch gradient, in the units of the loss per unit of the parameters. The first fixes dim
            >= 2.

        Raises
        ------
        TypeError
            If the dtype is neither float32 nor float64.
        ValueError
            If the shape does not fit or an entry is not finite. The gradient has not been taken in then.
        """
        g = float_array("g", g, ("dim",) if self._stats is None else self._mean.shape)
        if self._stats is None:
            self._stats = DirectionStats(g.size)
            self._mean = np.zeros(g.size)
        self._stats.update(g, zero="drop")
        norm = float(np.linalg.norm(g.astype(np.float64)))
        self._add_moments(1, g, 0.0, norm, 0.0)

    def merge(self, other: DirectionMonitor) -> None:
        """Take in all gradients of `other`, as if they had come after the own ones.

        Raises
        ------
        ValueError
            If the gradients of `other` have another dimension.
        """
        if other._stats is None:
            return
        if self._stats is None:
            self._stats = DirectionStats(other._stats.dim)
            self._mean = np.zeros(other._stats.dim)
        self._stats.merge(other._stats)
        self._add_moments(other._n, other._mean, other._scatter, other._norm_mean, other._norm_scatter)

    def _add_moments(
        self, n: int, mean: Floats, scatter: float, norm_mean: float, norm_scatter: float
    ) -> None:
        """Means and scatters of two samples together (Chan, Golub and LeVeque 1983)."""
        total = self._n + n
        between = self._n * n / total
        shift, norm_shift = mean - self._mean, norm_mean - self._norm_mean
        self._scatter += scatter + between * float(shift @ shift)
        self._norm_scatter += norm_scatter + between * norm_shift**2
        shift *= n / total
        self._mean += shift
        self._norm_mean += norm_shift * n / total
        self._n = total

    def report(self) -> DirectionReport:
        """Numbers on all gradients so far; never raises for want of them."""
        snr = _signal_to_noise(float(np.linalg.norm(self._mean)), self._scatter, self._n)
        norm_snr = _signal_to_noise(self._norm_mean, self._norm_scatter, self._n)
        stats, nan = self._stats, float("nan")
        dim, n_zero = (0, 0) if stats is None else (stats.dim, stats.n_zero)
        if stats is None or stats.n < 2:
            return DirectionReport(self._n, n_zero, dim, snr, norm_snr, nan, nan, nan, (nan, nan), nan)
        return DirectionReport(
            n=self._n,
            n_zero=n_zero,
            dim=dim,
            snr=snr,
            norm_snr=norm_snr,
            mean_resultant_length=stats.mean_resultant_length,
            kappa=stats.concentration("banerjee"),
            kappa_unbiased=stats.concentration("unbiased"),
            kappa_interval=stats.interval() if stats.n >= 3 else (nan, nan),
            uniformity_pvalue=stats.uniformity_pvalue(),
        )


def _signal_to_noise(signal: float, scatter: float, n: int) -> float:
    """``signal / sqrt(scatter/(n-1))``: inf without scatter, NaN for n < 2 or if both are 0."""
    if n < 2:
        return float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(signal, np.sqrt(scatter / (n - 1))))
