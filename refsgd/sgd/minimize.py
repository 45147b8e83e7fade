"""`minimize` and `iterate`: from a gradient and samples to SciPy's result."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._config import BackendName
from .._errors import NumericalWarning, message
from .._validation import choice, integer
from ..progress import bar
from .driver import AnyRule, AnyRun, Driver, step_budget
from .published import PRESETS, PublishedVSGD
from .rule import Weighting
from .run import Run
from .sampler import Minibatches
from .stopping import criterion
from .vsgd import VSGD

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

MethodName = Literal["vsgd", "vsgd-fd", "vsgd-l", "vsgd-g", "vsgd-b"]

RULES: Mapping[MethodName, VSGD | PublishedVSGD] = {
    "vsgd": VSGD(),
    **{name: rule for name, rule in PRESETS.items()},  # not **PRESETS: its keys have a narrower type
}

#: The statuses of a result; the first two are successes.
FINISHED, STOPPED, NOT_FINITE, INTERRUPTED, NO_SENSE = range(5)

#: A run has failed if its loss rises by this share of the first loss.
RISE = 0.1


def minimize(
    grad: Callable[..., Any],
    x0: NDArray[Any],
    args: Sequence[Any] = (),
    *,
    fun: Callable[..., Any] | None = None,
    method: MethodName | AnyRule = "vsgd",
    batch_size: int = 1,
    epochs: int | None = None,
    max_iter: int | None = None,
    weighting: Weighting | None = None,
    diag_hess: Callable[..., Any] | None = None,
    blocks: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    stop: Any = None,
    resume: Mapping[str, NDArray[Any]] | None = None,
    random_state: Any = None,
    callback: Callable[..., Any] | None = None,
    progress: bool = False,
    backend: BackendName | None = None,
) -> OptimizeResult:
    """Minimise a mean over samples by stochastic gradient descent, with no learning rate to set.

    Parameters
    ----------
    grad : callable
        ``grad(x, *batch)`` with ``x`` (d,): the mean gradient (d,) of the minibatch, per-sample gradients
        (n, d), dense or CSR, or `Moments`, or a tuple of its fields such as the ``moments`` methods of
        `refsgd.models` return. Or a function compiled by Numba, ``grad(x, *sample, out)``, that writes the
        gradient of one sample to ``out`` (d,): it runs without Python in between (`refsgd.sgd.compiled`).
        Now and then it is called at a second point with the same minibatch.
    x0 : (d,) array
        The first x, float32 or float64; not changed.
    args : sequence of arrays
        Data that share axis 0, dense or CSR; a minibatch is ``batch_size`` of their samples. Without data,
        ``grad(x)`` must use the same samples both times when a step calls it twice: no noise, for example.
    fun : callable, optional
        ``fun(x, *args)``: the loss of the whole data, or per-sample losses to average; called at the start
        and at the end.
    method : {"vsgd", "vsgd-fd", "vsgd-l", "vsgd-g", "vsgd-b"} or rule, default "vsgd"
        A name, or a `VSGD`, `PublishedVSGD` or baseline.
    batch_size : int, default 1
        Samples per minibatch; the last one of an epoch may be smaller.
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
        Criteria of `refsgd.stopping`, called after each step; any of a sequence ends the run.
    resume : mapping, optional
        The ``state`` of an earlier result with the same arguments: continue from there, bit for bit as if
        never interrupted. ``epochs`` and ``max_iter`` count from the very beginning. Of ``x0`` only shape and
        dtype matter; the random state comes from ``resume``.
    random_state : None, int, Generator
        For `numpy.random.default_rng`.
    callback : callable, optional
        Called after each step as ``callback(xk)``, or, if its one parameter has that name, as
        ``callback(intermediate_result=OptimizeResult(...))``, which has ``x``, ``jac`` (the mean gradient of
        the minibatch, before the step), ``nit`` and ``nsamples``. StopIteration ends the run.
    progress : bool, default False
        Show a progress bar, on a terminal.
    backend : str, optional
        ``"c"``, ``"numba"``, ``"numpy"`` or ``"auto"``; by default as `use_backend` says.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``x``, ``fun`` (NaN without ``fun``), ``success``, ``status``, ``message``, ``nit`` (steps), ``njev``
        (gradients of minibatches evaluated, second points included), ``nsamples``, ``rates`` (d,), ``state``
        (plain arrays, for ``np.savez`` and ``resume``), and ``x_avg`` if the rule averages. At a gradient
        that is not finite the run stops with a warning and returns the last good ``x`` with
        ``success=False``; so does Ctrl-C, without a warning. If ``fun`` ends a tenth or more above its start,
        or `Run.trouble` is not empty, status is 4, ``success`` False, and ``message`` says why.

    Raises
    ------
    TypeError, ValueError
        If an argument or a gradient has the wrong type, dtype or shape, or if an argument is missing that the
        method needs, or given that it does not use.

    See Also
    --------
    iterate : the same step by step.
    VSGD : the default rule.
    scipy.optimize.minimize : takes any rule as its ``method``.

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
    rule = resolve_rule(method, weighting)
    check_required_inputs(rule, method, diag_hess=diag_hess, blocks=blocks, groups=groups)
    batches = Minibatches(as_sample_arrays(args), integer("batch_size", batch_size, minimum=1), random_state)
    budget = step_budget(
        count("epochs", epochs), count("max_iter", max_iter), batches, is_endless=stop is not None
    )
    run = rule.start(x0, backend=backend, **sizes(blocks=blocks, groups=groups))
    driver = Driver(run, batches, grad, diag_hess, keeps_gradients=wants_result(callback))
    if resume is not None:
        driver.load_state_dict(resume)
    before = mean_loss(fun, driver)
    should_stop = criterion(stop) if stop is not None else None
    report = make_callback(callback, driver)
    is_watched = stop is not None or callback is not None
    status, why = FINISHED, "the epochs or steps asked for are done"
    total = None if math.isinf(budget) else int(budget)
    with bar(total, "step", show=progress, initial=run.n_steps) as shown, driver.interrupts.handled():
        try:
            while run.n_steps < budget:
                shown.update(driver.step(1 if is_watched else budget - run.n_steps))
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
    value = mean_loss(fun, driver)
    if status in (FINISHED, STOPPED):
        if fun is not None and not math.isfinite(value):
            status, why = NOT_FINITE, f"{why}; fun is {value} at the last x"
        elif value > before + RISE * abs(before):
            status, why = NO_SENSE, f"{why}, but fun rose from {before:.6g} to {value:.6g}"
        elif isinstance(run, Run) and not value < before and run.trouble:  # a loss that fell is no trouble
            status, why = NO_SENSE, f"{why}, but {run.trouble}"
    average = {"x_avg": run.x_avg.copy()} if isinstance(run, Run) and run.rule.average else {}
    return optimize_result(
        x=run.x.copy(),
        fun=value,
        success=status in (FINISHED, STOPPED),
        status=status,
        message=why,
        nit=run.n_steps,
        njev=run.n_gradients,
        nsamples=run.n_samples,
        rates=run.rates,
        state=driver.state_dict(),
        **average,
    )


def iterate(
    grad: Callable[..., Any],
    x0: NDArray[Any],
    args: Sequence[Any] = (),
    *,
    method: MethodName | AnyRule = "vsgd",
    batch_size: int = 1,
    epochs: int | None = None,
    max_iter: int | None = None,
    weighting: Weighting | None = None,
    diag_hess: Callable[..., Any] | None = None,
    blocks: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    random_state: Any = None,
    backend: BackendName | None = None,
) -> Iterator[AnyRun]:
    """`minimize` as an iterator, which yields the run after each step.

    Parameters
    ----------
    grad, x0, args, method, batch_size, epochs, max_iter, weighting, diag_hess, blocks, groups
        As for `minimize`.
    random_state, backend
        As for `minimize`.

    Returns
    -------
    iterator of Run
        The same run each time, with ``x``, ``rates``, ``n_steps`` and so on.

    Raises
    ------
    TypeError, ValueError
        As for `minimize`.
    FloatingPointError
        At a step whose gradient is not finite.

    See Also
    --------
    minimize : runs to the end.

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
    rule = resolve_rule(method, weighting)
    check_required_inputs(rule, method, diag_hess=diag_hess, blocks=blocks, groups=groups)
    batches = Minibatches(as_sample_arrays(args), integer("batch_size", batch_size, minimum=1), random_state)
    budget = step_budget(count("epochs", epochs), count("max_iter", max_iter), batches)
    run = rule.start(x0, backend=backend, **sizes(blocks=blocks, groups=groups))
    driver = Driver(run, batches, grad, diag_hess)

    def steps() -> Iterator[AnyRun]:
        while run.n_steps < budget:
            driver.step(1)
            yield run

    return steps()


def mean_loss(fun: Callable[..., Any] | None, driver: Driver) -> float:
    """The loss of the whole data at the run's x; NaN without ``fun``."""
    return math.nan if fun is None else float(np.mean(fun(driver.run.x, *driver.batches.arrays)))


def resolve_rule(method: MethodName | AnyRule, weighting: Weighting | None) -> AnyRule:
    """The rule of a name, or the rule itself."""
    if isinstance(method, str) or not hasattr(method, "start") or isinstance(method, type):
        rule = RULES[choice("method", method, RULES)]
        return rule if weighting is None else replace(rule, weighting=weighting)
    if weighting is not None:
        remedy = f"pass method=refsgd.VSGD(weighting={weighting!r})"
        raise ValueError(message("weighting", "be None where method is a rule", repr(weighting), remedy))
    return method


def check_required_inputs(rule: AnyRule, method: Any, **given: Any) -> None:
    """Refuse a missing argument that the rule requires, and one that it does not use."""
    for name, value in given.items():
        if value is None and name in rule.requires:
            remedy = "pass it, or use method='vsgd'"
            raise ValueError(message(name, f"be given with method={method!r}", None, remedy))
        is_used = name in rule.requires or (name == "groups" and isinstance(rule, VSGD))
        if value is not None and not is_used:
            remedy = f"leave it out, or choose a method that uses {name}"
            raise ValueError(message(name, f"be None with method={method!r}", "one", remedy))


def sizes(**given: Sequence[int] | None) -> dict[str, Any]:
    """The sizes of blocks or groups, where they are given."""
    return {name: value for name, value in given.items() if value is not None}


def count(name: str, value: int | None) -> int | None:
    """A number of epochs or steps, or None."""
    return None if value is None else integer(name, value, minimum=1)


def as_sample_arrays(args: Sequence[Any]) -> list[Any]:
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
    """Whether a callback takes SciPy's ``intermediate_result``."""
    return callback is not None and "intermediate_result" in inspect.signature(callback).parameters


def make_callback(callback: Callable[..., Any] | None, driver: Driver) -> Callable[[], None]:
    """A function without arguments that calls a callback in SciPy's form."""
    run = driver.run
    if callback is None:
        return lambda: None
    if wants_result(callback):
        return lambda: callback(
            intermediate_result=optimize_result(
                x=run.x.copy(), jac=driver.mean_grad, nit=run.n_steps, nsamples=run.n_samples
            )
        )
    return lambda: callback(run.x.copy())


def optimize_result(**fields: Any) -> OptimizeResult:
    from scipy.optimize import OptimizeResult

    filled = OptimizeResult()
    filled.update(fields)
    return filled
