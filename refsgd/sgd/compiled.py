"""Gradients of one sample that Numba has compiled, and the loop of a run around them, without Python.

``grad(x, *sample, out)`` writes the gradient (d,) at ``x`` of one sample, one entry or row of each array, to
``out``. The loop is that of `refsgd.Run.tell` after the start, with the functions of `refsgd.sgd.length` and
`refsgd.kernels.dense_numba`, whose bits are those of every backend. It is compiled once per kind of data; a
new gradient only compiles itself.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic, overload, register_jitable
from numpy.typing import NDArray

from .._errors import message
from .._memory import aligned_zeros
from .._numba import inline, jit
from ..kernels import dense_numba, samples_numba
from ..kernels.contract import BLOCK, LANES, LIMIT, WIDEN
from ..kernels.dense_numpy import guarded
from . import length
from .run import Run, average_weight
from .sampler import Minibatches

Array = NDArray[Any]

#: Seconds that a call of the loop should take at most: so long Ctrl-C and the progress bar wait.
SECONDS_PER_CALL = 0.05

#: Shape of the loop's work. Rows: x, m, v, tau and the average of x; the second point; the mean gradient at x
#: and there; four rows of what is summed up; lanes. They are as far apart as the longest is long and a few
#: cache lines, so that they do not alias.
N_ROWS, WIDTH = 13, BLOCK + 2 * LANES

#: Options of the user's `numba.njit` that hold here too.
OPTIONS = ("boundscheck", "error_model", "fastmath")

curvature, weight = jit(length.curvature), jit(length.weight)
followed, landed, capped = jit(length.followed), jit(length.landed), jit(length.capped)
guard, weight_of_x = jit(guarded), jit(average_weight)
LONGEST = length.LONGEST


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

    def loop_for(self, run: Any) -> CompiledLoop | None:
        """A loop that does several steps of ``run`` at once; None if the loop does not know its rule.

        It knows the default rule with dense weighting and up to `BLOCK` parameters. For more, the Python
        overhead no longer matters.
        """
        is_dense = isinstance(run, Run) and run.rule.weighting == "dense"
        return CompiledLoop(self.call, run) if is_dense and run.x.size <= BLOCK else None


class CompiledLoop:
    """The loop and its working memory."""

    def __init__(self, call: Any, run: Run) -> None:
        self._call, self._run = call, run
        self._arrays: tuple[Array, ...] | None = None
        self._steps_per_call = 1

    def __call__(self, batches: Minibatches, max_steps: float) -> int:
        """Do up to ``max_steps`` steps within one epoch; return how many; 0 if Python must do the next.

        Python does the start, parameters that begin late, and gradients that are not finite.
        """
        run, n = self._run, batches.batch_size
        if not run.is_whole or run.counters.start_left or run.is_open:
            return 0
        if self._arrays is None:
            self._arrays = tuple(map(np.ascontiguousarray, batches.arrays))
            self._rows = np.empty((n, run.x.size), run.x.dtype)
            self._work = aligned_zeros((N_ROWS, WIDTH), run.x.dtype)
        steps = int(min(self._steps_per_call, max_steps))
        if batches.arrays:
            steps = min(steps, batches.steps_per_epoch - run.n_steps % batches.steps_per_epoch)
            rows = batches.sample_indices(run.n_steps, steps)
        else:
            rows = np.zeros(steps * n, np.int64)
        began = time.perf_counter()
        done, *after = loop(
            self._call, run.buffer, self._rows, self._work, self._arrays, rows,
            (run.unit, LONGEST * run.scale, run.step_length, *run.sums), tuple(run.counters),
        )  # fmt: skip
        if done:
            run.after_steps(*after)
            is_slow = time.perf_counter() - began > SECONDS_PER_CALL
            self._steps_per_call = max(1, self._steps_per_call // 2) if is_slow else 2 * self._steps_per_call
        return int(done)


def sample_type(array: Array) -> Any:
    """The type of one entry of axis 0."""
    dtype = numba.from_dtype(array.dtype)
    return dtype if array.ndim == 1 else types.Array(dtype, array.ndim - 1, "C")


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    """An address as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.uintp), generate


@register_jitable
def unowned_view(array: Array) -> Array:
    """The same memory without reference counting, which costs more than a short step."""
    return numba.carray(pointer(array.ctypes.data), array.shape, array.dtype)  # type: ignore[attr-defined,call-arg]


def unowned_views(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(map(unowned_view, arrays))


def row_of(arrays: tuple[Array, ...], i: int) -> tuple[Any, ...]:
    return tuple(array[i] for array in arrays)


# Numba has no loop over arrays of several types: these recur.
@overload(unowned_views)
def _unowned_views(arrays):  # type: ignore[no-untyped-def]
    if len(arrays) == 0:
        return lambda arrays: ()
    return lambda arrays: (unowned_view(arrays[0]), *unowned_views(arrays[1:]))


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
def strided_view(work: Array) -> Array:
    """The work of `CompiledLoop` as an array whose shape the compiler knows.

    So the compiler sees that rows do not overlap, and vectorises without checks in each step.
    """
    return numba.carray(pointer(work.ctypes.data), (N_ROWS, WIDTH), work.dtype)  # type: ignore[attr-defined,call-arg]


@register_jitable
def padded_size(d: int) -> int:
    """``d`` rounded up to whole vectors. The entries beyond d are zeros, and a step keeps them zeros."""
    return -(-d // LANES) * LANES


@register_jitable
def copy_rows(source: Array, target: Array, n_rows: int, d: int) -> None:
    """Copy x and its averages, which are the first rows of both."""
    for row in range(n_rows):
        for i in range(d):
            target[row, i] = source[row, i]


@inline
def block_sum(values: Array, lanes: Array) -> float:
    """The sum of at most a block, in the order that the contract lays down.

    As few values as there are lanes are lanes themselves.
    """
    total = 0.0
    if values.size > LANES:
        total += dense_numba.lanes_sum(values, lanes)
    else:
        for i in range(values.size):
            total += values[i]
    return total


@jit
def loop(grad, state, samples, work, arrays, rows, lengths, counters):  # type: ignore[no-untyped-def]
    """The steps of `Run.tell` on the samples ``rows``, as many per step as ``samples`` (n, d) has rows.

    ``lengths``: the unit, the longest step, the step length, the sums of g2_avg and of tau.
    Returns the number of steps done and what `Run.after_steps` takes. It ends early, before the step, where a
    gradient is not finite.
    """
    return unowned_loop(
        grad, unowned_view(state), unowned_view(samples), unowned_view(work), unowned_views(arrays),
        unowned_view(rows), lengths, counters,
    )  # fmt: skip


@jit
def unowned_loop(grad, state, samples, work, arrays, rows, lengths, counters):  # type: ignore[no-untyped-def]
    unit, limit, s, g2_sum, tau_sum = lengths
    n_steps, n_samples, n_gradients, batch_size, _, since_probe, since_landing, n_moves = counters
    (n, d), n_rows = samples.shape, state.shape[0]
    work = strided_view(work)
    x, point, mean, other = work[0, :d], work[5, :d], work[6, :d], work[7, :d]
    work[3, : padded_size(d)] = 1  # no memory is 0
    copy_rows(state, work, n_rows, d)
    done = 0
    for begin in range(0, rows.size, n):
        batch = rows[begin : begin + n]
        evaluate(grad, x, arrays, batch, samples, mean)
        energy = energy_of(work, 6, d, unit)
        if energy - energy != 0:
            break
        root = np.sqrt(tau_sum / d)
        is_probe = since_probe + 1 >= root
        is_landing = not is_probe and since_landing + 1 >= root
        if is_probe or is_landing:
            if is_probe:
                probe(work, d, s.length)
            else:
                land(work, d, unit, s.length)
            evaluate(grad, point, arrays, batch, samples, other)
            there = energy_of(work, 7, d, unit)
            if there - there != 0:
                break
            since = since_probe if is_probe else since_landing
            s = after_second(s, secant(work, d, unit), is_probe, tau_sum / d, since + 1, limit)
        s = capped(s)
        step(work, d, guard(unit, energy, g2_sum), s.length, weight_of_x(n_moves), n_rows > 4)
        g2_sum, tau_sum = block_sum(work[2, :d], work[12, :LANES]), block_sum(work[3, :d], work[12, :LANES])
        done, n_moves, batch_size = done + 1, n_moves + 1, batch.size
        n_samples += batch.size
        n_gradients += 2 if is_probe or is_landing else 1
        since_probe = 0 if is_probe else since_probe + 1
        since_landing = 0 if is_landing else since_landing + 1
    copy_rows(work, state, n_rows, d)
    after = n_steps + done, n_samples, n_gradients, batch_size, 0, since_probe, since_landing, n_moves
    return done, s, (g2_sum, tau_sum), after


@jit
def evaluate(grad, x, arrays, batch, samples, mean):  # type: ignore[no-untyped-def]
    """The mean gradient at x of the samples ``batch``."""
    if batch.size == 1:
        grad(x, *row_of(arrays, batch[0]), mean)
    else:
        fill(grad, x, arrays, batch, samples)
        samples_numba.moments(samples[: batch.size], mean, None)


@inline
def energy_of(work, row, d, unit):  # type: ignore[no-untyped-def]
    """`Check` of the contract, of one row of the work."""
    work, factor = strided_view(work), work.dtype.type(unit)
    for i in range(padded_size(d)):
        g = factor * work[row, i]
        work[8, i] = g * g
    return block_sum(work[8, :d], work[12, :LANES])


@inline
def probe(work, d, size):  # type: ignore[no-untyped-def]
    real, work = work.dtype.type, strided_view(work)
    reach, eps, one = real(size), real(WIDEN * np.finfo(work.dtype).eps), real(1)
    for i in range(d):
        work[5, i] = dense_numba.probe_point(work[0, i], work[1, i], work[2, i], reach, eps, one)


@inline
def land(work, d, unit, size):  # type: ignore[no-untyped-def]
    real, work = work.dtype.type, strided_view(work)
    factor, reach, most, zero, one = real(unit), real(size), real(LIMIT), real(0), real(1)
    for i in range(d):
        g = factor * work[6, i]
        work[5, i], _ = dense_numba.moved(work[0, i], work[1, i], work[2, i], g, reach, most, zero, one)


@inline
def secant(work, d, unit):  # type: ignore[no-untyped-def]
    real, work = work.dtype.type, strided_view(work)
    factor, zero, one, lanes = real(unit), real(0), real(1), work[12, :LANES]
    for i in range(d):
        g, other = factor * work[6, i], factor * work[7, i]
        work[8, i], work[9, i], work[10, i], work[11, i] = dense_numba.secant_terms(
            work[0, i], work[2, i], work[5, i], g, other, zero, one
        )
    a, b = block_sum(work[8, :d], lanes), block_sum(work[9, :d], lanes)
    return a, b, block_sum(work[10, :d], lanes), block_sum(work[11, :d], lanes)


@jit
def after_second(s, sums, is_probe, memory, n_steps, limit):  # type: ignore[no-untyped-def]
    """`Run._followed` after the start."""
    d2_metric, along, change2, descent = sums
    total = d2_metric + along + change2 + descent
    if total - total != 0:
        return s
    share = weight(memory, n_steps)
    if is_probe:
        return followed(s, curvature(d2_metric, along), share, limit)
    return landed(s, descent, along, share)


@inline
def step(work, d, factor, size, share, has_average):  # type: ignore[no-untyped-def]
    """`Step` of the contract, on the rows of the work."""
    real, work, whole = work.dtype.type, strided_view(work), padded_size(d)
    x, m, v, tau, mean = work[0, :whole], work[1, :whole], work[2, :whole], work[3, :whole], work[6, :whole]
    dense_numba.update(x, m, v, tau, mean, real(factor), real(size))
    if has_average:
        keep = real(share)
        for i in range(whole):
            work[4, i] += keep * (work[0, i] - work[4, i])
