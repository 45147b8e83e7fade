"""The default rule on sparse gradients: averages count touches, and a step costs the non-zeros.

A minibatch touches the parameters where its mean gradient is not 0. The others keep all they have. On its
first touch a parameter is initialised as if all ten minibatches of a start had been this one. All parameters
share the length. Probes go along the step itself, on the touched parameters that are not new. Along the
averages, as in the dense form, a rare parameter would return to its own overshoot, with nothing averaged in
between. The probe itself is the ceiling, so there is no other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._config import BackendName
from .._errors import message
from ..kernels.contract import N_START, OVERESTIMATE, WIDEN, n_blocks
from ..kernels.dense_numpy import guarded
from . import length
from .csr import checked_csr
from .length import StepLength
from .moments import mean_gradient, not_finite
from .rule import Rule
from .run import Minibatch, Run, Second, first_unit

Array = NDArray[Any]


class SparseRun(Run):
    """`Run` for gradients with few non-zeros: CSR matrices (n, d), or other forms without their zeros.

    ``tau`` is 0 before a parameter's first touch. Each parameter begins by itself, so there are no groups.
    Parameters and attributes are those of `Run`.

    See Also
    --------
    VSGD : ``VSGD(weighting="sparse").start(x0)`` makes a run.

    Examples
    --------
    >>> import numpy as np, refsgd, scipy.sparse
    >>> run = refsgd.VSGD(weighting="sparse").start(np.zeros(5))
    >>> run.tell(scipy.sparse.csr_array([[0.0, 1.0, 0.0, 0.0, -2.0]]))
    >>> run
    <SparseRun of VSGD(weighting='sparse', average=False): d=5, float64, n_steps=1, length=0>
    >>> run.tau
    array([0., 1., 0., 0., 1.])
    """

    def __init__(
        self,
        rule: Rule,
        x0: Array,
        *,
        groups: Sequence[int] | None = None,
        backend: BackendName | None = None,
    ) -> None:
        if groups is not None:
            remedy = "each parameter begins at its first touch: leave them out"
            raise ValueError(message("groups", "be None with weighting='sparse'", "some", remedy))
        super().__init__(rule, x0, backend=backend)

    def _prepare(self) -> None:
        self._slots = np.zeros(self.x.size, np.int32)
        self._point = self.x.copy()  # x, except while a minibatch is open
        self._memory_touched = float(N_START)
        self._recount()

    @property
    def rates(self) -> Array:
        """Rates (d,) in ``x**2 / loss``: a step multiplies a gradient with them."""
        return np.zeros_like(self.x) if self.counters.start_left else super().rates

    def _memory(self) -> float:
        """The mean memory of the parameters that the last step touched."""
        return self._memory_touched

    def _read(self, name: str, gradient: Any) -> Minibatch:
        x, held = self.x, self._held
        if not hasattr(gradient, "tocsr"):
            n, mean = mean_gradient(name, gradient, x, self.kernels, np.empty_like(x))
            columns = np.flatnonzero(mean) if held is None else held[0].columns
            return Minibatch(n, mean[columns], columns)
        n, _, indices, data = checked_csr(name, gradient.tocsr(), x, self.kernels)
        if held is None:
            columns, count = np.empty((2, data.size), np.int64)
            total, total_sq = np.empty((2, data.size), x.dtype)
            with np.errstate(all="ignore"):  # what is not finite is found later
                k = self.kernels.collect(indices, data, self._slots, columns, count, total, total_sq)
            columns, total = columns[:k].copy(), total[:k].copy()
        else:
            columns = held[0].columns
            total = np.zeros(columns.size, x.dtype)
            self.kernels.add(indices, data, self._slots, columns, total)
        with np.errstate(all="ignore"):
            return Minibatch(n, total / x.dtype.type(n), columns)

    def _due(self, batch: Minibatch) -> Second:
        if self.counters.start_left:
            return Second.START if batch.columns.size else Second.NONE
        is_old = self.tau[batch.columns] > 0
        is_due = self.counters.since_probe + 1 >= math.sqrt(self._memory())
        return Second.PROBE if is_due and is_old.any() else Second.NONE

    def _open(self, batch: Minibatch, second: Second) -> None:
        columns, g = batch.columns, self.x.dtype.type(self.unit) * batch.grad
        x, m, v, tau = np.take(self.buffer, columns, axis=1)
        moves = (tau > 0) & (v > 0)
        safe = np.where(moves, v, 1)
        if second is Second.START:
            size, direction = self._start_length().length, m / np.sqrt(safe)
        else:  # sqrt(rho) g / D
            size, direction = self.length, np.minimum(np.abs(m) / safe, 1 / np.sqrt(safe)) * g
        with np.errstate(all="ignore"):
            offset = x.dtype.type(size) * direction
        shortest = WIDEN * np.finfo(x.dtype).eps * np.abs(x)
        offset = np.where(np.abs(offset) <= shortest, np.copysign(shortest, offset), offset)
        self._point[columns] = np.where(moves & np.isfinite(offset), x - offset, x)
        self._held = batch, second

    def _measured(self, grad: Array, other: Array, second: Second) -> StepLength:
        assert self._held is not None
        columns = self._held[0].columns
        moved = (self.tau[columns] > 0) & (self.state.g2_avg[columns] > 0)
        columns = columns[moved]
        rows, point = np.take(self.buffer, columns, axis=1), self._point[columns]
        sums = np.zeros((n_blocks(columns.size) + 1, 4))
        if columns.size:
            self.kernels.secant(rows, 0, point, grad[moved], other[moved], self.unit, sums)
        return self._followed(second, *sums[-1].tolist())

    def _learn(self, batch: Minibatch, second: Second, s: StepLength) -> None:
        if not self._is_in_range("grad", batch):
            batch = self._guarded(batch)
        s = s if second else self.step_length
        unit = self.unit or first_unit(batch.grad)
        with np.errstate(under="ignore"):
            g = self.x.dtype.type(unit) * batch.grad
            touched = g * g != 0
        columns, g, grad = batch.columns[touched], g[touched], batch.grad[touched]
        left = self.counters.start_left or (0 if self.unit else N_START)
        if columns.size == 0:
            self._count(batch, second, 0, self.counters.start_left)
            self._point[batch.columns] = self.x[batch.columns]
            return
        self.unit = unit
        if left:
            s = self._average_start(columns, g, left, s)
        else:
            self._step_at(columns, g, grad, s)
        self._point[batch.columns] = self.x[batch.columns]
        self.step_length = s
        self._count(batch, second, 0 if left else 1, max(left - 1, 0))

    def _average_start(self, columns: Array, g: Array, left: int, s: StepLength) -> StepLength:
        """Learn from one of the ten minibatches at a fixed x: plain means over touches."""
        v, tau = self.state.g2_avg, self.tau
        tau[columns] += 1
        self._average(columns, g, tau[columns])
        if left > 1:
            return s
        v *= self.x.dtype.type(OVERESTIMATE)
        tau[:] = np.where(v > 0, N_START, 0)
        self._g2_first = float(v.sum(dtype=np.float64))
        return length.settled(s)

    def _step_at(self, columns: Array, g: Array, grad: Array, s: StepLength) -> None:
        rows = np.take(self.buffer, columns, axis=1)
        _, m, v, tau = rows
        is_new = tau == 0
        sums = np.zeros((n_blocks(columns.size) + 1, 2))
        energy = sums[:, :1].copy()
        self.kernels.check(np.where(is_new, 0, grad), self.unit, energy)
        g2_sum = float(v.sum(dtype=np.float64, where=~is_new))
        m[is_new], v[is_new] = g[is_new], self.x.dtype.type(OVERESTIMATE) * g[is_new] ** 2
        tau[is_new] = np.inf  # the step leaves their averages as they are
        factor = guarded(self.unit, float(energy[-1, 0]), g2_sum)
        self.kernels.step(rows, 0, grad, factor, s.length, 0.0, sums)
        tau[is_new] = N_START
        self.buffer[:, columns] = rows
        self._memory_touched = float(tau.mean(dtype=np.float64))

    def close(self) -> None:
        if self._held is not None:
            columns = self._held[0].columns
            self._point[columns] = self.x[columns]
        super().close()

    def _is_in_range(self, name: str, batch: Minibatch) -> bool:
        self._energy = np.zeros((n_blocks(batch.grad.size) + 1, 1))
        return batch.grad.size == 0 or super()._is_in_range(name, batch)

    def _usual_square(self, batch: Minibatch) -> float:
        """The sum of mean squares over the touched parameters that are not new."""
        v, tau = self.state.g2_avg[batch.columns], self.tau[batch.columns]
        return float(v.sum(dtype=np.float64, where=tau > 0))

    def _not_finite(self, name: str, batch: Minibatch) -> FloatingPointError:
        grad = np.zeros_like(self.x)
        grad[batch.columns] = batch.grad
        return FloatingPointError(not_finite(name, grad, self.n_steps))

    def _recount(self) -> None:
        self._joined, self._g2_sum, self._tau_sum = [], 0.0, 0.0

    def state_dict(self) -> dict[str, NDArray[Any]]:
        return super().state_dict() | {"memory": np.array(self._memory_touched)}

    def _restore(self, arrays: dict[str, Array]) -> None:
        super()._restore(arrays)
        self._memory_touched = float(arrays["memory"])
        self._point[:] = self.x
