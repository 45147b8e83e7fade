"""The base of all classifiers made of dense layers.

The gradient of one sample's loss in a dense layer ``z = a W + b`` is an outer product: ``outer(a, delta)``
for W and ``delta`` for b, with ``delta`` the derivative by z. So the mean gradient over a batch and the mean
of its squares are two matrix products, without a row per sample [1]_:

    mean = A^T D / n        mean_sq = (A * A)^T (D * D) / n

The diagonal of a Gauss-Newton matrix has the same form, with ``a * a`` and the curvature by z.

References
----------
.. [1] I. Goodfellow, "Efficient per-example gradient computations", arXiv:1510.01799, 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._errors import message
from .._validation import float_array, float_dtype

Floats: TypeAlias = NDArray[np.floating[Any]]
Labels: TypeAlias = NDArray[np.signedinteger[Any]]
Layer: TypeAlias = tuple[Floats, Floats]
P = ParamSpec("P")
R = TypeVar("R")


class Head(NamedTuple):
    """A loss of the scores ``z`` ``(n, k)`` and labels ``y`` ``(n,)``, with its derivatives by z."""

    losses: Callable[[Floats, Labels], Floats]
    """``(n,)``."""
    grad: Callable[[Floats, Labels], Floats]
    """``(n, k)``, the first derivatives."""
    curv: Callable[[Floats], Floats]
    """``(n, k)``, the second derivatives; they do not depend on the label."""
    labels: Callable[[Floats], Labels]
    """``(n,)``, the likeliest label."""


def softmax_losses(z: Floats, y: Labels) -> Floats:
    """``log(sum(exp(z))) - z[y]``, shifted by the largest score."""
    shifted = z - z.max(axis=1, keepdims=True)
    losses: Floats = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]
    return losses


def softmax_probabilities(z: Floats) -> Floats:
    """``exp(z) / sum(exp(z))``, shifted by the largest score."""
    p: Floats = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p


def softmax_grad(z: Floats, y: Labels) -> Floats:
    """``p - onehot(y)``, with ``p[y] - 1`` as minus the sum of the others: it keeps its digits near 0."""
    rows = np.arange(len(y))
    grad = softmax_probabilities(z)
    grad[rows, y] = 0
    grad[rows, y] = -grad.sum(axis=1)
    return grad


def softmax_curv(z: Floats) -> Floats:
    """``p (1 - p)``, the diagonal of the Hessian by the scores."""
    p = softmax_probabilities(z)
    return p * (1 - p)


def softmax_labels(z: Floats) -> Labels:
    """The class with the largest score; the first of equals."""
    labels: Labels = z.argmax(axis=1)
    return labels


SOFTMAX = Head(softmax_losses, softmax_grad, softmax_curv, softmax_labels)


def penalty(l2: Any) -> float:
    """Return ``l2`` as a Python float, which leaves float32 arrays float32, after checking it."""
    if not (math.isfinite(l2) and l2 >= 0):
        raise ValueError(message("l2", "be a finite number of at least 0", l2, "pass l2=0 for no penalty"))
    return float(l2)


def quiet(method: Callable[P, R]) -> Callable[P, R]:
    """Silence NumPy's warnings of NaN and inf: the optimiser reports them itself, once."""

    # Not np.errstate as the decorator: before NumPy 2 that leaks its state from nested calls and threads.
    @wraps(method)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with np.errstate(all="ignore"):
            return method(*args, **kwargs)

    return inner


class DenseClassifier:
    """A classifier made of dense layers: one here, more in `MLP`, which replaces `_forward` and `_backward`.

    Parameters are one flat vector ``x`` of shape ``(d,)``: layer by layer the weights ``(n_in, n_out)`` in C
    order and then the biases ``(n_out,)``. The penalty ``l2 / 2 * sum(W**2)`` (weights, not biases) is part
    of every sample's loss, gradient and curvature, so that their means are those of the penalised loss.

    All computation is in the dtype of ``x``, and ``X`` is converted to it. Entries of ``x`` and ``X`` need
    not be finite: where the model has no finite limit it returns NaN or inf, without a warning, so that a
    run that diverges can see it.

    In every method ``x`` has shape ``(d,)``, ``X`` ``(n, n_features)`` with ``n >= 1``, both float32 or
    float64, and ``y`` ``(n,)`` holds integers or booleans. Every method raises `TypeError` for another dtype
    and `ValueError` for another shape or for labels out of range. Losses are in nats; gradients in nats per
    unit of the parameter; curvatures in nats per its square.
    """

    l2: float
    _head: ClassVar[Head] = SOFTMAX

    @property
    def _widths(self) -> tuple[int, ...]:
        """The inputs and outputs of the layers: ``(n_features, ..., n_scores)``."""
        raise NotImplementedError

    @property
    def n_params(self) -> int:
        """The length d of the parameter vector.

        >>> from refsgd.models import Softmax
        >>> Softmax(64, 10).n_params
        650
        """
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self._widths))

    def init(self, random_state: Any = None, dtype: DTypeLike = np.float64) -> Floats:
        """Return a starting point: zeros, since the loss of a linear model is convex.

        Parameters
        ----------
        random_state : None, int or numpy.random.Generator
            Not used by a linear model; here so that all models start alike.
        dtype : float32 or float64
            The dtype of the result, and so of all computation from it.

        Returns
        -------
        x0 : ndarray of shape (d,)

        Raises
        ------
        TypeError
            If ``dtype`` is another one.

        Examples
        --------
        >>> from refsgd.models import Logistic
        >>> Logistic(2).init()
        array([0., 0., 0.])
        """
        return np.zeros(self.n_params, float_dtype("dtype", dtype))

    @quiet
    def losses(self, x: ArrayLike, X: ArrayLike, y: ArrayLike) -> Floats:
        """Return the loss of each sample, ``(n,)``.

        Examples
        --------
        >>> from refsgd.models import Logistic
        >>> Logistic(2).losses(np.zeros(3), np.ones((2, 2)), [0, 1])
        array([0.69314718, 0.69314718])
        """
        x, X = self._check_inputs(x, X)
        y = self._check_labels(y, len(X))
        losses = self._head.losses(self._forward(self._layers(x), X)[1], y)
        if self.l2:
            losses += np.dot(x, self._pull(x)) / 2
        return losses

    @quiet
    def loss(self, x: ArrayLike, X: ArrayLike, y: ArrayLike) -> float:
        """Return the mean of `losses`, summed in float64.

        Examples
        --------
        >>> from refsgd.models import Softmax
        >>> Softmax(2, 4).loss(np.zeros(12), np.ones((2, 2)), [0, 3])
        1.3862943611198906
        """
        return float(self.losses(x, X, y).mean(dtype=np.float64))

    @quiet
    def grad(self, x: ArrayLike, X: ArrayLike, y: ArrayLike) -> Floats:
        """Return the gradient of each sample's loss, ``(n, d)``; `moments` has the mean without them.

        Examples
        --------
        >>> from refsgd.models import Logistic
        >>> Logistic(2).grad(np.zeros(3), np.array([[1.0, 2.0], [0.0, 4.0]]), [0, 1])
        array([[ 0.5,  1. ,  0.5],
               [-0. , -2. , -0.5]])
        """
        x, X = self._check_inputs(x, X)
        y = self._check_labels(y, len(X))
        layers = self._layers(x)
        inputs, z = self._forward(layers, X)
        rows = self._outer_rows(inputs, self._backward(layers, inputs, self._head.grad(z, y)))
        if self.l2:
            rows += self._pull(x)
        return rows

    @quiet
    def moments(
        self, x: ArrayLike, X: ArrayLike, y: ArrayLike, squares: bool = True
    ) -> tuple[int, Floats, Floats | None]:
        """Return the mean gradient and the mean squared gradient, without a row per sample.

        With w a weight and ``g + l2 w`` the gradient of a sample, the mean square is
        ``mean(g**2) + 2 l2 w mean(g) + (l2 w)**2``, computed as ``var(g) + (mean(g) + l2 w)**2``.

        Parameters
        ----------
        x, X, y : array_like
            Parameters, samples and labels.
        squares : bool
            Whether to compute the mean square, which takes about a third of the time.

        Returns
        -------
        n : int
            The number of samples.
        mean : ndarray of shape (d,)
            ``grad(x, X, y).mean(axis=0)``.
        mean_sq : ndarray of shape (d,), or None unless ``squares``
            ``(grad(x, X, y)**2).mean(axis=0)``, in nats squared per unit of the parameter squared.

        Examples
        --------
        >>> from refsgd.models import Logistic
        >>> Logistic(2).moments(np.zeros(3), np.array([[1.0, 2.0], [0.0, 4.0]]), [0, 1])
        (2, array([ 0.25, -0.5 ,  0.  ]), array([0.125, 2.5  , 0.25 ]))
        """
        x, X = self._check_inputs(x, X)
        y = self._check_labels(y, len(X))
        layers = self._layers(x)
        inputs, z = self._forward(layers, X)
        deltas = self._backward(layers, inputs, self._head.grad(z, y))

        mean = self._mean_outer(inputs, deltas)
        mean_sq = self._mean_outer([a * a for a in inputs], [d * d for d in deltas]) if squares else None
        if self.l2:
            pulled = mean + self._pull(x)
            if mean_sq is not None:
                # The penalty moves the gradients of all samples alike, so their variance stays; rounding
                # can leave a variance of 0 below 0.
                mean_sq = np.maximum(mean_sq - mean * mean, 0) + pulled * pulled
            mean = pulled
        return len(X), mean, mean_sq

    @quiet
    def diag_hess(self, x: ArrayLike, X: ArrayLike, y: ArrayLike) -> Floats:
        """Return the diagonal curvature of each sample's loss, ``(n, d)``.

        For a linear model this is the diagonal of the Hessian. For an `MLP` it is LeCun's recursion for the
        diagonal of the Gauss-Newton matrix ("bbprop" [1]_; the ``h`` of vSGD-l), which is never negative: it
        begins with ``h = p (1 - p)`` at the scores, is ``a_i**2 h_o`` at the weight (i, o) of a layer with
        input a, and passes to the layer below as ``act'(z)**2 * (W**2) h``. It drops the terms in ``act''``
        and, between layers, those off the diagonal.

        References
        ----------
        .. [1] Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient BackProp", 1998.

        Examples
        --------
        >>> from refsgd.models import Logistic
        >>> Logistic(2).diag_hess(np.zeros(3), np.array([[1.0, 2.0], [0.0, 4.0]]), [0, 1])
        array([[0.25, 1.  , 0.25],
               [0.  , 4.  , 0.25]])
        """
        x, X = self._check_inputs(x, X)
        self._check_labels(y, len(X))
        layers = self._layers(x)
        inputs, z = self._forward(layers, X)
        curvs = self._backward(layers, inputs, self._head.curv(z), curvature=True)
        rows = self._outer_rows([a * a for a in inputs], curvs)
        if self.l2:
            rows += self._pull(np.ones_like(x))
        return rows

    @quiet
    def predict(self, x: ArrayLike, X: ArrayLike) -> Labels:
        """Return the likeliest label of each sample, int64 ``(n,)``.

        Examples
        --------
        >>> from refsgd.models import Logistic
        >>> Logistic(1).predict(np.array([1.0, -3.0]), np.array([[2.0], [4.0]]))
        array([0, 1])
        """
        x, X = self._check_inputs(x, X)
        return self._head.labels(self._forward(self._layers(x), X)[1])

    def error(self, x: ArrayLike, X: ArrayLike, y: ArrayLike) -> float:
        """Return the fraction of samples whose label `predict` gets wrong.

        Examples
        --------
        >>> from refsgd.models import Logistic
        >>> Logistic(1).error(np.array([1.0, -3.0]), np.array([[2.0], [4.0]]), [1, 1])
        0.5
        """
        predicted = self.predict(x, X)
        return float(np.mean(predicted != self._check_labels(y, len(predicted))))

    def _forward(self, layers: list[Layer], X: Floats) -> tuple[list[Floats], Floats]:
        """Return the input ``(n, n_in)`` of each layer and the scores ``(n, n_scores)``."""
        ((W, b),) = layers
        z = X @ W
        z += b
        return [X], z

    def _backward(
        self, layers: list[Layer], inputs: list[Floats], out: Floats, curvature: bool = False
    ) -> list[Floats]:
        """Return the derivative (second if ``curvature``) of the loss by each layer's z; the last is out."""
        return [out]

    def _layers(self, x: Floats) -> list[Layer]:
        """Return ``(W, b)`` of each layer as views: writing to them writes to ``x``, or rows of such."""
        layers = []
        start = 0
        for n_in, n_out in pairwise(self._widths):
            split = start + n_in * n_out
            stop = split + n_out
            layers.append((x[..., start:split].reshape(*x.shape[:-1], n_in, n_out), x[..., split:stop]))
            start = stop
        return layers

    def _outer_rows(self, inputs: list[Floats], outs: list[Floats]) -> Floats:
        """Return ``outer(a, out)`` for the weights and ``out`` for the biases: one row per sample."""
        rows = np.empty((len(outs[0]), self.n_params), outs[0].dtype)
        for (W_rows, b_rows), a, out in zip(self._layers(rows), inputs, outs, strict=True):
            np.multiply(a[:, :, np.newaxis], out[:, np.newaxis, :], out=W_rows)
            b_rows[...] = out
        return rows

    def _mean_outer(self, inputs: list[Floats], outs: list[Floats]) -> Floats:
        """Return ``_outer_rows(inputs, outs).mean(axis=0)`` ``(d,)`` without those rows."""
        mean = np.empty(self.n_params, outs[0].dtype)
        # For a single row numpy.matmul does not go through BLAS and is five times as slow as numpy.dot.
        product = np.dot if len(outs[0]) == 1 else np.matmul
        for (W_mean, b_mean), a, out in zip(self._layers(mean), inputs, outs, strict=True):
            share = out / len(out)
            product(a.T, share, out=W_mean)
            np.sum(share, axis=0, out=b_mean)
        return mean

    def _pull(self, x: Floats) -> Floats:
        """Return the gradient of the penalty, ``l2 W`` for the weights and 0 for the biases."""
        pull = self.l2 * x
        for _, b in self._layers(pull):
            b[...] = 0
        return pull

    def _check_inputs(self, x: ArrayLike, X: ArrayLike) -> tuple[Floats, Floats]:
        x = float_array(
            "x", x, (self.n_params,), finite=False, remedy="start from the vector that init() returns"
        )
        X = float_array("X", X, ("n", self._widths[0]), finite=False, remedy="pass one row per sample")
        if len(X) == 0:
            raise ValueError(message("X", "have at least one row", X.shape, "pass one row per sample"))
        return x, X.astype(x.dtype, copy=False)

    def _check_labels(self, y: ArrayLike, n: int) -> Labels:
        n_classes = max(2, self._widths[-1])
        labels = np.asarray(y)
        remedy = f"encode the classes as integers 0 to {n_classes - 1}"
        if labels.dtype.kind not in "biu":
            raise TypeError(message("y", "hold integers", f"dtype {labels.dtype}", remedy))
        if labels.shape != (n,):
            raise ValueError(
                message("y", f"have shape ({n},)", labels.shape, "pass one label for each row of X")
            )
        is_bad = (labels < 0) | (labels >= n_classes)
        if is_bad.any():
            first = int(is_bad.argmax())
            got = f"{is_bad.sum()} of {n} that do not (first: row {first}, label {labels[first]})"
            raise ValueError(message("y", f"hold labels from 0 to {n_classes - 1}", got, remedy))
        return labels.astype(np.intp, copy=False)
