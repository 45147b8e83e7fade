"""The functional door: minibatches from arrays, a rule, a result as SciPy gives it."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._errors import NumericalWarning, message
from .._validation import choice, integer
from ..progress import bar
from .moments import share_memory
from .run import Run
from .vsgd import PRESETS, VSGD

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

#: status -> success
FINISHED, STOPPED, NOT_FINITE, INTERRUPTED = 0, 1, 2, 3


def minimize(
    grad: Callable[..., Any],
    x0: NDArray[Any],
    args: Sequence[Any] = (),
    *,
    fun: Callable[..., Any] | None = None,
    method: str | VSGD = "vsgd-fd",
    batch_size: int = 1,
    epochs: int | None = None,
    max_iter: int | None = None,
    random_state: Any = None,
    callback: Callable[..., Any] | None = None,
    progress: bool = False,
    backend: str | None = None,
) -> OptimizeResult:
    """Minimise a mean over samples by stochastic gradient descent, with no learning rate to set.

    Parameters
    ----------
    grad : callable
        ``grad(x, *batch)`` with ``x`` (d,): per-sample gradients (n, d), or `Moments`, or a tuple of its
        fields such as the ``moments`` methods of `refsgd.models` return.
    x0 : (d,) array
        Where to start, float32 or float64; not changed.
    args : sequence of arrays
        Data that share axis 0; each minibatch is ``batch_size`` of their rows. Without any, ``grad(x)`` is
        called twice a step and must use the same samples both times.
    fun : callable, optional
        ``fun(x, *args)``: the loss of the whole data, or per-sample losses, whose mean is taken; evaluated
        once, at the end.
    method : str or VSGD, default "vsgd-fd"
        The rule.
    batch_size : int, default 1
        Rows a minibatch; the last one of an epoch may be smaller.
    epochs : int, optional
        Passes over the data, each in a new random order. 1 if ``max_iter`` is not given either.
    max_iter : int, optional
        Largest number of steps.
    random_state : None, int, Generator
        For `numpy.random.default_rng`.
    callback : callable, optional
        Called after each step as ``callback(xk)``, or, if its one parameter has that name, as
        ``callback(intermediate_result=OptimizeResult(...))``. StopIteration ends the run.
    progress : bool, default False
        Show a progress bar, on a terminal.
    backend : str, optional
        ``"c"``, ``"numba"``, ``"numpy"`` or ``"auto"``.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``x``, ``fun`` (NaN without ``fun``), ``success``, ``status``, ``message``, ``nit`` (steps), ``njev``
        (evaluations of ``grad``), ``nsamples``, ``rates`` (d,), ``state`` (a `Run.state_dict`). Where a
        gradient is not finite the run warns, and returns the last good ``x`` with ``success=False``; so does
        Ctrl-C, without a warning.

    Raises
    ------
    TypeError, ValueError
        If an argument or a gradient has the wrong type, dtype or shape.

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
    run, arrays, batches, total = prepare(
        grad, x0, args, method, batch_size, epochs, max_iter, random_state, backend
    )
    report = reporter(callback, run)
    njev = 0

    def counted(*args: Any) -> Any:
        nonlocal njev
        njev += 1
        return grad(*args)

    status, why = FINISHED, "the epochs or steps asked for are done"
    with bar(total, "step", show=progress) as shown:
        try:
            for batch in batches:
                run.tell(evaluate(counted, run.ask(), batch))
                shown.update()
                try:
                    report()
                except StopIteration:
                    status, why = STOPPED, "the callback stopped the run"
                    break
        except KeyboardInterrupt:
            status, why = INTERRUPTED, "interrupted; x is the last one reached"
        except FloatingPointError as error:
            status, why = NOT_FINITE, str(error)
            warnings.warn(why, NumericalWarning, stacklevel=2)
    return result(
        x=run.x.copy(),
        fun=math.nan if fun is None else float(np.mean(fun(run.x, *arrays))),
        success=status in (FINISHED, STOPPED),
        status=status,
        message=why,
        nit=run.n_steps,
        njev=njev,
        nsamples=run.n_samples,
        rates=run.rates,
        state=run.state_dict(),
    )


def iterate(
    grad: Callable[..., Any],
    x0: NDArray[Any],
    args: Sequence[Any] = (),
    *,
    method: str | VSGD = "vsgd-fd",
    batch_size: int = 1,
    epochs: int | None = None,
    max_iter: int | None = None,
    random_state: Any = None,
    backend: str | None = None,
) -> Iterator[Run]:
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
    run, _, batches, _ = prepare(grad, x0, args, method, batch_size, epochs, max_iter, random_state, backend)

    def steps() -> Iterator[Run]:
        for batch in batches:
            run.tell(evaluate(grad, run.ask(), batch))
            yield run

    return steps()


def prepare(
    grad: Callable[..., Any],
    x0: NDArray[Any],
    args: Sequence[Any],
    method: str | VSGD,
    batch_size: int,
    epochs: int | None,
    max_iter: int | None,
    random_state: Any,
    backend: str | None,
) -> tuple[Run, list[Any], Iterator[list[Any]], int]:
    """Checked arguments as a run, the arrays, their minibatches, and how many of these there will be."""
    rule = method if isinstance(method, VSGD) else PRESETS[choice("method", method, PRESETS)]
    batch_size = integer("batch_size", batch_size, minimum=1)
    epochs = None if epochs is None else integer("epochs", epochs, minimum=1)
    max_iter = None if max_iter is None else integer("max_iter", max_iter, minimum=1)
    if not callable(grad):
        raise TypeError(message("grad", "be callable", repr(grad), "pass a function grad(x, *batch)"))
    arrays, n_rows = data(args)
    if not arrays and epochs is not None:
        raise ValueError(message("epochs", "be None where args is empty", epochs, "pass max_iter"))
    if not arrays and max_iter is None:
        raise ValueError(
            message(
                "max_iter", "be given where args is empty", None, "pass max_iter=1000 or so, or data in args"
            )
        )
    if epochs is None and max_iter is None:
        epochs = 1
    run = rule.start(x0, backend=backend)
    steps_an_epoch = math.ceil(n_rows / batch_size)
    total = min(s for s in (max_iter, epochs and epochs * steps_an_epoch) if s is not None)
    rng = np.random.default_rng(random_state)
    return run, arrays, itertools.islice(minibatches(arrays, n_rows, batch_size, rng), total), total


def evaluate(grad: Callable[..., Any], points: Sequence[NDArray[Any]], batch: Sequence[Any]) -> list[Any]:
    """Gradients at all points, none of them overwritten by a later call."""
    gradients = [grad(point, *batch) for point in points]
    if share_memory(gradients):  # grad writes to the same array each time
        gradients[1] = copy.deepcopy(gradients[1])
        gradients[0] = grad(points[0], *batch)
    return gradients


def data(args: Sequence[Any]) -> tuple[list[Any], int]:
    """The arrays of ``args``, and the length of the axis 0 that they must share."""
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
    return arrays, (lengths[0] or 0) if lengths else 0


def minibatches(
    arrays: Sequence[Any], n_rows: int, batch_size: int, rng: np.random.Generator
) -> Iterator[list[Any]]:
    """Endless minibatches of rows, each epoch in a new order. Empty lists where there are no arrays."""
    while not arrays:
        yield []
    while True:
        order = rng.permutation(n_rows)
        for begin in range(0, n_rows, batch_size):
            rows = order[begin : begin + batch_size]
            yield [array[rows] for array in arrays]


def reporter(callback: Callable[..., Any] | None, run: Run) -> Callable[[], None]:
    """What to call after each step, in the form of SciPy's callbacks."""
    if callback is None:
        return lambda: None
    if "intermediate_result" in inspect.signature(callback).parameters:
        return lambda: callback(
            intermediate_result=result(x=run.x.copy(), nit=run.n_steps, nsamples=run.n_samples)
        )
    return lambda: callback(run.x.copy())


def result(**fields: Any) -> OptimizeResult:
    from scipy.optimize import OptimizeResult

    filled = OptimizeResult()
    filled.update(fields)
    return filled
