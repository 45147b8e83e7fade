"""Networks of dense layers with a softmax output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .._errors import message
from .._validation import choice, integer
from .dense import DenseClassifier, Floats, Layer, penalty


class Activation(NamedTuple):
    """A function applied to each hidden unit."""

    apply: Callable[[Floats], Floats]
    """In place."""
    slope: Callable[[Floats], Floats]
    """The derivative, as a function of what `apply` returned; both forms below need nothing else."""
    draw: Callable[[np.random.Generator, tuple[int, ...]], Floats]
    """Random weights of the given shape ``(n_in, n_out)`` for the layer below."""


def lecun_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Uniform of deviation ``1 / sqrt(n_in)``, so within ``sqrt(3 / n_in)`` of 0."""
    bound = (3 / shape[0]) ** 0.5
    return rng.uniform(-bound, bound, shape)


def he_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Normal of deviation ``sqrt(2 / n_in)``."""
    return rng.normal(scale=(2 / shape[0]) ** 0.5, size=shape)


ACTIVATIONS = {
    "tanh": Activation(lambda z: np.tanh(z, out=z), lambda a: 1 - a * a, lecun_uniform),
    # The derivative at the kink is taken as 0.
    "relu": Activation(lambda z: np.maximum(z, 0, out=z), lambda a: (a > 0).astype(a.dtype), he_normal),
}


@dataclass(frozen=True)
class MLP(DenseClassifier):
    """A multilayer perceptron with softmax output and cross-entropy loss.

    Parameters
    ----------
    widths : tuple of int
        The number of features, of units in each hidden layer, and of classes. With two widths there is no
        hidden layer and the model is that of `Softmax`.
    activation : {"tanh", "relu"}
        The function of all hidden units.
    l2 : float
        Strength of the penalty ``l2 / 2 * sum(W**2)`` over the weights of all layers; biases are left alone.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two widths, one is no integer of at least 1, there are fewer than 2 classes,
        the activation is not known, or ``l2`` is negative or not finite.

    See Also
    --------
    Softmax : no hidden layer.

    Examples
    --------
    >>> model = MLP((64, 30, 10), "relu")
    >>> x = model.init(random_state=0)
    >>> x.shape
    (2260,)
    >>> n, mean, mean_sq = model.moments(x, np.ones((5, 64)), [3, 1, 4, 1, 5])
    >>> n, mean.shape, mean_sq.shape
    (5, (2260,), (2260,))
    """

    widths: tuple[int, ...] = (784, 120, 10)
    activation: str = "tanh"
    l2: float = 0.0

    def __post_init__(self) -> None:
        if len(self.widths) < 2:
            raise ValueError(
                message("widths", "have at least 2 entries", self.widths, "pass (n_features, ..., n_classes)")
            )
        *widths, n_classes = self.widths
        checked = [integer(f"widths[{i}]", width, 1) for i, width in enumerate(widths)]
        checked.append(integer(f"widths[{len(widths)}]", n_classes, 2))
        object.__setattr__(self, "widths", tuple(checked))
        choice("activation", self.activation, ACTIVATIONS)
        object.__setattr__(self, "l2", penalty(self.l2))

    @property
    def _widths(self) -> tuple[int, ...]:
        return self.widths

    def init(self, random_state: Any = None, dtype: DTypeLike = np.float64) -> Floats:
        """Return a random starting point: weights scaled by the inputs ``n_in`` of their layer, biases 0.

        Into tanh units and the output the weights are uniform with deviation ``1 / sqrt(n_in)`` as in [1]_,
        section 4.6; into ReLU units they are normal with deviation ``sqrt(2 / n_in)`` as in [2]_,
        section 2.2.

        Parameters
        ----------
        random_state : None, int or numpy.random.Generator
            Passed to `numpy.random.default_rng`.
        dtype : float32 or float64
            The dtype of the result, and so of all computation from it.

        Returns
        -------
        x0 : ndarray of shape (d,)

        Raises
        ------
        TypeError
            If ``dtype`` is another one.

        References
        ----------
        .. [1] Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient BackProp", 1998.
        .. [2] K. He, X. Zhang, S. Ren and J. Sun, "Delving Deep into Rectifiers", arXiv:1502.01852, 2015.

        Examples
        --------
        >>> MLP((2, 3, 2)).init(random_state=0, dtype=np.float32).dtype
        dtype('float32')
        """
        rng = np.random.default_rng(random_state)
        x0 = super().init(dtype=dtype)
        layers = self._layers(x0)
        draws = [ACTIVATIONS[self.activation].draw] * (len(layers) - 1) + [lecun_uniform]
        for (W, _), draw in zip(layers, draws, strict=True):
            W[...] = draw(rng, W.shape)
        return x0

    def _forward(self, layers: list[Layer], X: Floats) -> tuple[list[Floats], Floats]:
        activate = ACTIVATIONS[self.activation].apply
        inputs = [X]
        for layer in layers[:-1]:
            inputs.append(activate(super()._forward([layer], inputs[-1])[1]))
        return inputs, super()._forward(layers[-1:], inputs[-1])[1]

    def _backward(
        self, layers: list[Layer], inputs: list[Floats], out: Floats, curvature: bool = False
    ) -> list[Floats]:
        outs = [out]
        for (W, _), a in zip(reversed(layers[1:]), reversed(inputs[1:]), strict=True):
            slope = ACTIVATIONS[self.activation].slope(a)
            if curvature:
                W, slope = W * W, slope * slope
            below = outs[-1] @ W.T
            below *= slope
            outs.append(below)
        return outs[::-1]
