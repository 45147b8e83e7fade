"""What a monitor reports."""

from __future__ import annotations

import math
from typing import NamedTuple


class DirectionReport(NamedTuple):
    """What a :class:`DirectionMonitor` saw. A number that the gradients do not determine is NaN.

    Attributes
    ----------
    n : int
        Gradients, including zero ones.
    n_zero : int
        Zero gradients: they count for `snr`, `norm_snr` and `noise_scale`, and have no direction. For a
        group, missing ones count too.
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
        With fewer gradients than parameters it also measures the number of gradients: compare runs of equal
        n, or use `kappa_unbiased`.
    kappa_unbiased : float
        Concentration from the mean pairwise cosine, which depends on n only through noise; 0 if there is no
        sign of a mean direction.
    kappa_interval : (float, float)
        Jackknife interval of level 0.95 about `kappa_unbiased`; needs 3 directions.
    uniformity_pvalue : float
        P-value of no mean direction, by flipping the signs of the folds' sums; needs 2 directions.
    mean_pairwise_cosine : float
        Mean of ``cos(g_i, g_j)`` over all pairs; about 0, possibly below, if gradients have nothing in
        common. Its scale does not depend on the dimension, so it can compare groups.
    angle : float
        Angle between the mean direction and that of the previous record, in radians.
    noise_scale : float
        Simple noise scale of [2]_, ``tr cov g / (|mean g|**2 - tr cov g / n)`` times the batch size: in
        samples if the monitor knows that, else in minibatches. inf if the noise hides the signal.
    groups : dict of str to DirectionReport
        The same for each group of parameters; empty if gradients are single arrays.

    See Also
    --------
    refsgd.DirectionMonitor : makes these reports.

    References
    ----------
    .. [1] Lee, Cho & Kang, *Directional analysis of stochastic gradient descent via von Mises-Fisher
       distributions in deep learning*, arXiv 1810.00150.
    .. [2] McCandlish et al., *An empirical model of large-batch training*, arXiv 1812.06162, appendix A.1.

    Examples
    --------
    >>> from refsgd import DirectionMonitor
    >>> monitor = DirectionMonitor()
    >>> for g in ([3.0, 4.0], [4.0, 3.0]):
    ...     report = monitor.update(g)
    >>> report = monitor.report()
    >>> report.n, round(report.mean_pairwise_cosine, 2)
    (2, 0.96)
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
    mean_pairwise_cosine: float
    angle: float
    noise_scale: float
    groups: dict[str, DirectionReport]


NAN = math.nan
EMPTY_REPORT = DirectionReport(0, 0, 0, NAN, NAN, NAN, NAN, NAN, (NAN, NAN), NAN, NAN, NAN, NAN, {})
