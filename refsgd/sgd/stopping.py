"""When to stop: criteria, and how they compose.

A criterion is a callable. It takes the run after each step, and returns the reason to stop, or ``""`` to
continue. It reads ``run.x``, ``run.n_steps`` and ``run.n_samples``. A list of criteria stops at any of them.

Criteria with a memory (`MaxTime`, `TargetLoss`, `Patience`, `NotFinite`) forget it when they meet another
run, or the same run at an earlier step, so that one criterion can serve many runs in turn.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from .._validation import integer


class Progress(Protocol):
    """What a criterion may read from a run: `refsgd.Run`, or any other."""

    @property
    def x(self) -> NDArray[Any]: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def n_samples(self) -> int: ...


Criterion = Callable[[Any], str]


@dataclass(frozen=True)
class MaxSteps:
    """Stop after ``n`` steps, including steps before the run was resumed.

    Parameters
    ----------
    n : int
        At least 1.

    See Also
    --------
    MaxSamples, MaxTime : other budgets.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> from refsgd.stopping import MaxSteps
    >>> run = refsgd.VSGD().start(np.ones(2))
    >>> stop = MaxSteps(50)
    >>> while not (why := stop(run)):
    ...     run.tell(run.ask().copy())
    >>> why
    '50 steps were asked for and are done'
    """

    n: int

    def __post_init__(self) -> None:
        integer("n", self.n, minimum=1)

    def __call__(self, run: Progress) -> str:
        return f"{self.n} steps were asked for and are done" if run.n_steps >= self.n else ""


@dataclass(frozen=True)
class MaxSamples:
    """Stop after the step that reaches ``n`` samples; ``epochs * len(X)`` for that many epochs.

    Parameters
    ----------
    n : int
        At least 1.

    See Also
    --------
    MaxSteps, MaxTime : other budgets.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> from refsgd.stopping import MaxSamples
    >>> run = refsgd.VSGD().start(np.ones(2))
    >>> stop = MaxSamples(50)
    >>> while not (why := stop(run)):
    ...     run.tell(run.ask() + np.zeros((4, 2)))
    >>> why, run.n_samples
    ('50 samples were asked for and are done', 52)
    """

    n: int

    def __post_init__(self) -> None:
        integer("n", self.n, minimum=1)

    def __call__(self, run: Progress) -> str:
        return f"{self.n} samples were asked for and are done" if run.n_samples >= self.n else ""


class _Remembering:
    """A criterion with a memory of the one run that it watches."""

    # A weak reference, so that no run is kept alive; to nothing at first.
    _run: Callable[[], object] = staticmethod(lambda: None)
    _n_steps = 0

    def __call__(self, run: Progress) -> str:
        if self._run() is not run or run.n_steps < self._n_steps:
            self._run = weakref.ref(run)
            self._begin()
        self._n_steps = run.n_steps
        return self._judge(run)

    def _begin(self) -> None:
        """Forget the run before."""
        raise NotImplementedError

    def _judge(self, run: Progress) -> str:
        raise NotImplementedError


@dataclass(eq=False)
class MaxTime(_Remembering):
    """Stop ``seconds`` after the first call, or at the first call later than that.

    Parameters
    ----------
    seconds : float
        Positive and finite.

    See Also
    --------
    MaxSteps, MaxSamples : budgets that give the same result each time.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> from refsgd.stopping import MaxTime
    >>> run = refsgd.VSGD().start(np.ones(2))
    >>> stop = MaxTime(0.01)
    >>> while not (why := stop(run)):
    ...     run.tell(run.ask().copy())
    >>> why
    '0.01 seconds have passed'
    """

    seconds: float
    _begun: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(message("seconds", "be positive and finite", self.seconds, "pass seconds=60"))

    def _begin(self) -> None:
        self._begun = monotonic()

    def _judge(self, run: Progress) -> str:
        return f"{self.seconds} seconds have passed" if monotonic() - self._begun >= self.seconds else ""


class _Periodic(_Remembering):
    """A criterion on a loss, evaluated at the first call and then after every ``every`` steps.

    In between it repeats its last answer, so that `AllOf` sees it.
    """

    fun: Callable[[NDArray[Any]], float]
    every: int
    _evaluated: int
    _answer: str

    def __post_init__(self) -> None:
        if not callable(self.fun):
            raise TypeError(message("fun", "be callable", repr(self.fun), "pass a function fun(x) -> loss"))
        integer("every", self.every, minimum=1)

    def _begin(self) -> None:
        self._evaluated = -self.every  # so that the first call evaluates

    def _judge(self, run: Progress) -> str:
        # No remainder of n_steps: the first call may come at any step, and there need not be one after each.
        if run.n_steps - self._evaluated >= self.every:
            self._answer = self._evaluate(run)
            self._evaluated = run.n_steps
        return self._answer

    def _evaluate(self, run: Progress) -> str:
        raise NotImplementedError


@dataclass(eq=False)
class TargetLoss(_Periodic):
    """Stop when a loss has reached a target, or is NaN.

    Parameters
    ----------
    fun : callable
        ``fun(x) -> float`` with ``x`` (d,): the loss.
    target : float
        In the units of the loss.
    every : int, default 100
        Steps from one evaluation to the next; the first is at the first call.

    See Also
    --------
    Patience : stops when the loss no longer falls.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> from refsgd.stopping import TargetLoss
    >>> run = refsgd.VSGD().start(np.array([3.0, -4.0]))
    >>> stop = TargetLoss(lambda x: x @ x / 2, target=0.01, every=10)
    >>> while not (why := stop(run)):
    ...     run.tell(run.ask().copy())
    >>> why
    'the loss is 0.00...: the target 0.01 is reached'
    """

    fun: Callable[[NDArray[Any]], float]
    target: float
    every: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.isnan(self.target):
            raise ValueError(message("target", "be a number", self.target, "pass a loss"))

    def _evaluate(self, run: Progress) -> str:
        loss = float(self.fun(run.x))
        if math.isnan(loss):
            return nan_loss(run)
        return f"the loss is {loss:.6g}: the target {self.target} is reached" if loss <= self.target else ""


@dataclass(eq=False)
class Patience(_Periodic):
    """Stop when a validation loss has not improved for some evaluations, or is NaN.

    Parameters
    ----------
    fun : callable
        ``fun(x) -> float`` with ``x`` (d,): the loss, for example of held-out samples.
    patience : int, default 5
        Stop after this many consecutive evaluations without a lower loss.
    every : int, default 100
        Steps from one evaluation to the next; the first is at the first call.

    Attributes
    ----------
    best_x : (d,) array or None
        A copy of x at the lowest loss so far; None before the first loss that is not NaN.
    best_loss : float
        That loss; inf before.

    See Also
    --------
    TargetLoss : stops at a given loss.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> from refsgd.stopping import Patience
    >>> X = np.random.default_rng(0).normal(5.0, 1.0, size=(1000, 2))
    >>> run = refsgd.VSGD().start(np.zeros(2))
    >>> stop = Patience(lambda x: np.mean((X[:100] - x) ** 2), patience=3, every=20)
    >>> rows = iter(X[100:])
    >>> while not (why := stop(run)):
    ...     row = next(rows)
    ...     run.tell(run.ask() - row)
    >>> why
    'the loss has not gone below ... in 3 evaluations'
    >>> bool(np.abs(stop.best_x - 5).max() < 0.5)
    True
    """

    fun: Callable[[NDArray[Any]], float]
    patience: int = 5
    every: int = 100
    best_x: NDArray[Any] | None = field(default=None, init=False, repr=False)
    best_loss: float = field(default=math.inf, init=False, repr=False)
    _in_vain: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("patience", self.patience, minimum=1)

    def _begin(self) -> None:
        super()._begin()
        self.best_x, self.best_loss, self._in_vain = None, math.inf, 0

    def _evaluate(self, run: Progress) -> str:
        loss = float(self.fun(run.x))
        if math.isnan(loss):
            return nan_loss(run)
        if loss < self.best_loss or self.best_x is None:
            self.best_x, self.best_loss, self._in_vain = run.x.copy(), loss, 0
            return ""
        self._in_vain += 1
        if self._in_vain < self.patience:
            return ""
        return f"the loss has not gone below {self.best_loss:.6g} in {self._in_vain} evaluations"


@dataclass(eq=False)
class NotFinite(_Periodic):
    """Stop when x or a loss is NaN or infinite.

    Parameters
    ----------
    fun : callable
        ``fun(x) -> float`` with ``x`` (d,): the loss. It is not called with an x that is not finite.
    every : int, default 100
        Steps from one evaluation to the next; the first is at the first call.

    See Also
    --------
    refsgd.minimize : stops by itself at a gradient that is not finite.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> from refsgd.stopping import MaxSteps, NotFinite
    >>> run = refsgd.VSGD().start(np.array([0.1]))
    >>> stop = NotFinite(lambda x: np.inf if x > 1 else 0.0, every=5)
    >>> while not (why := stop(run)):
    ...     run.tell(run.ask() - 2)  # on to x = 2
    >>> why
    'the loss is inf at step ...'
    """

    fun: Callable[[NDArray[Any]], float]
    every: int = 100

    def _evaluate(self, run: Progress) -> str:
        n_bad = np.count_nonzero(~np.isfinite(run.x))
        if n_bad:
            return f"{n_bad} of {run.x.size} entries of x are not finite at step {run.n_steps}"
        loss = float(self.fun(run.x))
        return "" if math.isfinite(loss) else f"the loss is {loss} at step {run.n_steps}"


class _Composition:
    """Criteria, or lists of them, as one."""

    def __init__(self, *criteria: Criterion | Sequence[Any]) -> None:
        if not criteria:
            raise ValueError(message("criteria", "be one or more", 0, "pass for example MaxSteps(1000)"))
        self.criteria = tuple(map(criterion, criteria))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.criteria))})"


class AnyOf(_Composition):
    """Stop as soon as one of the criteria says so, as a list of them does.

    The first to stop gives the reason; it skips the criteria after it.

    Parameters
    ----------
    *criteria : callable, or list or tuple of them
        One or more.

    See Also
    --------
    AllOf : stops when all say so.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> from refsgd.stopping import AnyOf, MaxSteps, TargetLoss
    >>> run = refsgd.VSGD().start(np.array([3.0, -4.0]))
    >>> stop = AnyOf(MaxSteps(5), TargetLoss(lambda x: x @ x / 2, target=0.01, every=10))
    >>> while not (why := stop(run)):
    ...     run.tell(run.ask().copy())
    >>> why
    '5 steps were asked for and are done'
    """

    def __call__(self, run: Progress) -> str:
        return next((why for each in self.criteria if (why := each(run))), "")


class AllOf(_Composition):
    """Stop when all criteria say so at once, for all their reasons.

    Parameters
    ----------
    *criteria : callable, or list or tuple of them
        One or more.

    See Also
    --------
    AnyOf : stops when one says so.

    Examples
    --------
    Be patient, but only after 100 steps:

    >>> import numpy as np, refsgd
    >>> from refsgd.stopping import AllOf, MaxSteps, Patience
    >>> run = refsgd.VSGD().start(np.array([3.0, -4.0]))
    >>> stop = AllOf(MaxSteps(100), Patience(lambda x: 1.0, patience=2, every=10))
    >>> while not (why := stop(run)):
    ...     run.tell(run.ask().copy())
    >>> why
    '100 steps were asked for and are done; the loss has not gone below 1 in 10 evaluations'
    """

    def __call__(self, run: Progress) -> str:
        reasons = [each(run) for each in self.criteria]  # each sees every step
        return "; ".join(reasons) if all(reasons) else ""


def criterion(stop: Criterion | Sequence[Any]) -> Criterion:
    """Return a criterion unchanged, and a list or tuple of them as `AnyOf`.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or an empty list.

    Examples
    --------
    >>> from refsgd.sgd.stopping import MaxSamples, MaxSteps, criterion
    >>> criterion([MaxSteps(10), MaxSamples(30)])
    AnyOf(MaxSteps(n=10), MaxSamples(n=30))
    """
    if isinstance(stop, list | tuple):
        return AnyOf(*stop)
    if not callable(stop) or isinstance(stop, type):
        must, remedy = (
            "be a callable criterion(run) -> str, or a list of them",
            "pass for example MaxSteps(10)",
        )
        raise TypeError(message("stop", must, repr(stop), remedy))
    return stop


def nan_loss(run: Progress) -> str:
    return f"the loss is nan at step {run.n_steps}"
