"""Losses of linear models on many samples at once, and of the best constant: what a fit is compared with.

The kernels hold the same losses with slope and curvature, one sample at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, xlogy

from ..kernels.contract import MAX_LOG_MEAN

Floats = NDArray[np.float64]


def values(loss: str, z: NDArray, y: NDArray, epsilon: float) -> Floats:
    """Loss of each sample.

    Parameters
    ----------
    loss : str
        One of `refsgd.sgd.linear.LOSSES`, or ``"multinomial"``.
    z : (n,) or (n, K) ndarray
        Scores, K a sample with ``"multinomial"``.
    y : (n,) ndarray
        -1 and 1 for a loss of a margin, classes 0, ..., K-1 with ``"multinomial"``, else in units of z.
    epsilon : float
        As in `refsgd.sgd.linear.LinearModel`; ``"absolute_error"`` takes none.

    Returns
    -------
    (n,) ndarray of float64

    Examples
    --------
    >>> values("hinge", np.array([0.5, 3.0]), np.array([1.0, 1.0]), 0.0)
    array([0.5, 0. ])
    """
    z = np.asarray(z, np.float64)
    if loss == "multinomial":
        own = np.take_along_axis(z, y.astype(np.intp)[:, None], axis=1)[:, 0]
        return np.asarray(logsumexp(z, axis=1) - own)
    y = np.asarray(y, np.float64)
    margin, size = y * z, np.abs(z - y)
    match loss:
        case "log_loss":
            return np.logaddexp(0.0, -margin)
        case "hinge":
            return np.maximum(1.0 - margin, 0.0)
        case "squared_hinge":
            return np.maximum(1.0 - margin, 0.0) ** 2
        case "modified_huber":
            return np.where(margin >= -1.0, np.maximum(1.0 - margin, 0.0) ** 2, -4.0 * margin)
        case "squared_error":
            return size * size / 2.0
        case "huber":
            return np.where(size <= epsilon, size * size / 2.0, epsilon * (size - epsilon / 2.0))
        case "epsilon_insensitive":
            return np.maximum(size - epsilon, 0.0)
        case "absolute_error":
            return size
        case _:
            return np.exp(np.minimum(z, MAX_LOG_MEAN)) - y * z


def best_constant(loss: str, y: NDArray, weights: NDArray) -> float:
    """The constant score with the least mean loss; of losses with corners near 0 the median, close to it.

    Examples
    --------
    >>> best_constant("absolute_error", np.array([1.0, 2.0, 9.0]), np.ones(3))
    2.0
    """
    mean = np.average(y, weights=weights)
    match loss:
        case "log_loss":
            return float(2 * np.arctanh(np.clip(mean, -1 + 1e-12, 1 - 1e-12)))
        case "hinge":
            return float(np.sign(mean))
        case "squared_hinge" | "modified_huber" | "squared_error":
            return float(mean)
        case "poisson":
            return float(np.log(max(mean, 1e-12)))
    order = np.argsort(y)
    reached = np.cumsum(weights[order], dtype=np.float64)
    return float(y[order][np.searchsorted(reached, reached[-1] / 2.0)])


def excess_of_constant(loss: str, y: NDArray, weights: NDArray, epsilon: float) -> float:
    """Mean loss of the best constant above that of a perfect model: the scale of a regression's loss.

    The constant is that of `best_constant`. 0 where all of y are equal.

    Examples
    --------
    >>> y = np.array([999.0, 1001.0])
    >>> excess_of_constant("squared_error", y, np.ones(2), 0.1)
    0.5
    """
    y = np.asarray(y, np.float64)
    if loss == "poisson":
        centre = np.average(y, weights=weights)
        excess = xlogy(y, y / centre) if centre > 0.0 else np.zeros(y.shape)
    else:
        excess = values(loss, np.full(y.shape, best_constant(loss, y, weights)), y, epsilon)
    return float(np.average(excess, weights=weights))
