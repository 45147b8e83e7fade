"""vSGD on sparse gradients: each parameter counts the samples that touch it, and a step costs the non-zeros.

A parameter in which z of the n samples of a minibatch have a gradient other than 0 takes the step of a
minibatch of those z samples ([1]_, section 3.2); where z = 0 neither it nor its averages change. So the mean
over n samples, by which the others would be slowed, never appears.

Everything here touches only the columns of the minibatch. That is why the probe is a second vector that is
kept beside x: a parameter's probe is laid when a step has changed it, and stays until the next. It reaches
``p`` times as far as that of a dense gradient, p being the share of samples that touched the parameter:
a probe along descent of the mean loss.

References
----------
.. [1] Schaul & LeCun, arXiv 1301.3764.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from ..kernels import reference
from .averages import N_START
from .csr import Entries, absolute_differences, checked_csr
from .curvature import StepScale, global_curvature
from .moments import checked_rows, finite_squares
from .run import Run, overestimate

Array = NDArray[Any]


class Touched(NamedTuple):
    """Moments in the columns of a minibatch, over the samples that are not 0 there."""

    columns: Array
    n_samples: Array  # of each column
    grad: Array
    grad_sq: Array


class SparseRun(Run):
    """`Run` for per-sample gradients as CSR matrices (n, d), or dense rows, of which zeros are dropped.

    A parameter begins at its first touch: its gradient counts for the ten minibatches of a dense start, and
    its curvature for that of all parameters. Faithful rules average ten touches before the first step.
    ``tau`` is 0 before the first touch, and minus the number of touches within a faithful start.
    """

    def _prepare(self) -> None:
        d = self.state.x.size
        self._point = self.state.x.copy()
        self._touched = np.zeros(d, np.int64)  # samples, for each parameter
        self._slots = np.zeros(d, np.int32)

    @property
    def rates(self) -> Array:
        """Rates (d,) in ``x**2 / loss`` for a parameter that one sample touches."""
        from .rates import rates

        return rates(self.state, self.step_scale.scale, 1, self.rule.variant, None)

    def ask(self) -> list[Array]:
        """The points (d,) at which `tell` wants gradients on one and the same minibatch."""
        if self.n_steps == 0 or self.rule.curvature == "bbprop":
            return [self.x]
        return [self.x, self._point]

    def _learn(self, gradients: Sequence[Any], diag_hess: Any) -> int:
        names = ("grad", "probe grad")
        rows = [self._entries(name, gradient) for name, gradient in zip(names, gradients, strict=False)]
        if diag_hess is not None:
            rows.append(self._entries("diag_hess", diag_hess))
        for name, other in zip(("probe grad", "diag_hess"), rows[1:], strict=False):
            if other.n_samples != rows[0].n_samples:
                must, remedy = f"have {rows[0].n_samples} rows", "evaluate all on the same minibatch"
                raise ValueError(message(name, must, other.n_samples, remedy))
        here = rows[0]
        touched = self._collect(here)
        if touched.columns.size:
            self._advance(touched, self._curvature_at(touched, rows, is_told=diag_hess is not None), here)
        self._slots[touched.columns] = 0
        return here.n_samples

    def _collect(self, here: Entries) -> Touched:
        room = here.data.size
        columns, count = np.empty((2, room), np.int64)
        total, total_sq = np.empty((2, room), self.x.dtype)
        k = self.kernels.collect(here.indices, here.data, self._slots, columns, count, total, total_sq)
        columns, count = columns[:k].copy(), count[:k].copy()
        n = count.astype(total.dtype)
        return Touched(columns, count, total[:k] / n, total_sq[:k] / n)

    def _mean(self, entries: Entries, data: Array, touched: Touched) -> Array:
        """The sum of other values in the touched columns, over the number of samples that touch."""
        total = np.zeros_like(touched.grad)
        self.kernels.add(entries.indices, data, self._slots, total)
        return total / touched.n_samples.astype(total.dtype)

    def _curvature_at(
        self, touched: Touched, rows: list[Entries], is_told: bool
    ) -> tuple[Array, Array, float, float]:
        """Mean and mean square of the curvature, and how far and with what difference was probed."""
        faithful = self.rule.faithful
        if len(rows) == 1:  # the first minibatch has no probe
            zero = np.zeros_like(touched.grad)
            return zero, zero, 0.0, 0.0
        if is_told:
            told = np.abs(rows[1].data) if faithful else rows[1].data
            curv = self._mean(rows[1], told, touched)
            return curv, (self._mean(rows[1], told * told, touched) if faithful else curv * curv), 0.0, 0.0
        delta = self.x[touched.columns] - self._point[touched.columns]
        if faithful:
            each = absolute_differences(*rows)
            reach = np.abs(delta)
            curv = reference.secant(self._mean(rows[0], each, touched), reach)
            largest = reference.max_curv(curv.dtype)
            squares = self._mean(rows[0], each * each, touched)
            safe = np.where(reach > 0, reach, 1)
            with np.errstate(over="ignore"):
                curv_sq = np.where(reach > 0, np.minimum(squares / safe / safe, largest * largest), 0)
            return curv, curv_sq, 0.0, 0.0
        diff = touched.grad - self._mean(rows[1], rows[1].data, touched)
        curv = reference.secant(diff, delta)
        probed = delta != 0
        return curv, curv * curv, float(np.linalg.norm(delta)), float(np.linalg.norm(diff[probed]))

    def _advance(self, touched: Touched, curvature: tuple[Array, Array, float, float], here: Entries) -> None:
        columns, count, grad, grad_sq = touched
        curv, curv_sq, distance, difference = curvature
        tau = self.state.tau[columns]
        is_fd = self.rule.curvature == "fd"
        if is_fd and self.step_scale.scale == 0:
            self.step_scale = StepScale.first(self.x, grad).bounded(self.x.dtype)
        if self.rule.faithful:
            ready = self._start_faithful(touched, curv, curv_sq, -tau)
        else:
            ready = np.ones(columns.size, bool)
            if (is_new := tau == 0).any():
                if is_fd:
                    first = self.x.dtype.type(1 / self.step_scale.scale)
                    curv = np.where(is_new, np.minimum(first, reference.max_curv(self.x.dtype)), curv)
                    curv_sq = curv * curv
                self._begin(columns, is_new, grad, grad_sq, curv, curv_sq)
        limits, scale = self.rule.limits(1), self.step_scale.scale
        scalars = *limits, scale, self.rule.variant
        at = slice(None) if ready.all() else ready
        self.kernels.step_at(
            self._buffer, columns[at], count[at], grad[at], grad_sq[at], curv[at], curv_sq[at], *scalars
        )
        self._touched[columns] += count
        if is_fd:
            if not self.rule.faithful and distance > 0:
                memory = float(self.state.tau[columns].mean(dtype=np.float64))
                self._rescale(global_curvature(distance, difference), distance, memory)
            self._lay_probe(columns, self.n_samples + here.n_samples)

    def _begin(
        self, columns: Array, is_new: Array, grad: Array, grad_sq: Array, curv: Array, curv_sq: Array
    ) -> None:
        """First touch: as after a dense start of which every minibatch was this one."""
        new, state = columns[is_new], self.state
        largest = np.finfo(self.x.dtype).max
        factor = overestimate(self.rule, self.x.size)
        state.g_avg[new] = grad[is_new]
        state.g2_avg[new] = np.minimum(grad_sq[is_new], largest / factor) * factor
        state.h_avg[new] = curv[is_new]
        state.h2_avg[new] = curv_sq[is_new]
        state.tau[new] = N_START

    def _start_faithful(self, touched: Touched, curv: Array, curv_sq: Array, before: Array) -> Array:
        """Plain means over the first touches, of which there were ``before``. True where these are over."""
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
        factor = overestimate(self.rule, self.x.size)
        state.g2_avg[done] = np.minimum(state.g2_avg[done], np.finfo(self.x.dtype).max / factor) * factor
        state.tau[done] = N_START
        return ~starting

    def _rescale(self, curvature: float, distance: float, memory: float) -> None:
        """Search over the first probes that met a touched parameter, then follow."""
        scale = self.step_scale
        if scale.seen < N_START - 1:
            scale = scale.search(curvature)
            scale = scale.settle() if scale.seen == N_START - 1 else scale
        else:
            scale = scale.follow(curvature, distance, memory)
        self.step_scale = scale.bounded(self.x.dtype)

    def _lay_probe(self, columns: Array, n_samples: int) -> None:
        share = 1.0 if self.rule.faithful else self._touched[columns] / n_samples
        reach = self.step_scale.scale * share
        self._point[columns] = reference.probe_point(self.x[columns], self.state.g_avg[columns], reach)

    def _entries(self, name: str, rows: Any) -> Entries:
        """The non-zeros of per-sample gradients, checked."""
        if isinstance(rows, tuple):
            remedy = "pass per-sample gradients, CSR or a dense array with one row per sample"
            raise ValueError(message(name, "be rows for weighting='sparse'", "moments", remedy))
        if not hasattr(rows, "tocsr"):
            dense = checked_rows(name, rows, self.x.size)
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
        return {**super()._arrays(), "point": self._point, "touched": self._touched}
