"""The losses of linear models in one table, which the NumPy kernel, the estimators and the commands read.

Numba and C compute the same values, slopes and curvatures one sample at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax, xlogy

from ..kernels import contract

Array = NDArray[Any]

MarginLoss = Literal["log_loss", "hinge", "squared_hinge", "modified_huber"]
RegressionLoss = Literal["squared_error", "huber", "epsilon_insensitive", "absolute_error", "poisson"]
LossName = Literal[MarginLoss, RegressionLoss, "multinomial"]


class Loss(NamedTuple):
    """One loss as functions of the scores z, the targets y, epsilon, and the spread of the residuals.

    Where a loss is not smooth, its curvature is the secant over the step: the slope then reaches 0 no farther
    away than the loss's own scale.
    """

    number: int  #: in the kernels
    targets: Literal["signs", "numbers", "counts", "classes"]  #: -1 and 1, any, not negative, 0 to K - 1
    value: Callable[[Any, Any, float], Any]
    slope: Callable[[Any, Any, float], Any]
    curvature: Callable[[Any, Any, float, float], Any]
    constant: Callable[[Array, Array], Any] | None  #: the score with the least mean loss of y with weights
    mean: Callable[[Array], Array] = lambda z: z  #: the target that a score predicts
    probability: Callable[[Array], Array] | None = None  #: of the positive class


def _gap(z: Any, y: Any) -> Any:
    return np.maximum(1 - y * z, 0)


def _wrong(z: Any, y: Any) -> Any:
    return np.exp(-np.logaddexp(0, y * z))  # 1 / (1 + exp(y * z))


def _mean(z: Any) -> Any:
    return np.exp(np.minimum(z, contract.MAX_LOG_MEAN))


def _softmax(z: Array) -> Any:
    return np.exp(z - np.logaddexp.reduce(z, axis=-1)[..., None])


def _is_own(z: Array, y: Any) -> Any:
    return np.arange(z.shape[-1]) == np.asarray(y)[..., None]


def _softmax_curvature(z: Array, y: Any, *_: float) -> Any:
    """``2 p (1 - p)`` is the row sum of ``|diag(p) - p p^T|``."""
    p = _softmax(z)
    return np.maximum(2 * p * (1 - p), np.abs(p - _is_own(z, y)) / 2)


def _average(y: Array, weights: Array) -> Any:
    return np.average(y, weights=weights)


def _median(y: Array, weights: Array) -> Any:
    order = np.argsort(y)
    reached = np.cumsum(weights[order], dtype=np.float64)
    return y[order][np.searchsorted(reached, reached[-1] / 2.0)]


_INSENSITIVE = Loss(
    contract.INSENSITIVE,
    "numbers",
    value=lambda z, y, e: np.maximum(abs(z - y) - e, 0),
    slope=lambda z, y, e: np.sign(z - y) * (abs(z - y) > e),
    curvature=lambda z, y, _, spread: 1 / np.where(z != y, np.maximum(abs(z - y), spread), 1),
    constant=_median,
)

LOSSES: dict[LossName, Loss] = {
    "log_loss": Loss(
        contract.LOG,
        "signs",
        value=lambda z, y, _: np.logaddexp(0, -y * z),
        slope=lambda z, y, _: -y * _wrong(z, y),
        curvature=lambda z, y, *_: np.maximum(_wrong(z, y) * (1 - _wrong(z, y)), _wrong(z, y) / 4),
        constant=lambda y, w: 2 * np.arctanh(np.clip(_average(y, w), -1 + 1e-12, 1 - 1e-12)),
        probability=expit,
    ),
    "hinge": Loss(
        contract.HINGE,
        "signs",
        value=lambda z, y, _: _gap(z, y),
        slope=lambda z, y, _: -y * (y * z < 1),
        curvature=lambda z, y, *_: 1 / np.maximum(1 - y * z, 1),
        constant=lambda y, w: np.sign(_average(y, w)),
    ),
    "squared_hinge": Loss(
        contract.SQUARED_HINGE,
        "signs",
        value=lambda z, y, _: _gap(z, y) ** 2,
        slope=lambda z, y, _: -2 * y * _gap(z, y),
        curvature=lambda *_: 2.0,
        constant=_average,
    ),
    "modified_huber": Loss(
        contract.MODIFIED_HUBER,
        "signs",
        value=lambda z, y, _: np.where(y * z >= -1, _gap(z, y) ** 2, -4 * (y * z)),
        slope=lambda z, y, _: np.where(y * z >= -1, -2 * y * _gap(z, y), -4 * y),
        curvature=lambda z, y, *_: np.where(y * z >= -1, 2, 4 / np.maximum(1 - y * z, 2)),
        constant=_average,
        probability=lambda z: (np.clip(z, -1, 1) + 1) / 2,
    ),
    "squared_error": Loss(
        contract.SQUARED,
        "numbers",
        value=lambda z, y, _: (z - y) * (z - y) / 2,
        slope=lambda z, y, _: z - y,
        curvature=lambda *_: 1.0,
        constant=_average,
    ),
    "huber": Loss(
        contract.HUBER,
        "numbers",
        value=lambda z, y, e: np.where(abs(z - y) <= e, (z - y) * (z - y) / 2, e * (abs(z - y) - e / 2)),
        slope=lambda z, y, e: np.where(abs(z - y) <= e, z - y, e * np.sign(z - y)),
        curvature=lambda z, y, e, _: np.where(abs(z - y) <= e, 1, e / np.where(z != y, abs(z - y), 1)),
        constant=_median,
    ),
    "epsilon_insensitive": _INSENSITIVE,
    "absolute_error": _INSENSITIVE._replace(value=lambda z, y, _: abs(z - y)),  # kernels get epsilon = 0
    "poisson": Loss(
        contract.POISSON,
        "counts",
        value=lambda z, y, _: _mean(z) - y * z,
        slope=lambda z, y, _: _mean(z) - y,
        curvature=lambda z, y, *_: np.maximum(_mean(z), y),
        constant=lambda y, w: np.log(max(_average(y, w), 1e-12)),
        mean=_mean,
    ),
    "multinomial": Loss(
        contract.MULTINOMIAL,
        "classes",
        value=lambda z, y, _: np.logaddexp.reduce(z, axis=-1) - z[_is_own(z, y)].reshape(z.shape[:-1]),
        slope=lambda z, y, _: _softmax(z) - _is_own(z, y),
        curvature=_softmax_curvature,
        constant=None,
    ),
}
BY_NUMBER = {loss.number: loss for name, loss in LOSSES.items() if name != "absolute_error"}


def _names(*targets: str) -> tuple[LossName, ...]:
    return tuple(name for name, loss in LOSSES.items() if loss.targets in targets)


MARGIN_LOSSES, RESIDUAL_LOSSES = _names("signs"), _names("numbers")
REGRESSION_LOSSES = _names("numbers", "counts")
WITH_PROBABILITY = tuple(name for name in MARGIN_LOSSES if LOSSES[name].probability)


def values(loss: LossName, z: Array, y: Array, epsilon: float) -> NDArray[np.float64]:
    """Loss of each sample.

    Parameters
    ----------
    loss : str
        One of `LOSSES`.
    z : (n,) or (n, K) ndarray
        Scores, K per sample with ``"multinomial"``.
    y : (n,) ndarray
        -1 and 1 for the loss of a margin, classes 0, ..., K-1 with ``"multinomial"``, else in units of z.
    epsilon : float
        As in `refsgd.linear.model.LinearModel`; ``"absolute_error"`` ignores it.

    Returns
    -------
    (n,) ndarray of float64

    Examples
    --------
    >>> values("hinge", np.array([0.5, 3.0]), np.array([1.0, 1.0]), 0.0)
    array([0.5, 0. ])
    """
    z, y = np.asarray(z, np.float64), np.asarray(y, np.float64)
    return np.asarray(LOSSES[loss].value(z, y, epsilon))


def probabilities(loss: LossName, z: Array) -> Array:
    """Probability (n, K) of each class from scores (n,) of the second of two classes, or (n, K) of all.

    The scores of K separate models give one probability each, which are divided by their sum.

    Examples
    --------
    >>> probabilities("modified_huber", np.array([0.5, -2.0]))
    array([[0.25, 0.75],
           [1.  , 0.  ]])
    """
    if loss == "multinomial":
        return np.asarray(softmax(z, axis=1))
    probability = LOSSES[loss].probability
    assert probability
    if z.ndim == 1:
        return np.stack([probability(-z), probability(z)], axis=1)
    p: Array = probability(z)
    p[p.sum(axis=1) == 0] = 1
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def best_constant(loss: LossName, y: Array, weights: Array) -> float:
    """The constant score with the least mean loss; the median for losses with corners, which is close to it.

    Examples
    --------
    >>> best_constant("absolute_error", np.array([1.0, 2.0, 9.0]), np.ones(3))
    2.0
    """
    constant = LOSSES[loss].constant
    assert constant
    return float(constant(y, weights))


def excess_of_constant(loss: LossName, y: Array, weights: Array, epsilon: float) -> float:
    """Mean loss of `best_constant` minus that of a perfect model: the scale of a regression's loss.

    It is 0 where all of y are equal.

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
