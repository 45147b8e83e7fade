"""One-dimensional stochastic test functions, whose expected losses are known exactly.

After Schaul & LeCun, arXiv:1301.3764: noise moves the function sideways. The loss of sample j is
``h f(x - x_j)``, with ``x_j ~ N(optimum, noise**2)`` and f a row of `SHAPES`. With ``e = x - optimum``, s the
noise, ``Phi`` and ``phi`` the distribution and density of N(0, 1), ``a = 1 / sqrt(1 + s**2)`` and W = `WALL`:

=========== ====================== =============================================== ==========================
name        f(e)                   E f(e - s z)                                    its derivative
=========== ====================== =============================================== ==========================
quadratic   e**2 / 2               (e**2 + s**2) / 2                               e
absolute    abs(e)                 Q(e) + Q(-e)                                    2 Phi(e/s) - 1
rectified   max(e, 0)              Q(e) = e Phi(e/s) + s phi(e/s)                  Phi(e/s)
bump        1 - exp(-e**2 / 2)     1 - a exp(-(a e)**2 / 2)                        a**3 e exp(-(a e)**2 / 2)
wall        e**2 / 2, W times that P(e) + W P(-e),                                 Q(e) - W Q(-e)
            where e < 0            P(e) = ((e**2 + s**2) Phi(e/s) + e s phi(e/s))/2
=========== ====================== =============================================== ==========================

The first four are those of the authors' program py-optim, with the kink of the rectified one at the optimum;
the wall is an addition: a gentle slope that ends where the curvature jumps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from .._errors import message
from .._validation import choice, float_array, integer
from .dense import Floats, quiet

WALL = 10.0  #: The curvature behind the wall, as a multiple of that before it.
OUTLIER = 10.0  #: The shift of an outlier, as a multiple of that of another sample.


class Shape(NamedTuple):
    """A function ``f(e)`` with its derivative, 0 at a kink, and ``E f(e - s z)`` with its derivative by e."""

    loss: Callable[[Floats], Floats]
    grad: Callable[[Floats], Floats]
    mean_loss: Callable[[Floats, float], Floats]
    mean_grad: Callable[[Floats, float], Floats]


def density(z: Floats) -> Floats:
    """``phi(z)``."""
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def linear_part(e: Floats, s: float) -> Floats:
    """``Q(e) = E max(e - s z, 0)``."""
    return e * ndtr(e / s) + s * density(e / s)


def square_part(e: Floats, s: float) -> Floats:
    """``P(e) = E max(e - s z, 0)**2 / 2``."""
    return ((e * e + s * s) * ndtr(e / s) + e * s * density(e / s)) / 2


def shrink(s: float) -> float:
    """``a = 1 / sqrt(1 + s**2)``: what noise makes of the height of a bump of width 1."""
    return 1 / math.hypot(1, s)


SHAPES = {
    "quadratic": Shape(
        loss=lambda e: e * e / 2,
        grad=lambda e: e,
        mean_loss=lambda e, s: (e * e + s * s) / 2,
        mean_grad=lambda e, s: e,
    ),
    "absolute": Shape(
        loss=lambda e: np.abs(e),
        grad=lambda e: np.sign(e),
        mean_loss=lambda e, s: linear_part(e, s) + linear_part(-e, s),
        mean_grad=lambda e, s: ndtr(e / s) - ndtr(-e / s),
    ),
    "rectified": Shape(
        loss=lambda e: np.maximum(e, 0),
        grad=lambda e: (e > 0).astype(e.dtype),
        mean_loss=linear_part,
        mean_grad=lambda e, s: ndtr(e / s),
    ),
    "bump": Shape(
        loss=lambda e: -np.expm1(-e * e / 2),
        grad=lambda e: e * np.exp(-e * e / 2),
        mean_loss=lambda e, s: 1 - shrink(s) * np.exp(-((shrink(s) * e) ** 2) / 2),
        mean_grad=lambda e, s: shrink(s) ** 3 * e * np.exp(-((shrink(s) * e) ** 2) / 2),
    ),
    "wall": Shape(
        loss=lambda e: e * np.where(e > 0, e, WALL * e) / 2,
        grad=lambda e: np.where(e > 0, e, WALL * e),
        mean_loss=lambda e, s: square_part(e, s) + WALL * square_part(-e, s),
        mean_grad=lambda e, s: linear_part(e, s) - WALL * linear_part(-e, s),
    ),
}

#: What each number of a `Problem` must be.
RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "curvature": ("be a finite number above 0", lambda value: value > 0),
    "noise": ("be a finite number above 0", lambda value: value > 0),
    "sparsity": ("be a probability below 1", lambda value: 0 <= value < 1),
    "outliers": ("be a probability below 1", lambda value: 0 <= value < 1),
    "optimum": ("be a finite number", lambda value: True),
}


@dataclass(frozen=True)
class Problem:
    """A stochastic test function of one parameter, or ``dim`` independent copies of it side by side.

    All methods are element-wise: entry i of a result belongs to parameter i, and the loss of the separable
    problem of ``dim`` parameters is the sum over i. A sample is where the bottom of f lies for it, so to
    move the optimum in mid-stream, draw on from ``dataclasses.replace(problem, optimum=...)``.

    Parameters
    ----------
    name : {"quadratic", "absolute", "rectified", "bump", "wall"}
        The shape f, a row of `SHAPES`.
    curvature : float, default 1.0
        h, which multiplies the loss; for the shapes with a kink it is the slope.
    noise : float, default 1.0
        Standard deviation of a sample about the optimum, above 0.
    sparsity : float, default 0.0
        Probability that a sample says nothing of a parameter: it is NaN, and loss and gradient are exactly 0.
    outliers : float, default 0.0
        Probability that a sample lies `OUTLIER` times as far from the optimum.
    optimum : float, default 0.0
        Where ``e = 0``. By symmetry the expected loss is least there, with two exceptions: the wall, whose
        minimum is about 0.9 times the noise above, and the rectified shape, which falls without end.
    dim : int, default 1
        Number d of parameters.

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of its range. In the methods: if ``x`` or ``samples`` has another dtype than
        float32 or float64, or another shape than ``(d,)`` and ``(n, d)``.

    See Also
    --------
    refsgd.minimize : takes ``grad`` and samples.

    Examples
    --------
    >>> import refsgd
    >>> problem = Problem("quadratic", curvature=3.0, noise=0.1, dim=2)
    >>> samples = problem.sample(2000, random_state=0)
    >>> res = refsgd.minimize(problem.grad, np.array([10.0, -10.0]), args=(samples,), random_state=0)
    >>> bool((problem.expected_loss(res.x) - problem.min_loss < 1e-3).all())
    True
    """

    name: str
    curvature: float = 1.0
    noise: float = 1.0
    sparsity: float = 0.0
    outliers: float = 0.0
    optimum: float = 0.0
    dim: int = 1

    def __post_init__(self) -> None:
        choice("name", self.name, SHAPES)
        for name, (must, fits) in RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and fits(value)):
                raise ValueError(message(name, must, value, f"leave it out for {getattr(type(self), name)}"))
            object.__setattr__(self, name, float(value))  # a Python float leaves float32 arrays float32
        integer("dim", self.dim, 1)

    def sample(self, n: int, random_state: Any = None) -> Floats:
        """Draw samples (n, d), float64: the place of the bottom for each, or NaN for a silent one."""
        rng = np.random.default_rng(random_state)
        shape = integer("n", n, 1), self.dim
        shift = self.noise * rng.normal(size=shape)
        shift = np.where(rng.random(shape) < self.outliers, OUTLIER * shift, shift)
        return np.where(rng.random(shape) < self.sparsity, np.nan, self.optimum + shift)

    @quiet
    def losses(self, x: ArrayLike, samples: ArrayLike) -> Floats:
        """The losses (n, d) of each sample, in the dtype of ``x``."""
        x, samples = self._check(x, samples)
        return np.where(np.isnan(samples), 0, self.curvature * SHAPES[self.name].loss(x - samples))

    @quiet
    def grad(self, x: ArrayLike, samples: ArrayLike) -> Floats:
        """The gradients (n, d) of each sample's loss, in the dtype of ``x``; 0 at a kink."""
        x, samples = self._check(x, samples)
        return np.where(np.isnan(samples), 0, self.curvature * SHAPES[self.name].grad(x - samples))

    @quiet
    def expected_loss(self, x: ArrayLike) -> Floats:
        """The mean (d,) of `losses` over all samples, exact and in float64."""
        return self._mean(SHAPES[self.name].mean_loss, self._distance(x))

    @quiet
    def expected_grad(self, x: ArrayLike) -> Floats:
        """The mean (d,) of `grad` over all samples, which is the derivative of `expected_loss`."""
        return self._mean(SHAPES[self.name].mean_grad, self._distance(x))

    @property
    def min_loss(self) -> float:
        """The least `expected_loss` of one parameter; for the rectified shape its limit, 0."""
        if self.name == "rectified":
            return 0.0
        low, high = 0.0, 0.0
        if self.name == "wall":
            # The lowest point lies before the wall, by about the noise; bisect to the last bit.
            high = OUTLIER * self.noise
            for _ in range(60):
                middle = (low + high) / 2
                is_past = self._mean(SHAPES["wall"].mean_grad, np.array(middle)) > 0
                low, high = (low, middle) if is_past else (middle, high)
        return float(self._mean(SHAPES[self.name].mean_loss, np.array(high)))

    def optimal_rate(self, x: ArrayLike, n: int = 1) -> Floats:
        """The rate (d,) whose step with the mean gradient of ``n`` samples leaves the least expected loss.

        ``e**2 / (h (e**2 + v / n))`` with v the variance of a sample (arXiv:1301.3764, eq. (3)). Where a
        share q of samples says something it is ``e**2 / (h (q e**2 + ((1 - q) e**2 + v) / n))``. Raises
        `ValueError` unless the problem is quadratic: the other shapes have no closed form.

        >>> Problem("quadratic", curvature=2.0).optimal_rate(np.array([1.0]), n=3)
        array([0.375])
        """
        if self.name != "quadratic":
            remedy = "minimise expected_loss over the rate numerically"
            raise ValueError(message("name", "be 'quadratic' for optimal_rate", repr(self.name), remedy))
        n, q = integer("n", n, 1), 1 - self.sparsity
        e2 = self._distance(x) ** 2
        v = self.noise**2 * (1 + (OUTLIER**2 - 1) * self.outliers)
        return e2 / (self.curvature * (q * e2 + ((1 - q) * e2 + v) / n))

    def _mean(self, mean: Callable[[Floats, float], Floats], e: Floats) -> Floats:
        """Mean over the kinds of sample: silent ones (0), outliers, and the others."""
        near, far = mean(e, self.noise), mean(e, OUTLIER * self.noise)
        return (1 - self.sparsity) * self.curvature * ((1 - self.outliers) * near + self.outliers * far)

    def _distance(self, x: ArrayLike) -> Floats:
        return float_array("x", x, (self.dim,), finite=False).astype(np.float64) - self.optimum

    def _check(self, x: ArrayLike, samples: ArrayLike) -> tuple[Floats, Floats]:
        x = float_array("x", x, (self.dim,), finite=False)
        rows = float_array(
            "samples", samples, ("n", self.dim), finite=False, remedy="pass one row per sample"
        )
        return x, rows.astype(x.dtype, copy=False)
