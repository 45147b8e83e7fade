"""Optimisers to compare with: SGD, AdaGrad, RMSprop and Adam, each with a rate to tune.

They are baselines, in plain NumPy: `refsgd.VSGD` needs no rate. Defaults are those of PyTorch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import _checkpoint, kernels
from .._config import BackendName, backend_name
from .._errors import message
from .._validation import not_finite_entries
from ..sgd.moments import mean_gradient, not_finite
from ..sgd.scipy_method import ScipyMethod
from ..sgd.state import described, start_point

CHECKPOINT_VERSION = 1

Averages = tuple[NDArray[Any], ...]

SHARE = ("lie in [0, 1)", lambda value: 0 <= value < 1, "keep the default")

#: Hyper-parameter -> requirement, the same as a test, and a remedy.
RANGES: dict[str, tuple[str, Callable[[float], bool], str]] = {
    "rate": ("be positive and finite", lambda rate: 0 < rate < math.inf, "try 0.1, 0.01, 0.001 and compare"),
    "decay": ("be finite, at least 0", lambda decay: 0 <= decay < math.inf, "pass 0 for a constant rate"),
    "eps": ("be positive and finite", lambda eps: 0 < eps < math.inf, "keep the default"),
    "beta": SHARE,
    "beta1": SHARE,
    "beta2": SHARE,
}


@dataclass(frozen=True)
class Baseline(ScipyMethod, ABC):
    """The base of the baselines. Step ``t`` is ``x -= rates(averages, t) * direction``.

    Parameters
    ----------
    rate : float
        The learning rate.

    Raises
    ------
    TypeError, ValueError
        If a hyper-parameter is no number, or out of range.

    See Also
    --------
    refsgd.VSGD : the rule that needs no rate.

    Examples
    --------
    >>> from refsgd.baselines import SGD
    >>> SGD(0.1).start([1.0, 2.0])
    <BaselineRun of SGD(rate=0.1, decay=0.0): d=2, float64, n_steps=0>
    """

    rate: float

    #: What `BaselineRun.tell` needs besides gradients: nothing.
    requires: ClassVar[tuple[str, ...]] = ()
    #: Names of the averages, which are zero at first.
    averages: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, checked(field.name, getattr(self, field.name)))

    @abstractmethod
    def update(self, averages: Averages, grad: NDArray[Any]) -> tuple[Averages, NDArray[Any]]:
        """New averages that include a mean gradient (d,), and the direction to step against."""

    @abstractmethod
    def rates(self, averages: Averages, t: int) -> Any:
        """The factor of the direction in step ``t`` = 1, 2, ...: a number, or (d,)."""

    def start(self, x0: NDArray[Any], *, backend: BackendName | None = None) -> BaselineRun:
        """Begin a run.

        Parameters
        ----------
        x0 : (d,) array
            The first x, float32 or float64; the run copies it.
        backend : {"auto", "c", "numba", "numpy"}, optional
            The kernels that average per-sample gradients.

        Returns
        -------
        BaselineRun

        Raises
        ------
        TypeError, ValueError
            If ``x0`` has another dtype or shape, or an entry that is not finite.
        BackendError
            If that backend is not available.
        """
        return BaselineRun(self, x0, backend=backend)


@dataclass(frozen=True)
class SGD(Baseline):
    """Stochastic gradient descent with a constant rate, or one that falls as 1/t ([1]_).

    Parameters
    ----------
    rate : float
        Rate of the first step, in ``x**2 / loss``.
    decay : float, default 0.0
        The rate is ``rate / (1 + decay * t)`` after ``t`` steps.

    See Also
    --------
    refsgd.VSGD : needs no rate.

    References
    ----------
    .. [1] Robbins & Monro, *A stochastic approximation method*, Annals of Mathematical Statistics 22, 1951.

    Examples
    --------
    With rates of 1/t, x is the mean of the samples.

    >>> import numpy as np
    >>> from refsgd.baselines import SGD
    >>> run = SGD(1.0, decay=1.0).start(np.zeros(1))
    >>> for sample in [3.0, 5.0, 10.0]:
    ...     run.tell(run.ask() - sample)
    >>> run.x, run.rates
    (array([6.]), array([0.33333333]))
    """

    decay: float = 0.0

    def update(self, averages: Averages, grad: NDArray[Any]) -> tuple[Averages, NDArray[Any]]:
        return averages, grad

    def rates(self, averages: Averages, t: int) -> Any:
        return self.rate / (1 + self.decay * (t - 1))


@dataclass(frozen=True)
class AdaGrad(Baseline):
    """Rates that fall with the sum of squared gradients ([1]_, the diagonal form of figure 1).

    Parameters
    ----------
    rate : float
        The size of the first step of a parameter, in the units of x.
    eps : float, default 1e-10
        Added to the root of the sum; in ``loss / x``.

    See Also
    --------
    refsgd.VSGD : needs no rate.

    References
    ----------
    .. [1] Duchi, Hazan & Singer, *Adaptive subgradient methods for online learning and stochastic
       optimization*, JMLR 12, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from refsgd.baselines import AdaGrad
    >>> run = AdaGrad(0.1).start(np.zeros(2))
    >>> for _ in range(4):
    ...     run.tell(np.array([1.0, -100.0]))
    >>> run.rates  # 0.1 / sqrt(4) / |gradient|
    array([0.05  , 0.0005])
    """

    eps: float = 1e-10
    averages = ("g2_sum",)

    def update(self, averages: Averages, grad: NDArray[Any]) -> tuple[Averages, NDArray[Any]]:
        (g2_sum,) = averages
        return (g2_sum + grad * grad,), grad

    def rates(self, averages: Averages, t: int) -> Any:
        (g2_sum,) = averages
        return self.rate / (np.sqrt(g2_sum) + self.eps)


@dataclass(frozen=True)
class RMSprop(Baseline):
    """Rates by a running average of squared gradients ([1]_, slide 29).

    Parameters
    ----------
    rate : float
        Size of a step, in the units of x.
    beta : float, default 0.99
        The part of the average that a step keeps; 0.9 in [1]_.
    eps : float, default 1e-8
        Added to the root of the average; in ``loss / x``.

    See Also
    --------
    refsgd.VSGD : needs no rate.

    References
    ----------
    .. [1] Tieleman & Hinton, *Lecture 6.5 - rmsprop*, Coursera: Neural Networks for Machine Learning, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from refsgd.baselines import RMSprop
    >>> run = RMSprop(0.1, beta=0.75).start(np.zeros(2))
    >>> run.tell(np.array([1.0, -100.0]))
    >>> run.x  # the average begins at zero: the first steps are longer
    array([-0.2,  0.2])
    """

    beta: float = 0.99
    eps: float = 1e-8
    averages = ("g2_avg",)

    def update(self, averages: Averages, grad: NDArray[Any]) -> tuple[Averages, NDArray[Any]]:
        (g2_avg,) = averages
        return (self.beta * g2_avg + (1 - self.beta) * (grad * grad),), grad

    def rates(self, averages: Averages, t: int) -> Any:
        (g2_avg,) = averages
        return self.rate / (np.sqrt(g2_avg) + self.eps)


@dataclass(frozen=True)
class Adam(Baseline):
    """Running averages of gradient and squared gradient, corrected for their start ([1]_, algorithm 1).

    Parameters
    ----------
    rate : float, default 0.001
        Size of a step, in the units of x.
    beta1, beta2 : float, default 0.9 and 0.999
        The parts of the average gradient and the average squared gradient that a step keeps.
    eps : float, default 1e-8
        Added to the root of the average; in ``loss / x``.

    See Also
    --------
    refsgd.VSGD : needs no rate.

    References
    ----------
    .. [1] Kingma & Ba, *Adam: a method for stochastic optimization*, ICLR 2015, arXiv 1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> from refsgd.baselines import Adam
    >>> run = Adam().start(np.zeros(2))
    >>> run.tell(np.array([1.0, -100.0]))
    >>> run.x
    array([-0.001,  0.001])
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    averages = ("g_avg", "g2_avg")

    def update(self, averages: Averages, grad: NDArray[Any]) -> tuple[Averages, NDArray[Any]]:
        g_avg, g2_avg = averages
        g_avg = self.beta1 * g_avg + (1 - self.beta1) * grad
        g2_avg = self.beta2 * g2_avg + (1 - self.beta2) * (grad * grad)
        return (g_avg, g2_avg), g_avg

    def rates(self, averages: Averages, t: int) -> Any:
        _, g2_avg = averages
        root = np.sqrt(g2_avg / (1 - self.beta2**t))
        return self.rate / (1 - self.beta1**t) / (root + self.eps)


class BaselineRun:
    """A run of a baseline, driven by its user as a `refsgd.Run`: ``run.tell(grad(run.ask(), *batch))``.

    Parameters
    ----------
    rule : Baseline
        The rule. Its ``start`` makes a run.
    x0 : (d,) array
        The first x, float32 or float64; the run copies it.
    backend : {"auto", "c", "numba", "numpy"}, optional
        The kernels that average per-sample gradients.

    Attributes
    ----------
    n_steps, n_samples : int
        Minibatches and samples learnt from so far.
    batch_size : int
        Samples of the latest minibatch, 1 before the first.

    See Also
    --------
    refsgd.Run : the same for the default rule.

    Examples
    --------
    >>> import numpy as np
    >>> from refsgd.baselines import SGD
    >>> run = SGD(0.1).start(np.array([3.0, -4.0]))
    >>> for _ in range(100):
    ...     run.tell(run.ask())  # the gradient of |x|**2 / 2
    >>> run
    <BaselineRun of SGD(rate=0.1, decay=0.0): d=2, float64, n_steps=100>
    >>> bool(np.abs(run.x).max() < 0.001)
    True
    """

    def __init__(self, rule: Baseline, x0: NDArray[Any], *, backend: BackendName | None = None) -> None:
        x0 = start_point(x0)
        self.rule = rule
        self.kernels = kernels.load(backend_name(backend))
        self.n_steps = 0
        self.n_samples = 0
        self.batch_size = 1
        self._x = x0.copy()
        self._averages: Averages = tuple(np.zeros_like(x0) for _ in rule.averages)
        self._mean = np.empty_like(x0)

    def __repr__(self) -> str:
        return described(self)

    @property
    def x(self) -> NDArray[Any]:
        """The parameters (d,): a view, which the next `tell` changes."""
        return self._x

    @property
    def rates(self) -> NDArray[Any]:
        """The factors (d,) of the mean gradient in the latest step, for Adam of the average; 0 at first."""
        latest = self.rule.rates(self._averages, self.n_steps) if self.n_steps else 0.0
        return np.full_like(self._x, latest)

    @property
    def n_gradients(self) -> int:
        """Gradients of minibatches evaluated so far: one per step."""
        return self.n_steps

    @property
    def is_open(self) -> bool:
        """Whether the run waits for a second gradient of the same minibatch: never."""
        return False

    def ask(self) -> NDArray[Any]:
        """The point (d,) where `tell` wants the gradient: x. It is only valid until then."""
        return self._x

    def tell(self, gradient: Any) -> None:
        """Take a step on the mean gradient of one minibatch.

        Parameters
        ----------
        gradient : array, CSR matrix, Moments or tuple
            The mean gradient (d,), which counts as one sample; or per-sample gradients (n, d) with n >= 1,
            dense or CSR; or `Moments`, or a tuple of its fields. In float32 or float64.

        Raises
        ------
        TypeError, ValueError
            If the gradient has a wrong type, dtype or shape.
        FloatingPointError
            If the gradient, its square, or what follows from it is not finite.

        After each of these the run is as before.
        """
        n_samples, mean = mean_gradient("grad", gradient, self._x, self.kernels, self._mean)
        if not math.isfinite(np.vdot(mean, mean)):
            raise FloatingPointError(not_finite("grad", mean, self.n_steps))
        with np.errstate(all="ignore"):  # what is not finite is found below
            averages, direction = self.rule.update(self._averages, mean)
            x = self._x - self.rule.rates(averages, self.n_steps + 1) * direction
        for name, array in zip(("x", *self.rule.averages), (x, *averages), strict=True):
            if not np.isfinite(array).all():
                must, got = f"be finite at step {self.n_steps}", not_finite_entries(array)
                remedy = "choose a smaller rate or a smaller unit of the loss"
                raise FloatingPointError(message(name, must, got, remedy))
        self._averages = averages
        self._x[:] = x
        self.n_steps += 1
        self.n_samples += n_samples
        self.batch_size = n_samples

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that a run needs to continue, as plain arrays, for example for ``np.savez``.

        Examples
        --------
        >>> import numpy as np
        >>> from refsgd.baselines import Adam
        >>> run = Adam().start(np.ones(3))
        >>> run.tell(np.ones((2, 3)))
        >>> sorted(run.state_dict())
        ['beta1', 'beta2', 'counters', 'eps', 'g2_avg', 'g_avg', 'rate', 'rule', 'version', 'x']
        """
        return {
            "version": np.array(CHECKPOINT_VERSION),
            "rule": np.array(type(self.rule).__name__),
            **{name: np.array(value) for name, value in asdict(self.rule).items()},
            "counters": np.array([self.n_steps, self.n_samples, self.batch_size]),
            "x": self._x.copy(),
            **{name: a.copy() for name, a in zip(self.rule.averages, self._averages, strict=True)},
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a `state_dict`, bit for bit.

        Parameters
        ----------
        state : mapping
            What `state_dict` returned.

        Raises
        ------
        ValueError
            If it is incomplete, or from another version, rule, hyper-parameter, dtype or number of
            parameters; the run is then as before.
        """
        must_equal = ("version", "rule", *asdict(self.rule))
        arrays = _checkpoint.load(state, self.state_dict(), must_equal)
        self._x[:] = arrays["x"]
        self._averages = tuple(arrays[name].copy() for name in self.rule.averages)
        self.n_steps, self.n_samples, self.batch_size = map(int, arrays["counters"])


def checked(name: str, value: Any) -> float:
    """Return a hyper-parameter as a Python float, beside which float32 arrays stay so, if it is in range."""
    must, is_valid, remedy = RANGES[name]
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(message(name, "be a number", repr(value), remedy))
    if not is_valid(float(value)):
        raise ValueError(message(name, must, value, remedy))
    return float(value)
