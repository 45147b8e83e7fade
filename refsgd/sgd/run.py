"""A run of the default rule that its user drives with ask and tell, one point at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import IntEnum
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _checkpoint, kernels
from .._config import BackendName, backend_name
from .._errors import message
from .._validation import integer
from ..kernels.contract import GUARD, LIMIT, N_START, OVERESTIMATE, n_blocks
from ..kernels.dense_numpy import guarded
from . import length, orthogonal
from .length import StepLength
from .moments import has_samples, mean_gradient, not_finite, sample_gradients
from .rule import Rule
from .state import State, allocate, described, start_point

CHECKPOINT_VERSION = 3

#: Newcomers cause a new start if there are at least this many per parameter that has begun.
NEWCOMERS = 0.01

#: If a gradient of the start is too large for the unit, a new unit brings it to this power of 2: the averages
#: so far fit below it, sums of squares above.
TOP_EXPONENT = {"float32": 45, "float64": 480}

#: The run is in trouble once the mean square gradient has grown by this factor since the start.
GROWN = 1e12

Array = NDArray[Any]

NONE: Array = np.empty(0, np.int64)


class Second(IntEnum):
    """Why a second gradient of a minibatch is due."""

    NONE, START, PROBE, LANDING = range(4)


class Minibatch(NamedTuple):
    """The validated arguments of `Run.tell`.

    ``grad`` is the mean gradient. Sparse weighting keeps the columns where it is not 0; orthogonal weighting
    weighs the samples.
    """

    n_samples: int
    grad: Array
    columns: Array = NONE
    weights: Array = NONE


class Counters(NamedTuple):
    """What a run counts. The steps since the last probe and the last landing say when the next is due."""

    n_steps: int = 0
    n_samples: int = 0
    n_gradients: int = 0
    batch_size: int = 1
    start_left: int = 0  # minibatches left of the start
    since_probe: int = 0
    since_landing: int = 0
    n_moves: int = 0


class Run:
    """A run of `VSGD`, driven by its user: ``run.tell(grad(run.ask(), *batch))``.

    `ask` gives the point where the run wants a gradient, at first x. `tell` takes the gradient of a minibatch
    there: the mean (d,), per-sample gradients (n, d), dense or CSR, or `Moments`, or a plain tuple of the
    fields of Moments. Then it takes a step. Now and then it keeps the minibatch open instead (`is_open`),
    because it needs the gradient of the *same* samples at a second point: `ask` gives that point, and the
    next `tell` completes the step. The first 10 minibatches only fill the averages; x stays.

    Parameters
    ----------
    rule : VSGD
        The options. `VSGD.start` makes a run.
    x0 : (d,) array
        The first x, float32 or float64; the run copies it.
    groups : sequence of int, optional
        Sizes of groups of neighbouring parameters that begin together, in order.
    backend : {"auto", "c", "numba", "numpy"}, optional
        The kernels; by default as `refsgd.use_backend` says.

    Attributes
    ----------
    state : State
        Parameters and averages, views of the memory that a step changes. Their gradients are multiplied by
        ``unit``.
    unit : float
        A power of 2 that brings the first gradient to 1, or a far larger one into range; 0 while every
        gradient has been 0. So no loss is too large or too small, and a loss times 2**k gives the same bits.

    See Also
    --------
    VSGD : the rule; its ``start`` makes a run.
    minimize : drives a run to its end.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> run = refsgd.VSGD().start(np.array([3.0, -4.0]))
    >>> for _ in range(100):
    ...     run.tell(run.ask().copy())  # the gradient of |x|**2 / 2
    ...     if run.is_open:
    ...         run.tell(run.ask().copy())
    >>> run
    <Run of VSGD(weighting='dense', average=False): d=2, float64, n_steps=100, length=...>
    >>> bool(np.abs(run.x).max() < 0.01)
    True
    """

    def __init__(
        self,
        rule: Rule,
        x0: Array,
        *,
        groups: Sequence[int] | None = None,
        backend: BackendName | None = None,
    ) -> None:
        x0 = start_point(x0)
        d, dtype = x0.size, x0.dtype
        self.rule = rule
        self._backend = kernels.resolve(backend_name(backend))
        self.kernels = kernels.load(self._backend)
        self._lengths = group_lengths(groups, d)
        self._ends = np.cumsum(self._lengths).tolist()
        self._seen = np.zeros(self._lengths.size, np.int64)  # minibatches since a group began, up to N_START
        self.buffer = allocate(5 if rule.average else 4, d, dtype)
        self.state = State(*self.buffer[:4, :d])
        self.buffer[0, :d] = x0
        if rule.average:
            self.buffer[4, :d] = x0
        self.counters = Counters()
        self.step_length = StepLength()
        self.unit = 0.0
        self.scale = max(1.0, float(np.abs(x0).max()))
        self._g2_first = 0.0  # sum of mean squares at the end of the start
        self._start_energies = np.zeros(N_START)  # sum of squares of each minibatch of the start
        self._held: tuple[Minibatch, Second] | None = None
        self._g2_sum = self._tau_sum = 0.0
        self._point = self._kept = self._mean = np.empty(0, dtype)  # until they are needed
        self._prepare()

    def __repr__(self) -> str:
        return described(self, f", length={self.length:.3g}")

    def _prepare(self) -> None:
        """Allocate what only dense gradients need."""
        n = n_blocks(self.x.size) + 1
        self._energy, self._sums, self._secants = np.zeros((n, 1)), np.zeros((n, 2)), np.zeros((n, 4))
        self._advance = self.kernels.bind_advance(self.buffer, self._energy, self._sums)
        self._recount()

    @property
    def x(self) -> Array:
        """The parameters (d,): a view, which the next step changes."""
        return self.state.x

    @property
    def x_avg(self) -> Array:
        """The polynomial-decay average of x, a view: weight ``9 / (t + 8)`` for the t-th step.

        Raises
        ------
        AttributeError
            If the rule keeps none.
        """
        if not self.rule.average:
            must, remedy = "be asked of a run that averages", "start it with refsgd.VSGD(average=True)"
            raise AttributeError(message("x_avg", must, repr(self.rule), remedy))
        return self.buffer[4, : self.x.size]

    @property
    def tau(self) -> Array:
        """Memory sizes (d,) in steps, a view; 0 for parameters that have not begun."""
        return self.state.tau

    @property
    def length(self) -> float:
        """The length S of a step, in the units of x: a step is ``S * sqrt(rho) * g / sqrt(g2_avg)``."""
        return self.step_length.length

    @property
    def n_steps(self) -> int:
        """Minibatches learnt from so far."""
        return self.counters.n_steps

    @property
    def n_samples(self) -> int:
        """Samples learnt from so far."""
        return self.counters.n_samples

    @property
    def n_gradients(self) -> int:
        """Gradients of minibatches evaluated so far, second points included."""
        return self.counters.n_gradients + self.is_open

    @property
    def batch_size(self) -> int:
        """Samples of the latest minibatch, 1 before the first."""
        return self.counters.batch_size

    @property
    def rates(self) -> Array:
        """Rates (d,) in ``x**2 / loss``, ``S |m| / v``: a step multiplies a gradient with them."""
        _, m, v, tau = self.state
        has_rate = (tau > 0) & (v > 0)
        gain = np.where(has_rate, np.abs(m) / np.where(has_rate, v, 1), 0)
        rates: Array = gain * self.x.dtype.type(self.length * self.unit)
        return rates

    @property
    def is_open(self) -> bool:
        """Whether the run waits for the gradient of the same minibatch at a second point."""
        return self._held is not None

    @property
    def trouble(self) -> str:
        """A sentence on why the run no longer makes sense; ``""`` if it does."""
        x, m, v, tau = self.state
        if not tau.any() or not m.any():
            return ""
        g2_sum = float(v.sum(dtype=np.float64))
        if g2_sum > GROWN * self._g2_first > 0:
            return f"gradients have grown {math.sqrt(g2_sum / self._g2_first):.1g}-fold since the start"
        if self.step_length.curv_sq == 0 and self.length >= length.LONGEST * self.scale:
            return f"no curvature was seen up to steps of length {self.length:.3g}; the loss may be unbounded"
        if (x + x.dtype.type(LIMIT * self.length) == x).all():  # the longest step there is
            return "steps vanish by rounding: x is too large for them in its dtype"
        return ""

    def ask(self) -> Array:
        """The point where `tell` wants a gradient: x, or the second point of the open minibatch.

        Returns
        -------
        (d,) array
            Valid until the next `tell`. Asking again gives the same point.
        """
        return self.x if self._held is None else self._point

    def tell(self, gradient: Any) -> None:
        """Learn from the gradient of a minibatch at the point that `ask` gave.

        Parameters
        ----------
        gradient : array, CSR matrix, Moments or tuple
            The mean gradient (d,), which counts as one sample; per-sample gradients (n, d) with n >= 1, dense
            or CSR; or `Moments`, or a tuple of its fields, whose mean squares the run ignores. In float32 or
            float64, in units of ``loss / x``. Orthogonal weighting needs per-sample gradients.

        Raises
        ------
        TypeError, ValueError
            If the gradient has a wrong type, dtype, shape or number of samples.
        FloatingPointError
            If the gradient is not finite.

        After each of these the run is as before, and still open if it was open.
        """
        if self._held is None:
            batch = self._read("grad", gradient)
            second = self._due(batch)
            if second and self._is_in_range("grad", batch):
                self._open(batch, second)
            else:  # a second gradient of an outlier would tell nothing about the other minibatches
                self._learn(batch, Second.NONE, self.step_length)
            return
        batch, second = self._held
        other = self._read("grad at the second point", gradient)
        if other.n_samples != batch.n_samples:
            must, remedy = f"have {batch.n_samples} samples", "evaluate both points on the same minibatch"
            raise ValueError(message("grad at the second point", must, other.n_samples, remedy))
        self._is_in_range("grad at the second point", other)
        self._learn(batch, second, self._measured(batch.grad, other.grad, second))
        self._held = None

    def close(self) -> None:
        """Drop the open minibatch, if there is one; the run is then as before it."""
        self._held = None

    # -- one minibatch

    def _read(self, name: str, gradient: Any) -> Minibatch:
        """The mean gradient, whatever its values."""
        if self.rule.weighting == "orthogonal":
            rows = sample_gradients(name, gradient, self.x)
            with np.errstate(all="ignore"):  # what is not finite is found later
                weights = orthogonal.weights(rows) if self._held is None else self._held[0].weights
                mean = weights.astype(rows.dtype) @ rows if len(weights) == len(rows) else rows[0]
            return Minibatch(len(rows), mean, weights=weights)
        if self._mean.size == 0 and has_samples(gradient):
            self._mean = np.empty_like(self.x)
        return Minibatch(*mean_gradient(name, gradient, self.x, self.kernels, self._mean))

    def _due(self, batch: Minibatch) -> Second:
        """Whether this minibatch needs a second gradient."""
        counters = self.counters
        if counters.start_left:
            return Second.START
        if not self._joined or (not self.is_whole and self._starts_anew(batch)):
            return Second.NONE
        root = math.sqrt(self._memory())
        if counters.since_probe + 1 >= root:  # sqrt(tau) probes in a memory of tau steps
            return Second.PROBE
        return Second.LANDING if counters.since_landing + 1 >= root else Second.NONE

    def _memory(self) -> float:
        """The mean memory of the parameters that take steps."""
        return self._tau_sum / self._n_joined

    def _open(self, batch: Minibatch, second: Second) -> None:
        """Keep the minibatch until its gradient at a second point arrives. Nothing else changes."""
        if self._point.size == 0:
            self._point, self._kept = np.empty((2, self.x.size), self.x.dtype)
        self._kept[:] = grad = batch.grad
        self._point[:] = self.x
        for begin, end in self._probed(grad, second):
            part = slice(begin, end)
            if second is Second.LANDING:
                self.kernels.land(self.buffer, begin, grad[part], self.unit, self.length, self._point[part])
            else:
                size = (self._start_length() if second is Second.START else self.step_length).length
                self.kernels.probe(self.buffer, begin, size, self._point[part])
        self._held = batch._replace(grad=self._kept), second

    def _probed(self, grad: Array, second: Second) -> list[tuple[int, int]]:
        """Ranges of the parameters in which the second point differs from x."""
        return self._ranges(self._lives(grad)) if second is Second.START else self._joined

    def _measured(self, grad: Array, other: Array, second: Second) -> StepLength:
        """The length after a second gradient."""
        totals = np.zeros(4)
        for begin, end in self._probed(grad, second):
            part, sums = slice(begin, end), self._secants[: n_blocks(end - begin) + 1]
            point = self._point[part]
            self.kernels.secant(self.buffer, begin, point, grad[part], other[part], self.unit, sums)
            totals += sums[-1]
        return self._followed(second, *totals.tolist())

    def _followed(
        self, second: Second, d2_metric: float, along: float, change2: float, descent: float
    ) -> StepLength:
        """The length that follows from the sums of the `refsgd.kernels.contract.Secant` kernel."""
        s, counters = self.step_length, self.counters
        if not math.isfinite(d2_metric + along + change2 + descent):
            return s
        curv = length.curvature(d2_metric, along)
        if second is Second.START:
            bound = length.largest_curvature(d2_metric, change2)
            return length.searched(self._start_length(), curv, bound)
        if second is Second.PROBE:
            share = length.weight(self._memory(), counters.since_probe + 1)
            return length.followed(s, curv, share, length.LONGEST * self.scale)
        share = length.weight(self._memory(), counters.since_landing + 1)
        return length.landed(s, descent, along, share)

    def _learn(self, batch: Minibatch, second: Second, s: StepLength) -> None:
        """Update averages and x, with a length ``s``. A gradient that is not finite changes nothing."""
        if not self.is_whole or self.counters.start_left:
            if not self._is_in_range("grad", batch):
                batch = self._guarded(batch)
            self._begin(batch, second, s if second else self.step_length)
            return
        s, share = length.capped(s), average_weight(self.counters.n_moves)
        if not self._advance(batch.grad, self.unit, self._g2_sum, s.length, share):
            self._is_in_range("grad", batch)  # raises unless it is finite
            self._advance(self._guarded(batch).grad, self.unit, self._g2_sum, s.length, share)
        self._g2_sum, self._tau_sum = self._sums[-1].tolist()
        self.step_length = s
        self._count(batch, second, 1, 0)

    @property
    def sums(self) -> tuple[float, float]:
        """The sums of g2_avg and tau over the parameters that take steps."""
        return self._g2_sum, self._tau_sum

    def after_steps(self, s: StepLength, sums: tuple[float, float], counters: tuple[int, ...]) -> None:
        """Adopt the results of a compiled loop that has changed the buffer."""
        self.step_length, self.counters = StepLength(*s), Counters(*counters)
        self._g2_sum, self._tau_sum = sums

    def _count(self, batch: Minibatch, second: Second, moves: int, start_left: int) -> None:
        c = self.counters
        self.counters = Counters(
            c.n_steps + 1,
            c.n_samples + batch.n_samples,
            c.n_gradients + (2 if second else 1),
            batch.n_samples,
            start_left,
            0 if second is Second.PROBE else c.since_probe + moves,
            0 if second is Second.LANDING else c.since_landing + moves,
            c.n_moves + moves,
        )

    def _is_in_range(self, name: str, batch: Minibatch) -> bool:
        """Whether squares of a gradient are finite in the unit of the run.

        In the start the unit follows the largest gradient, so that they are.

        Raises
        ------
        FloatingPointError
            If the gradient itself is not finite.
        """
        grad, sums = batch.grad, self._energy[: n_blocks(batch.grad.size) + 1]
        self.kernels.check(grad, self.unit or first_unit(grad), sums)
        if math.isfinite(sums[-1, 0]):
            return True
        if not np.isfinite(grad).all():
            raise self._not_finite(name, batch)
        if self.counters.start_left:
            self._shrink_unit(grad)
            self.kernels.check(grad, self.unit, sums)
        return bool(self.counters.start_left)

    def _shrink_unit(self, grad: Array) -> None:
        """Choose a smaller unit, in which a far larger gradient fits. That changes no bit of x."""
        s, (m, v) = self.step_length, self.state[1:3]
        exponent = math.frexp(float(np.abs(grad).max()) * self.unit)[1]
        factor = math.ldexp(1.0, TOP_EXPONENT[m.dtype.name] - exponent)
        self.unit *= factor
        m *= m.dtype.type(factor)
        v *= v.dtype.type(factor**2)
        self._g2_sum, self._g2_first = self._g2_sum * factor**2, self._g2_first * factor**2
        self._start_energies *= factor**2
        self.step_length = s._replace(slope=s.slope * factor, bend=s.bend * factor)

    def _guarded(self, batch: Minibatch) -> Minibatch:
        """A minibatch whose squares overflow, scaled as the guard scales it: to `GUARD` root mean squares."""
        largest = np.abs(batch.grad).max()
        direction = batch.grad / largest
        usual = math.sqrt(self._usual_square(batch)) / self.unit
        factor = GUARD * usual / math.sqrt(float(np.vdot(direction, direction)))
        return batch._replace(grad=direction * self.x.dtype.type(factor))

    def _usual_square(self, batch: Minibatch) -> float:
        """The sum of mean squares that the guard compares with."""
        return self._g2_sum

    def _not_finite(self, name: str, batch: Minibatch) -> FloatingPointError:
        return FloatingPointError(not_finite(name, batch.grad, self.n_steps))

    # -- groups that begin: rare, in plain NumPy

    def _lives(self, grad: Array) -> NDArray[np.bool_]:
        """Which groups have begun, or begin with this gradient, as it is not all zero."""
        parts = zip(self._seen, [0, *self._ends[:-1]], self._ends, strict=True)
        return np.array([bool(seen) or bool(grad[begin:end].any()) for seen, begin, end in parts])

    def _starts_anew(self, batch: Minibatch) -> bool:
        """Whether so many parameters begin now that x has to stand still for a start."""
        if (self._seen > 0).all():
            return False
        fresh = self._lives(batch.grad) & (self._seen == 0)
        before = int(self._lengths[self._seen > 0].sum())
        return bool(self._lengths[fresh].sum() > NEWCOMERS * before)

    def _ranges(self, chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """The chosen groups as ranges of parameters, neighbours joined."""
        ranges, begin = [], 0
        for is_chosen, part in groupby(zip(chosen, self._lengths.tolist(), strict=True), lambda g: g[0]):
            end = begin + sum(size for _, size in part)
            if is_chosen:
                ranges.append((begin, end))
            begin = end
        return ranges

    def _start_length(self) -> StepLength:
        """The length of this probe of the start: at its second minibatch a very short one."""
        s = self.step_length
        if self.counters.start_left < N_START - 1 and s.length > 0:
            return s
        _, m, v, _ = self.state
        steepest = float(np.max(np.abs(m) / np.sqrt(np.where(v > 0, v, 1))))
        return length.begun(s, length.first(float(np.abs(self.x).max()), steepest))

    def _begin(self, batch: Minibatch, second: Second, s: StepLength) -> None:
        """Learn from a minibatch of a start, or from one while newcomers fill their averages."""
        x, _, v, tau = self.state
        lives, joined = self._lives(batch.grad), self._joined
        left = self.counters.start_left or (N_START if self._starts_anew(batch) else 0)
        if not self.unit and lives.any():
            self.unit = first_unit(batch.grad)
        waiting = lives & (self._seen < N_START)
        if joined and not left:
            s = length.capped(s)
            self._step_ranges(batch.grad, s)
            if not waiting.any():  # the others have no gradient yet, perhaps never
                self._count(batch, second, 1, 0)
                self.step_length = s
                return
        g = x.dtype.type(self.unit) * batch.grad
        if left:
            for begin, end in joined:  # they stand still, but keep averaging
                part = slice(begin, end)
                self._average(part, g[part], tau[part])
        for i, (begin, end) in enumerate(zip([0, *self._ends[:-1]], self._ends, strict=True)):
            if waiting[i]:
                part = slice(begin, end)
                self._seen[i] += 1
                n = x.dtype.type(self._seen[i])
                self._average(part, g[part], n)
                if self._seen[i] == N_START:
                    v[part] *= x.dtype.type(OVERESTIMATE)
                    tau[part] = N_START
        if left:
            self._start_energies[N_START - left] = self._energy[-1, 0]
        if left == 1:
            s = length.settled(s)
            if not joined:
                s = self._without_outlier(s)
        self._recount()
        self._count(batch, second, 1 if joined and not left else 0, max(left - 1, 0))
        if left == 1:
            self._g2_first = self._g2_first or self._g2_sum
            self.counters = self.counters._replace(since_probe=0)
        self.step_length = s

    def _average(self, part: slice | Array, g: Array, memory: Any) -> None:
        """Average gradients of the parameters ``part``, and their squares, while x stands still."""
        _, m, v, _ = self.state
        m[part] += (g - m[part]) / memory
        v[part] += (g * g - v[part]) / memory

    def _without_outlier(self, s: StepLength) -> StepLength:
        """After the first start, scale the averages down if one minibatch was out of proportion.

        The guard misses an outlier of the start, because it has nothing to compare with; and the inflated
        averages would hide every later one.
        """
        mean, median = float(np.mean(self._start_energies)), float(np.median(self._start_energies))
        if not mean > GUARD**2 * median > 0:
            return s
        factor = math.sqrt(median / mean)
        real = self.x.dtype.type
        self.state.g_avg[:] *= real(factor)
        self.state.g2_avg[:] *= real(factor * factor)
        return length.in_metric(s, factor)

    def _step_ranges(self, grad: Array, s: StepLength) -> None:
        """Take the step of the parameters that have begun."""
        energy, totals, share = 0.0, np.zeros(2), average_weight(self.counters.n_moves)
        for begin, end in self._joined:
            sums = self._energy[: n_blocks(end - begin) + 1]
            self.kernels.check(grad[begin:end], self.unit, sums)
            energy += float(sums[-1, 0])
        factor = guarded(self.unit, energy, self._g2_sum)
        for begin, end in self._joined:
            sums = self._sums[: n_blocks(end - begin) + 1]
            self.kernels.step(self.buffer, begin, grad[begin:end], factor, s.length, share, sums)
            totals += sums[-1]
        self._g2_sum, self._tau_sum = totals.tolist()

    def _recount(self) -> None:
        """Find the parameters that take steps, and sum up their averages."""
        self._joined = self._ranges(self._seen == N_START)
        self.is_whole = self._joined == [(0, self.x.size)]
        self._n_joined = sum(end - begin for begin, end in self._joined)
        parts = [slice(begin, end) for begin, end in self._joined]
        self._g2_sum = sum(float(self.state.g2_avg[part].sum(dtype=np.float64)) for part in parts)
        self._tau_sum = sum(float(self.state.tau[part].sum(dtype=np.float64)) for part in parts)

    # -- checkpoints

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that a run needs to continue, as plain arrays, for example for ``np.savez``.

        An open minibatch is left out: the state is as before it.

        Returns
        -------
        dict of arrays
            For `load_state_dict` of a run of the same rule.

        Examples
        --------
        >>> import numpy as np, refsgd
        >>> run = refsgd.VSGD().start(np.ones(3))
        >>> run.tell(np.ones((2, 3)))
        >>> other = refsgd.VSGD().start(np.zeros(3))
        >>> other.load_state_dict(run.state_dict())
        >>> np.array_equal(other.state, run.state)
        True
        """
        return {
            "version": np.array(CHECKPOINT_VERSION),
            "rule": np.array("VSGD"),
            **self._rule_entries(),
            "counters": np.array(self.counters),
            "step_length": np.array(self.step_length, np.float64),
            "sums": np.array([self.unit, self.scale, self._g2_first, self._g2_sum, self._tau_sum]),
            "seen": self._seen.copy(),
            "start_energies": self._start_energies.copy(),
            **{name: array.copy() for name, array in self._arrays().items()},
        }

    def _rule_entries(self) -> dict[str, Array]:
        """Entries of a state that must equal those of this run."""
        entries = {name: np.array(value) for name, value in asdict(self.rule).items()}
        return entries | {"groups": self._lengths.copy()}

    def _arrays(self) -> dict[str, Array]:
        """The arrays that steps change."""
        average = {"x_avg": self.x_avg} if self.rule.average else {}
        return self.state._asdict() | average

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a `state_dict`, bit for bit. An open minibatch is dropped.

        Parameters
        ----------
        state : mapping
            What `state_dict` returned.

        Raises
        ------
        ValueError
            If it is incomplete, or from another version, rule, dtype or number of parameters; the run is then
            as before.
        """
        must_equal = ("version", "rule", *self._rule_entries())
        self._restore(_checkpoint.load(state, self.state_dict(), must_equal))

    def _restore(self, arrays: dict[str, Array]) -> None:
        for name, array in self._arrays().items():
            array[:] = arrays[name]
        self.counters = Counters(*arrays["counters"].tolist())
        self.step_length = StepLength(*arrays["step_length"].tolist())
        self._seen[:] = arrays["seen"]
        self._start_energies[:] = arrays["start_energies"]
        self._held = None
        self._recount()
        self.unit, self.scale, self._g2_first, self._g2_sum, self._tau_sum = arrays["sums"].tolist()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle a run by its `state_dict`, as kernels and views share its memory."""
        groups = None if self._lengths.size == 1 else self._lengths.tolist()
        return _unpickle, (type(self), self.rule, self.x.copy(), groups, self._backend, self.state_dict())


def _unpickle(
    run_type: type[Run],
    rule: Rule,
    x: Array,
    groups: list[int] | None,
    backend: BackendName,
    state: Mapping[str, NDArray[Any]],
) -> Run:
    """The run of a pickle."""
    run = run_type(rule, x, groups=groups, backend=backend)
    run.load_state_dict(state)
    return run


def group_lengths(groups: Sequence[int] | None, d: int) -> Array:
    """Checked sizes of groups that add up to ``d``."""
    if groups is None:
        return np.array([d])
    sizes = [integer("each of groups", size, minimum=1) for size in groups]
    if sum(sizes) != d:
        remedy = "give the number of parameters of each group, in order"
        raise ValueError(message("groups", f"add up to {d} parameters", sum(sizes), remedy))
    return np.array(sizes)


def average_weight(n_moves: int) -> float:
    """The weight of the next x in its polynomial-decay average, after that many steps."""
    return min(1.0, 9 / (n_moves + 9))


def first_unit(grad: Array) -> float:
    """The power of 2 that scales the largest entry of a gradient to about 1; 1 if all are 0."""
    largest = float(np.abs(grad).max(initial=0.0))
    if not 0 < largest < math.inf:
        return 1.0
    most = np.finfo(grad.dtype).maxexp - 2
    return math.ldexp(1.0, max(-most, min(-math.frexp(largest)[1], most)))
