"""Logistic and softmax regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from .._validation import integer
from .dense import DenseClassifier, Floats, Head, Labels, penalty


def sigmoid_losses(z: Floats, y: Labels) -> Floats:
    """``log(1 + exp(-z))`` where y is 1 and ``log(1 + exp(z))`` where it is 0."""
    losses: Floats = np.logaddexp(0, np.where(y == 1, -z[:, 0], z[:, 0]))
    return losses


def sigmoid_grad(z: Floats, y: Labels) -> Floats:
    """``p - y``; written so that ``p - 1`` keeps its digits where p is nearly 1."""
    return np.where(y[:, np.newaxis] == 1, -expit(-z), expit(z))


def sigmoid_curv(z: Floats) -> Floats:
    """``p (1 - p)``."""
    curv: Floats = expit(z) * expit(-z)
    return curv


def sigmoid_labels(z: Floats) -> Labels:
    """1 where the score is positive."""
    return (z[:, 0] > 0).astype(np.int64)


SIGMOID = Head(sigmoid_losses, sigmoid_grad, sigmoid_curv, sigmoid_labels)


@dataclass(frozen=True)
class Logistic(DenseClassifier):
    """Logistic regression with an intercept: ``loss = log(1 + exp(-s (X W + b)))`` with ``s = 2 y - 1``.

    Parameters
    ----------
    n_features : int
        The number of columns of ``X``; there are ``d = n_features + 1`` parameters, the intercept last.
    l2 : float
        Strength of the penalty ``l2 / 2 * sum(W**2)``, which leaves the intercept alone.

    Raises
    ------
    TypeError, ValueError
        If ``n_features`` is no integer of at least 1, or ``l2`` is negative or not finite.

    See Also
    --------
    Softmax : more classes.
    refsgd.VSGDClassifier : the model and the optimiser in one.

    Examples
    --------
    Labels are 0 and 1, or False and True.

    >>> model = Logistic(1)
    >>> X, y = np.array([[-1.0], [1.0]]), np.array([0, 1])
    >>> x = model.init()
    >>> for _ in range(100):
    ...     x -= model.grad(x, X, y).mean(axis=0)
    >>> model.predict(x, X)
    array([0, 1])
    """

    n_features: int
    l2: float = 0.0

    _head = SIGMOID

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_features", integer("n_features", self.n_features, 1))
        object.__setattr__(self, "l2", penalty(self.l2))

    @property
    def _widths(self) -> tuple[int, ...]:
        return self.n_features, 1


@dataclass(frozen=True)
class Softmax(DenseClassifier):
    """Softmax regression with intercepts: ``loss = log(sum(exp(z))) - z[y]`` with ``z = X W + b``.

    Parameters
    ----------
    n_features : int
        The number of columns of ``X``.
    n_classes : int
        The number k of classes; there are ``d = (n_features + 1) k`` parameters, the intercepts last.
    l2 : float
        Strength of the penalty ``l2 / 2 * sum(W**2)``, which leaves the intercepts alone.

    Raises
    ------
    TypeError, ValueError
        If ``n_features`` is no integer of at least 1, ``n_classes`` none of at least 2, or ``l2`` is negative
        or not finite.

    See Also
    --------
    Logistic : two classes.
    MLP : hidden layers.

    Examples
    --------
    >>> model = Softmax(64, 10)
    >>> model.loss(model.init(), np.ones((1, 64)), [3])  # log(10)
    2.302585092994046
    """

    n_features: int
    n_classes: int
    l2: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_features", integer("n_features", self.n_features, 1))
        object.__setattr__(self, "n_classes", integer("n_classes", self.n_classes, 2))
        object.__setattr__(self, "l2", penalty(self.l2))

    @property
    def _widths(self) -> tuple[int, ...]:
        return self.n_features, self.n_classes
