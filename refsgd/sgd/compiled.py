"""Gradients of one sample that Numba has compiled, and the loop of a run around them, without Python.

``grad(x, *sample, out)`` writes the gradient (d,) at ``x`` of one sample, one entry or row of each array, to
``out``. The loop calls the kernels of `refsgd.kernels.jitted`, whose bits are those of every backend, and is
compiled once for each kind of data; a new gradient only compiles itself.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic, overload, register_jitable
from numpy.typing import NDArray

from .._errors import message
from ..kernels import jitted
from ..kernels.contract import BLOCK, DEFAULT, FAITHFUL_FD, LANES
from . import curvature
from .aligned import aligned_zeros
from .averages import N_START
from .run import Run
from .sampler import Minibatches

Array = NDArray[Any]

#: Seconds without Python at most, about: how long Ctrl-C and the progress bar wait.
PAUSE = 0.05

#: Shape of the loop's work. Rows: the six of a state; the probe point; mean and mean square of the gradient;
#: its mean at the probe; two of what is summed up; three of lanes. They are as far apart as the longest is
#: long and a few cache lines, so that they do not alias.
N_ROWS, WIDTH = 15, BLOCK + 2 * LANES

#: What a user may have asked of the compiler, and gets here too.
OPTIONS = ("boundscheck", "error_model", "fastmath")

follow = numba.njit(cache=True, error_model="numpy")(curvature.follow)


def is_for_one_sample(grad: Any, n_arrays: int) -> bool:
    """Whether ``grad`` is a Numba function of x, a sample and ``out``: a plain one has no ``out``."""
    return isinstance(grad, Dispatcher) and len(inspect.signature(grad.py_func).parameters) == n_arrays + 2


class SampleGradient:
    """A compiled gradient of one sample, for data of certain dtypes and numbers of axes.

    Raises
    ------
    TypeError
        If the data are no dense arrays, or the gradient does not compile for them.
    """

    def __init__(self, grad: Any, x: Array, arrays: Sequence[Any]) -> None:
        if not all(isinstance(array, np.ndarray) for array in arrays):
            kinds = ", ".join(type(array).__name__ for array in arrays)
            remedy = "pass np.asarray(...) of each, or a plain grad(x, *batch)"
            raise TypeError(message("args", "be NumPy arrays for a compiled grad", kinds, remedy))
        vector = numba.typeof(x)
        sample = [sample_type(array) for array in arrays]
        signature = types.void(vector, *sample, vector)
        try:
            options = {name: grad.targetoptions[name] for name in OPTIONS if name in grad.targetoptions}
            self.call = numba.cfunc(signature, **options)(grad.py_func)
        except numba.core.errors.NumbaError as error:
            got = f"a function that Numba refuses ({str(error).strip().splitlines()[0]})"
            must = f"be compiled for {signature}"
            raise TypeError(message("grad", must, got, "write to out[...] and return nothing")) from error

    def rows(self, x: Array, *batch: Array) -> Array:
        """Per-sample gradients (n, d) of a minibatch."""
        n = len(batch[0]) if batch else 1
        rows = np.empty((n, x.size), x.dtype)
        fill(self.call, x, tuple(map(np.ascontiguousarray, batch)), np.arange(n), rows)
        return rows

    def leap_of(self, run: Any) -> Callable[[Minibatches, float], int] | None:
        """What does several steps of ``run`` at once; None where a step is more than this loop knows.

        It is for the online and minibatch vSGD-fd of up to `BLOCK` parameters. Beyond, a step takes longer
        than Python does around it.
        """
        rule = run.rule
        is_simple = isinstance(run, Run) and (rule.curvature, rule.sharing, rule.weighting) == (
            "fd",
            "element",
            "dense",
        )
        return Leap(self.call, run) if is_simple and run.x.size <= BLOCK else None


class Leap:
    """The loop and the memory that it works in."""

    def __init__(self, call: Any, run: Run) -> None:
        self._call, self._run = call, run
        self._arrays: tuple[Array, ...] | None = None
        self._pace = 1

    def __call__(self, batches: Minibatches, most: float) -> int:
        """Do at most so many steps, all within one epoch; return how many. 0: let Python do one.

        That is for the start, for a gradient that is not finite, and for per-sample curvature.
        """
        run, n = self._run, batches.batch_size
        is_per_sample = run.rule.faithful and n > 1
        if run.n_steps < N_START or run.step_scale.scale == 0 or is_per_sample:
            return 0
        if self._arrays is None:
            self._arrays = tuple(map(np.ascontiguousarray, batches.arrays))
            self._rows = np.empty((n, run.x.size), run.x.dtype)
            self._work = aligned_zeros((N_ROWS, WIDTH), run.x.dtype)
        steps = int(min(self._pace, most))
        if batches.arrays:
            steps = min(steps, batches.steps_an_epoch - run.n_steps % batches.steps_an_epoch)
            rows = batches.rows(run.n_steps, steps)
        else:
            rows = np.zeros(steps * n, np.int64)
        began = time.perf_counter()
        limits = run.rule.limits(1)
        largest_scale = run.step_scale._replace(scale=np.inf).bounded(run.x.dtype).scale
        done, samples, latest, scale, lipschitz = loop(
            self._call, run._buffer, self._rows, self._work, self._arrays, rows, *limits,
            run.step_scale.scale, run.step_scale.lipschitz, largest_scale, run.rule.faithful,
        )  # fmt: skip
        if done:
            run.n_steps += done
            run.n_samples += samples
            run.batch_size = latest
            run.step_scale = run.step_scale._replace(scale=scale, lipschitz=lipschitz)
            is_slow = time.perf_counter() - began > PAUSE
            self._pace = max(1, self._pace // 2) if is_slow else 2 * self._pace
        return done


def sample_type(array: Array) -> Any:
    """The type of one entry of axis 0."""
    dtype = numba.from_dtype(array.dtype)
    return dtype if array.ndim == 1 else types.Array(dtype, array.ndim - 1, "C")


jit = numba.njit(cache=True, error_model="numpy", nogil=True)


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    """An address as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.uintp), generate


@register_jitable
def borrow(array: Array) -> Array:
    """The same memory without a count of its owners, which costs more than a short step."""
    return numba.carray(pointer(array.ctypes.data), array.shape, array.dtype)  # type: ignore[call-arg]


def borrow_each(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(map(borrow, arrays))


def row_of(arrays: tuple[Array, ...], i: int) -> tuple[Any, ...]:
    return tuple(array[i] for array in arrays)


# Numba has no loop over arrays of several types: these recur.
@overload(borrow_each)
def _borrow_each(arrays):  # type: ignore[no-untyped-def]
    if len(arrays) == 0:
        return lambda arrays: ()
    return lambda arrays: (borrow(arrays[0]), *borrow_each(arrays[1:]))


@overload(row_of)
def _row_of(arrays, i):  # type: ignore[no-untyped-def]
    if len(arrays) == 0:
        return lambda arrays, i: ()
    return lambda arrays, i: (arrays[0][i], *row_of(arrays[1:], i))


@jit
def fill(grad: Any, x: Array, arrays: tuple[Array, ...], rows: Array, out: Array) -> None:
    """Gradients of the samples ``rows`` as the rows of ``out``."""
    for j in range(rows.size):
        grad(x, *row_of(arrays, rows[j]), out[j])


@register_jitable
def far_rows(work: Array) -> Array:
    """The work of `Leap` as an array of which the compiler knows how far apart rows are.

    So it sees that they do not overlap, and takes vectors of parameters without asking in each step.
    """
    return numba.carray(pointer(work.ctypes.data), (N_ROWS, WIDTH), work.dtype)  # type: ignore[call-arg]


@register_jitable
def whole(d: int) -> int:
    """As many parameters as fill whole vectors. Those beyond d are zeros, of which a step makes zeros."""
    return -(-d // LANES) * LANES


@register_jitable
def copy(source: Array, target: Array, d: int) -> None:
    """Copy x and its averages, which are the first rows of both."""
    for row in range(6):
        for i in range(d):
            target[row, i] = source[row, i]


@jitted.inline
def are_finite(one: Array, other: Array) -> bool:
    """Whether the squares of all values add up to something finite."""
    total = one.dtype.type(0)
    for i in range(one.size):
        total += one[i] * one[i] + other[i] * other[i]
    return total - total == 0


@jit
def loop(  # type: ignore[no-untyped-def]
    grad, state, samples, work, arrays, rows, limit_g, limit_h, scale, lipschitz, largest_scale, faithful
):
    """Steps on the samples ``rows``, as many a step as ``samples`` (n, d) has rows: what `Run.tell` does.

    Returns the steps and samples done, the size of the latest minibatch, and the new step scale. It ends
    early, before the step, where a gradient is not finite.
    """
    return borrowed_loop(
        grad, borrow(state), borrow(samples), borrow(work), borrow_each(arrays), borrow(rows),
        limit_g, limit_h, scale, lipschitz, largest_scale, faithful,
    )  # fmt: skip


@jit
def borrowed_loop(  # type: ignore[no-untyped-def]
    grad, state, samples, work, arrays, rows, limit_g, limit_h, scale, lipschitz, largest_scale, faithful
):
    real, (n, d) = state.dtype.type, samples.shape
    work = far_rows(work)
    x, whole_point, point = work[0, :d], work[6, : whole(d)], work[6, :d]
    mean, mean_sq, probe_mean = work[7, :d], work[8, :d], work[9, :d]
    work[5, : whole(d)] = 1  # no memory is 0
    copy(state, work, d)
    done, total, latest = 0, 0, 0
    for begin in range(0, rows.size, n):
        batch = rows[begin : begin + n]
        m = batch.size
        jitted.probe(work, scale, whole_point)
        if m == 1:
            sample = row_of(arrays, batch[0])
            grad(x, *sample, mean)
            grad(point, *sample, probe_mean)
        else:
            fill(grad, x, arrays, batch, samples)
            jitted.moments(samples[:m], mean, mean_sq)
            fill(grad, point, arrays, batch, samples)
            jitted.moments(samples[:m], probe_mean, None)
        if not are_finite(mean, probe_mean):
            break
        limit = real(limit_g if faithful else limit_g / m)
        delta2, diff2, tau = step_fd(work, d, m, limit, real(limit_h), real(scale), faithful)
        done, total, latest = done + 1, total + m, m
        if not faithful:
            distance, difference = np.sqrt(delta2), np.sqrt(diff2)
            slope = difference / distance if distance > 0 else 0.0
            scale, lipschitz = follow(scale, lipschitz, slope, distance, tau / d)
            scale = min(scale, largest_scale)
    copy(work, state, d)
    return done, total, latest, scale, lipschitz


@jit
def step_fd(work, d, n, limit_g, limit_h, scale, faithful):  # type: ignore[no-untyped-def]
    """`StepFD` of the contract, on the rows of the work; returns the sums. Scalars have its dtype."""
    work, size = far_rows(work), whole(d)
    x, g_avg, g2_avg, h_avg, h2_avg, tau, mean, mean_sq, probe_mean, delta2, diff2 = (
        work[0, :size], work[1, :size], work[2, :size], work[3, :size], work[4, :size], work[5, :size],
        work[7, :size], work[8, :size], work[9, :size], work[10, :size], work[11, :size],
    )  # fmt: skip
    if n == 1:
        for i in range(size):
            mean_sq[i] = mean[i] * mean[i]
    jitted.update_fd(
        x, g_avg, g2_avg, h_avg, h2_avg, tau, mean, mean_sq, probe_mean, work.dtype.type(n),
        limit_g, limit_h, scale, FAITHFUL_FD if faithful else DEFAULT, delta2, diff2,
    )  # fmt: skip
    return jitted.block_sums(delta2[:d], diff2[:d], tau[:d], work[12:15, :LANES])
