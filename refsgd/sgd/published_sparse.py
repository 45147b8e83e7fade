"""Published vSGD on sparse gradients: each parameter counts the samples that touch it.

A parameter in which z of the n samples of a minibatch have a gradient other than 0 takes the step of a
minibatch of those z samples ([1]_, section 3.2); where z = 0 neither it nor its averages change. So the mean
over n samples, by which the others would be slowed, never appears.

Everything here touches only the columns of the minibatch. That is why the probe is a second vector that is
kept beside x: a step renews the probe of each parameter that it changes.

References
----------
.. [1] Schaul & LeCun, arXiv 1301.3764.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from ..kernels import published_numpy
from ..kernels.contract import PublishedMoments, StepRule
from .averages import N_START, overestimated
from .csr import Entries, absolute_differences, checked_csr
from .moments import finite_squares, sample_rows
from .published_run import PublishedRun
from .rates import rates

Array = NDArray[Any]


class Touched(NamedTuple):
    """Moments in the columns of a minibatch, over the samples that are not 0 there."""

    columns: Array
    n_samples: Array  # of each column
    grad: Array
    grad_sq: Array


class SparseMinibatch(NamedTuple):
    """The validated gradients of a minibatch at x."""

    entries: Entries
    diag_hess: Entries | None


class PublishedSparseRun(PublishedRun):
    """`PublishedRun` for per-sample gradients as CSR matrices (n, d), or dense rows without their zeros.

    A parameter averages its first ten touches before its first step. ``tau`` is 0 before the first touch, and
    minus the number of touches within this start.
    """

    def _prepare(self) -> None:
        self._point = self.x.copy()
        self._slots = np.zeros(self.x.size, np.int32)

    @property
    def rates(self) -> Array:
        """Rates (d,) in ``x**2 / loss`` for a parameter that one sample touches."""
        return rates(self.state, 1, self.rule.variant, None)

    def _probe_point(self) -> Array:
        return self._point

    def _checked(self, gradient: Any, diag_hess: Any) -> SparseMinibatch:
        here = self._entries("grad", gradient)
        if diag_hess is None:
            return SparseMinibatch(here, None)
        given = self._entries("diag_hess", diag_hess)
        self._must_have("diag_hess", given, here.n_samples)
        return SparseMinibatch(here, given._replace(data=np.abs(given.data)))

    def _checked_probe(self, gradient: Any, here: SparseMinibatch) -> Entries:
        probe = self._entries("probe grad", gradient)
        self._must_have("probe grad", probe, here.entries.n_samples)
        return probe

    def _must_have(self, name: str, entries: Entries, n_samples: int) -> None:
        if entries.n_samples != n_samples:
            must, remedy = f"have {n_samples} rows", "evaluate all on the same minibatch"
            raise ValueError(message(name, must, entries.n_samples, remedy))

    def _held(self, minibatch: SparseMinibatch) -> SparseMinibatch:
        n, *arrays = minibatch.entries
        return SparseMinibatch(Entries(n, *(array.copy() for array in arrays)), None)

    def _learn(self, here: SparseMinibatch, probe: Entries | None) -> int:
        touched = self._collect(here.entries)
        if touched.columns.size:
            self._advance(touched, *self._curvature_at(touched, here, probe))
        return here.entries.n_samples

    def _collect(self, here: Entries) -> Touched:
        room = here.data.size
        columns, count = np.empty((2, room), np.int64)
        total, total_sq = np.empty((2, room), self.x.dtype)
        k = self.kernels.collect(here.indices, here.data, self._slots, columns, count, total, total_sq)
        columns, count = columns[:k].copy(), count[:k].copy()
        n = count.astype(total.dtype)
        return Touched(columns, count, total[:k] / n, total_sq[:k] / n)

    def _mean_of(self, entries: Entries, data: Array, touched: Touched) -> Array:
        """The sum of other values in the touched columns over the number of samples that touch them."""
        total: Array = np.zeros_like(touched.grad)
        self.kernels.add(entries.indices, data, self._slots, touched.columns, total)
        total /= touched.n_samples.astype(total.dtype)
        return total

    def _curvature_at(
        self, touched: Touched, here: SparseMinibatch, probe: Entries | None
    ) -> tuple[Array, Array]:
        """Mean and mean square of the curvature: as given, or by finite differences of each sample."""
        if here.diag_hess is not None:
            given, curv = here.diag_hess, here.diag_hess.data
            return self._mean_of(given, curv, touched), self._mean_of(given, curv * curv, touched)
        if probe is None:  # the first minibatch
            zero = np.zeros_like(touched.grad)
            return zero, zero
        each = absolute_differences(here.entries, probe)
        reach = np.abs(self.x[touched.columns] - self._point[touched.columns])
        curv = published_numpy.secant(self._mean_of(here.entries, each, touched), reach)
        largest = published_numpy.max_curv(curv.dtype)
        squares = self._mean_of(here.entries, each * each, touched)
        safe = np.where(reach > 0, reach, 1)
        return curv, np.where(reach > 0, np.minimum(squares / safe / safe, largest * largest), 0)

    def _advance(self, touched: Touched, curv: Array, curv_sq: Array) -> None:
        columns, count, grad, grad_sq = touched
        ready = self._start_at(touched, curv, curv_sq, -self.state.tau[columns])
        at = slice(None) if ready.all() else ready
        moments = PublishedMoments(grad[at], grad_sq[at], curv[at], curv_sq[at])
        rule = StepRule(self.rule.limit, self.rule.variant)
        self.kernels.published_step_at(self._buffer, columns[at], count[at], moments, rule)
        if self.rule.curvature == "fd":
            self._point[columns] = published_numpy.probe_point(self.x[columns], self.state.g_avg[columns])

    def _start_at(self, touched: Touched, curv: Array, curv_sq: Array, before: Array) -> Array:
        """Plain means over the first touches, ``before`` of them so far. True where the start is over."""
        starting = before >= 0
        if not starting.any():
            return ~starting
        at, state = touched.columns[starting], self.state
        before = before[starting]
        state.g_avg[at] += (touched.grad[starting] - state.g_avg[at]) / (before + 1)
        state.g2_avg[at] += (touched.grad_sq[starting] - state.g2_avg[at]) / (before + 1)
        seen = before + 1 if self.rule.curvature == "bbprop" else np.maximum(before, 1)
        state.h_avg[at] += (curv[starting] - state.h_avg[at]) / seen
        state.h2_avg[at] += (curv_sq[starting] - state.h2_avg[at]) / seen
        state.tau[at] -= 1
        done = at[before + 1 == N_START]
        state.g2_avg[done] = overestimated(state.g2_avg[done], self.x.size)
        state.tau[done] = N_START
        return ~starting

    def _entries(self, name: str, rows: Any) -> Entries:
        """The non-zeros of per-sample gradients, checked."""
        if isinstance(rows, tuple):
            remedy = "pass per-sample gradients, CSR or a dense array with one row per sample"
            raise ValueError(message(name, "be rows for weighting='sparse'", "moments", remedy))
        if not hasattr(rows, "tocsr"):
            dense = sample_rows(name, rows, self.x.size)
            finite_squares(name, dense.astype(self.x.dtype, copy=False), self.n_steps)
            row, column = np.nonzero(dense)
            indptr = np.searchsorted(row, np.arange(len(dense) + 1))
            column = np.ascontiguousarray(column, np.int64)  # a view of pairs otherwise
            return Entries(len(dense), indptr, column, dense[row, column].astype(self.x.dtype, copy=False))
        csr = rows if rows.format == "csr" else rows.tocsr()
        entries = checked_csr(name, csr, self.x, self.kernels)
        finite_squares(name, entries.data, self.n_steps)
        return entries

    def _arrays(self) -> dict[str, Array]:
        return {**super()._arrays(), "point": self._point}
