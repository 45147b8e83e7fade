"""The functional door: minibatches from arrays, a rule, a result as SciPy gives it."""

from __future__ import annotations

import inspect
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._errors import NumericalWarning, message
from .._validation import choice, integer
from ..progress import bar
from .interrupts import Interrupts
from .published import PRESETS, PublishedVSGD
from .published_run import PublishedRun
from .run import Run
from .sampler import Minibatches
from .stopping import criterion
from .vsgd import VSGD

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from .baselines import Baseline, BaselineRun

    Rule = VSGD | PublishedVSGD | Baseline
    AnyRun = Run | PublishedRun | BaselineRun

RULES: Mapping[str, VSGD | PublishedVSGD] = {"vsgd": VSGD(), **PRESETS}

#: The statuses of a result; the first two are successes.
FINISHED, STOPPED, NOT_FINITE, INTERRUPTED, NO_SENSE = range(5)

#: A run that ends this share of its first loss above it has not done what was wanted.
RISE = 0.1


def minimize(
    grad: Callable[..., Any],
    x0: NDArray[Any],
    args: Sequence[Any] = (),
    *,
    fun: Callable[..., Any] | None = None,
    method: str | Rule = "vsgd",
    batch_size: int = 1,
    epochs: int | None = None,
    max_iter: int | None = None,
    weighting: str | None = None,
    diag_hess: Callable[..., Any] | None = None,
    blocks: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    stop: Any = None,
    resume: Mapping[str, NDArray[Any]] | None = None,
    random_state: Any = None,
    callback: Callable[..., Any] | None = None,
    progress: bool = False,
    backend: str | None = None,
) -> OptimizeResult:
    """Minimise a mean over samples by stochastic gradient descent, with no learning rate to set.

    Parameters
    ----------
    grad : callable
        ``grad(x, *batch)`` with ``x`` (d,): the mean gradient (d,) of the minibatch, per-sample gradients
        (n, d), dense or CSR, or `Moments`, or a tuple of its fields such as the ``moments`` methods of
        `refsgd.models` return. Or a function compiled by Numba, ``grad(x, *sample, out)``, that writes the
        gradient of one sample to ``out`` (d,): it runs without Python in between (`refsgd.sgd.compiled`).
        Now and then a minibatch is evaluated at a second point.
    x0 : (d,) array
        Where to start, float32 or float64; not changed.
    args : sequence of arrays
        Data that share axis 0, dense or CSR; each minibatch is ``batch_size`` of their rows. Without any,
        ``grad(x)`` must use the same samples again where it is called twice in a step: no noise, for example.
    fun : callable, optional
        ``fun(x, *args)``: the loss of the whole data, or per-sample losses, whose mean is taken; evaluated at
        the start and at the end.
    method : str, VSGD, PublishedVSGD or Baseline, default "vsgd"
        The rule: ``"vsgd"``, a name of `PublishedVSGD.preset`, or a rule itself.
    batch_size : int, default 1
        Rows a minibatch; the last one of an epoch may be smaller.
    epochs : int, optional
        Passes over the data, each in a new random order. 1 if neither ``max_iter`` nor ``stop`` is given.
    max_iter : int, optional
        Largest number of steps.
    weighting : {"dense", "sparse", "orthogonal"}, optional
        How samples add up, where ``method`` is a name: see `VSGD` and `PublishedVSGD`.
    diag_hess : callable, optional
        ``diag_hess(x, *batch)``: the diagonal Hessian, (d,) or per sample (n, d), for the methods
        ``"vsgd-l"``, ``"vsgd-g"`` and ``"vsgd-b"``, which need it.
    blocks : sequence of int, optional
        Numbers of parameters that share a rate, in order, for ``"vsgd-b"``.
    groups : sequence of int, optional
        Numbers of parameters that begin together, in order, for ``"vsgd"``: see `VSGD.start`.
    stop : callable or sequence of callables, optional
        Criteria of `refsgd.stopping`, asked after each step; any of a sequence.
    resume : mapping, optional
        The ``state`` of an earlier result with the same arguments: go on from there, to the same bits as
        without a break. ``epochs`` and ``max_iter`` count from the very beginning; ``x0`` only gives shape
        and dtype, and ``random_state`` is that of the state.
    random_state : None, int, Generator
        For `numpy.random.default_rng`.
    callback : callable, optional
        Called after each step as ``callback(xk)``, or, if its one parameter has that name, as
        ``callback(intermediate_result=OptimizeResult(...))``, which has ``x``, ``jac`` (the mean gradient of
        the minibatch, before the step), ``nit`` and ``nsamples``. StopIteration ends the run.
    progress : bool, default False
        Show a progress bar, on a terminal.
    backend : str, optional
        ``"c"``, ``"numba"``, ``"numpy"`` or ``"auto"``.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``x``, ``fun`` (NaN without ``fun``), ``success``, ``status``, ``message``, ``nit`` (steps), ``njev``
        (gradients of minibatches evaluated, second points included), ``nsamples``, ``rates`` (d,), ``state``
        (plain arrays, for ``np.savez`` and ``resume``), and ``x_avg`` where the rule averages. Where a gradient
        is not finite the run warns, and returns the last good ``x`` with ``success=False``; so does Ctrl-C,
        without a warning. A run whose result makes no sense, as ``fun`` is a tenth or more above its start or
        `Run.trouble` says, ends with ``success=False``, status 4 and the reason in ``message``.

    Raises
    ------
    TypeError, ValueError
        If an argument or a gradient has the wrong type, dtype or shape, or one is missing that the method
        needs, or given that it does not need.

    References
    ----------
    .. [1] Schaul & LeCun, arXiv 1301.3764.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> from refsgd.models import Logistic
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> y = (X @ [2.0, -1.0, 0.0] > 0).astype(int)
    >>> model = Logistic(3)
    >>> res = refsgd.minimize(model.grad, model.init(), (X, y), fun=model.loss, epochs=3, random_state=0)
    >>> res.success, res.nit, bool(model.error(res.x, X, y) < 0.02)
    (True, 3000, True)
    """
    job = Job(grad, x0, args, method, batch_size, epochs, max_iter, weighting, diag_hess, blocks, groups,
              resume, random_state, backend, is_endless=stop is not None,
              keeps_gradients=wants_result(callback))  # fmt: skip
    run = job.run
    before = mean_loss(fun, job)
    should_stop = criterion(stop) if stop is not None else None
    report = reporter(callback, job)
    is_watched = stop is not None or callback is not None
    status, why = FINISHED, "the epochs or steps asked for are done"
    total = None if math.isinf(job.total) else int(job.total)
    with bar(total, "step", show=progress, initial=run.n_steps) as shown, job.interrupts.handled():
        try:
            while run.n_steps < job.total:
                shown.update(job.step(most=1 if is_watched else math.inf))
                try:
                    report()
                except StopIteration:
                    status, why = STOPPED, "the callback stopped the run"
                    break
                if should_stop is not None and (reason := should_stop(run)):
                    status, why = STOPPED, reason
                    break
        except KeyboardInterrupt:
            status, why = INTERRUPTED, "interrupted; x is the last one reached"
        except FloatingPointError as error:
            status, why = NOT_FINITE, str(error)
            warnings.warn(why, NumericalWarning, stacklevel=2)
    value = mean_loss(fun, job)
    if status in (FINISHED, STOPPED):
        if fun is not None and not math.isfinite(value):
            status, why = NOT_FINITE, f"{why}; fun is {value} at the last x"
        elif value > before + RISE * abs(before):
            status, why = NO_SENSE, f"{why}, but fun rose from {before:.6g} to {value:.6g}"
        elif trouble := getattr(run, "trouble", ""):
            status, why = NO_SENSE, f"{why}, but {trouble}"
    average = {"x_avg": run.x_avg.copy()} if getattr(run.rule, "average", False) else {}
    return result(
        x=run.x.copy(),
        fun=value,
        success=status in (FINISHED, STOPPED),
        status=status,
        message=why,
        nit=run.n_steps,
        njev=run.n_gradients,
        nsamples=run.n_samples,
        rates=run.rates,
        state=job.state_dict(),
        **average,
    )


def iterate(
    grad: Callable[..., Any],
    x0: NDArray[Any],
    args: Sequence[Any] = (),
    *,
    method: str | Rule = "vsgd",
    batch_size: int = 1,
    epochs: int | None = None,
    max_iter: int | None = None,
    weighting: str | None = None,
    diag_hess: Callable[..., Any] | None = None,
    blocks: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    random_state: Any = None,
    backend: str | None = None,
) -> Iterator[AnyRun]:
    """`minimize` as an iterator: after each step it gives the run, with ``x``, ``rates``, ``n_steps`` ...

    The arguments and errors are those of `minimize`; a gradient that is not finite raises
    `FloatingPointError`.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> samples = np.random.default_rng(0).normal(size=(1000, 2))
    >>> for step in refsgd.iterate(lambda x, batch: x - batch, np.array([3.0, 4.0]), samples, random_state=0):
    ...     if np.abs(step.x).max() < 0.1:
    ...         break
    >>> step.n_steps < 200
    True
    """
    job = Job(grad, x0, args, method, batch_size, epochs, max_iter, weighting, diag_hess, blocks, groups,
              None, random_state, backend, is_endless=False, keeps_gradients=False)  # fmt: skip

    def steps() -> Iterator[AnyRun]:
        while job.run.n_steps < job.total:
            job.step(most=1)
            yield job.run

    return steps()


class Job:
    """A run and what it is fed with: the checked arguments of `minimize`.

    Attributes
    ----------
    total : float
        Steps to do, inf if only a criterion ends them.
    mean_grad : (d,) array or None
        The mean gradient of the last minibatch, if such are kept; then no steps are done without Python.
    """

    def __init__(
        self,
        grad: Callable[..., Any],
        x0: NDArray[Any],
        args: Sequence[Any],
        method: str | Rule,
        batch_size: int,
        epochs: int | None,
        max_iter: int | None,
        weighting: str | None,
        diag_hess: Callable[..., Any] | None,
        blocks: Sequence[int] | None,
        groups: Sequence[int] | None,
        resume: Mapping[str, NDArray[Any]] | None,
        random_state: Any,
        backend: str | None,
        *,
        is_endless: bool,
        keeps_gradients: bool,
    ) -> None:
        rule = rule_of(method, weighting)
        batch_size = integer("batch_size", batch_size, minimum=1)
        epochs = None if epochs is None else integer("epochs", epochs, minimum=1)
        max_iter = None if max_iter is None else integer("max_iter", max_iter, minimum=1)
        if not callable(grad):
            raise TypeError(message("grad", "be callable", repr(grad), "pass a function grad(x, *batch)"))
        needed(rule, method, diag_hess=diag_hess, blocks=blocks)
        if groups is not None and not isinstance(rule, VSGD):
            remedy = "leave them out, or choose method='vsgd'"
            raise ValueError(message("groups", f"be None with method={method!r}", "some", remedy))
        arrays = data(args)
        if not arrays and epochs is not None:
            raise ValueError(message("epochs", "be None where args is empty", epochs, "pass max_iter"))
        if not arrays and max_iter is None and not is_endless:
            must, remedy = "be given where args is empty", "pass max_iter=1000 or so, or data in args"
            raise ValueError(message("max_iter", must, None, remedy))
        if epochs is None and max_iter is None and not is_endless:
            epochs = 1
        given = {"blocks": blocks, "groups": groups}
        options = {name: sizes for name, sizes in given.items() if sizes is not None}
        self.run = rule.start(x0, backend=backend, **options)
        self.batches = Minibatches(arrays, batch_size, random_state)
        steps = epochs * self.batches.steps_an_epoch if epochs else math.inf
        self.total = min(float(max_iter or math.inf), steps)
        self.diag_hess = diag_hess
        self.interrupts = Interrupts()
        self.mean_grad: NDArray[Any] | None = None
        self._keeps_gradients = keeps_gradients
        self._grad = grad
        self._leap: Callable[[Minibatches, float], int] | None = None
        if "numba" in sys.modules:  # else grad cannot be compiled by it
            from . import compiled

            if compiled.is_for_one_sample(grad, len(arrays)):
                kernel = compiled.SampleGradient(grad, self.run.x, arrays)
                self._grad = kernel.rows
                self._leap = None if keeps_gradients else kernel.leap_of(self.run)
        if resume is not None:
            self.batches.load_state_dict(resume)
            self.run.load_state_dict(resume)

    def step(self, most: float) -> int:
        """Do a step, or several, at most ``most``, if they need no Python; return how many."""
        done = 0
        if self._leap is not None:
            with self.interrupts:
                done = self._leap(self.batches, min(most, self.total - self.run.n_steps))
        if done:
            return done
        batch = self.batches.at(self.run.n_steps)
        gradient = self._grad(self.run.ask(), *batch)
        diag_hess = {} if self.diag_hess is None else {"diag_hess": self.diag_hess(self.run.x, *batch)}
        kept = mean_gradient(gradient) if self._keeps_gradients else None
        with self.interrupts:
            self.run.tell(gradient, **diag_hess)
        if self.run.is_open:
            gradient = self._grad(self.run.ask(), *batch)
            with self.interrupts:
                self.run.tell(gradient)
        self.mean_grad = kept
        return 1

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What ``resume`` takes."""
        return self.run.state_dict() | self.batches.state_dict()


def mean_loss(fun: Callable[..., Any] | None, job: Job) -> float:
    """The loss of the whole data where the run is; NaN without ``fun``."""
    return math.nan if fun is None else float(np.mean(fun(job.run.x, *job.batches.arrays)))


def rule_of(method: str | Rule, weighting: str | None) -> Rule:
    """The rule of that name, or the rule itself."""
    if isinstance(method, str) or not hasattr(method, "start") or isinstance(method, type):
        rule = RULES[choice("method", method, RULES)]
        return rule if weighting is None else replace(rule, weighting=weighting)
    if weighting is not None:
        remedy = f"pass method=refsgd.VSGD(weighting={weighting!r})"
        raise ValueError(message("weighting", "be None where method is a rule", repr(weighting), remedy))
    return method


def needed(rule: Rule, method: Any, **given: Any) -> None:
    """Refuse what is missing of, or given beside, what a rule requires."""
    for name, value in given.items():
        if value is None and name in rule.requires:
            remedy = "pass it, or use method='vsgd'"
            raise ValueError(message(name, f"be given with method={method!r}", None, remedy))
        if value is not None and name not in rule.requires:
            remedy = f"leave it out, or choose a method that uses {name}"
            raise ValueError(message(name, f"be None with method={method!r}", "one", remedy))


def data(args: Sequence[Any]) -> list[Any]:
    """The arrays of ``args``, which must share axis 0."""
    if not isinstance(args, tuple | list):
        args = (args,)
    arrays = [array if hasattr(array, "shape") else np.asarray(array) for array in args]
    lengths = [array.shape[0] if array.shape else None for array in arrays]
    if None in lengths or len(set(lengths)) > 1 or 0 in lengths:
        raise ValueError(
            message(
                "args",
                "be arrays that share a non-empty axis 0",
                f"shapes {[tuple(array.shape) for array in arrays]}",
                "pass (X, y) with one row per sample, and bind other arguments with functools.partial",
            )
        )
    return arrays


def wants_result(callback: Callable[..., Any] | None) -> bool:
    """Whether a callback is of SciPy's form with a keyword."""
    return callback is not None and "intermediate_result" in inspect.signature(callback).parameters


def reporter(callback: Callable[..., Any] | None, job: Job) -> Callable[[], None]:
    """What to call after each step, in the form of SciPy's callbacks."""
    run = job.run
    if callback is None:
        return lambda: None
    if wants_result(callback):
        return lambda: callback(
            intermediate_result=result(
                x=run.x.copy(), jac=job.mean_grad, nit=run.n_steps, nsamples=run.n_samples
            )
        )
    return lambda: callback(run.x.copy())


def mean_gradient(gradient: Any) -> NDArray[Any]:
    """The mean (d,) of what a gradient function gave: rows, dense or sparse, or moments."""
    if isinstance(gradient, tuple):
        return np.array(gradient[1])
    if hasattr(gradient, "tocsr"):
        return np.asarray(gradient.mean(axis=0)).ravel()
    gradient = np.asarray(gradient)
    return gradient.copy() if gradient.ndim == 1 else gradient.mean(axis=0)


def result(**fields: Any) -> OptimizeResult:
    from scipy.optimize import OptimizeResult

    filled = OptimizeResult()
    filled.update(fields)
    return filled
