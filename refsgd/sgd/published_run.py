"""A run of vSGD that its user drives with ask and tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from .._config import backend_name
from .._errors import message
from .._validation import float_array
from ..kernels import reference
from ..kernels.contract import n_blocks
from . import orthogonal, shared
from .averages import (
    N_START,
    OVERESTIMATE,
    allocate,
    end_start,
    start_average,
    start_average_curvature,
)
from .curvature import PUBLISHED_SCALE, StepScale, global_curvature
from .moments import Moments, checked_moments, checked_rows, finite_squares, share_memory, squares
from .rates import rates
from .vsgd import VSGD

CHECKPOINT_VERSION = 2

Array = NDArray[Any]


class Minibatch(NamedTuple):
    """What `Run.tell` was told, checked: moments here and at the probe, rows where they are used."""

    here: Moments
    probe: Moments | None
    rows: list[Array] | None
    curvature: tuple[Array, Array] | None  # mean and mean square of a diagonal Hessian


class Run:
    """A run of `VSGD`, driven by its user: ``points = run.ask()``, then ``run.tell(gradients)``.

    `ask` gives the points at which gradients are wanted, all on the *same* samples: x, and where curvature is
    by finite differences, from the second minibatch on, a probe near it. `tell` takes one value a point:
    per-sample gradients (n, d), or `Moments`, or a plain tuple of the fields of Moments. The first 10
    minibatches only fill the averages; x stays.

    Attributes
    ----------
    x : (d,) array
        The parameters: a view, which the next `tell` changes.
    state : State
        Parameters and averages, views likewise.
    n_steps, n_samples : int
        Minibatches and samples told so far.
    """

    def __init__(
        self, rule: VSGD, x0: Array, *, blocks: Sequence[int] | None = None, backend: str | None = None
    ) -> None:
        x0 = float_array("x0", x0, ("d",), remedy="pass one flat vector of parameters")
        if x0.size == 0:
            raise ValueError(message("x0", "have at least one parameter", x0.shape, "pass a longer vector"))
        if (blocks is None) == (rule.sharing == "blocks"):
            must = "be given" if blocks is None else "be None"
            remedy = "they go with sharing='blocks': the number of parameters of each"
            raise ValueError(message("blocks", f"{must} where sharing is {rule.sharing!r}", blocks, remedy))
        self.rule = rule
        self._backend = kernels.resolve(backend_name(backend))
        self.kernels = kernels.load(self._backend)
        sizes = blocks if blocks is not None else [x0.size]
        self.blocks = None if rule.sharing == "element" else shared.Blocks.of(sizes, x0.size)
        self._buffer, self.state = allocate(x0.size, x0.dtype)
        self.state.x[:] = x0
        self.n_steps = 0
        self.n_samples = 0
        self.batch_size = 1
        self.step_scale = StepScale(PUBLISHED_SCALE if rule.faithful else 0.0)
        self._prepare()

    def _prepare(self) -> None:
        """What only dense weighting needs: memories, and room to compute in."""
        d = self.state.x.size
        self.state.tau[:] = 1
        self._probe = np.empty_like(self.state.x)
        self._mean, self._mean_sq, self._probe_mean = np.empty((3, d), self.state.x.dtype)
        self._sums = np.empty((n_blocks(d), 3))
        told = self._mean, self._mean_sq, self._probe_mean
        self._step_fd = self.kernels.bind_step_fd(self._buffer, self._sums, *told)

    @property
    def x(self) -> Array:
        return self.state.x

    @property
    def tau(self) -> Array:
        """Memory sizes (d,) in steps, a view."""
        return self.state.tau

    @property
    def rates(self) -> Array:
        """Rates (d,) in ``x**2 / loss`` that the averages give for a minibatch of the last size."""
        if self.n_steps < N_START:
            return np.zeros_like(self.x)
        return rates(self.state, self.step_scale.scale, self.batch_size, self.rule.variant, self.blocks)

    def ask(self) -> list[Array]:
        """The points (d,) at which `tell` wants gradients on one and the same minibatch.

        They are only valid until then. Asking again gives the same points.
        """
        if self.n_steps == 0 or self.rule.curvature == "bbprop":
            return [self.x]
        self.kernels.probe(self._buffer, self.step_scale.scale, self._probe)
        return [self.x, self._probe]

    def tell(self, gradients: Sequence[Any], diag_hess: Any = None) -> None:
        """Learn from one minibatch, and take a step if the start is over.

        Parameters
        ----------
        gradients : sequence
            One entry a point of `ask`: per-sample gradients (n, d) with n >= 1, float32 or float64, dense or
            CSR; or `Moments`, or a tuple of its fields. Weightings but ``"dense"`` need the rows. Where only
            moments are known, or CSR rows weigh densely, a curvature by finite differences is that of the
            mean gradient, in `faithful` mode too.
        diag_hess : array, optional
            For ``curvature="bbprop"``: the diagonal Hessian at x, (d,) for the minibatch or (n, d) for each
            sample, in ``loss / x**2``. Faithful rules take absolute values.

        Raises
        ------
        TypeError, ValueError
            If a gradient has a wrong type, dtype or shape, or there are not as many as points; if
            ``diag_hess`` is missing or not needed.
        FloatingPointError
            If a gradient is not finite.

        In each case the run is as it was.
        """
        n_points = 2 if self.rule.curvature == "fd" and self.n_steps > 0 else 1
        if len(gradients) != n_points:
            remedy = "pass one for each point of ask()"
            raise ValueError(message("gradients", f"have {n_points} entries", len(gradients), remedy))
        if share_memory(gradients):
            must, remedy = "be in memory of their own", "copy the first before you compute the second"
            raise ValueError(message("gradients", must, "two that overlap", remedy))
        if (diag_hess is None) == (self.rule.curvature == "bbprop"):
            must = "be given" if diag_hess is None else "be None"
            remedy = "it goes with curvature='bbprop', as in the presets vsgd-l, -g and -b"
            got = None if diag_hess is None else "one"
            where = f"where curvature is {self.rule.curvature!r}"
            raise ValueError(message("diag_hess", f"{must} {where}", got, remedy))
        n_samples = self._learn(gradients, diag_hess)
        self.n_steps += 1
        self.n_samples += n_samples
        self.batch_size = n_samples

    def _learn(self, gradients: Sequence[Any], diag_hess: Any) -> int:
        """Check everything, then change the state. Returns the number of samples."""
        batch = self._checked(gradients, diag_hess)
        if self.n_steps < N_START:
            self._start(batch)
        else:
            self._step(batch)
        if self.step_scale.scale == 0 and self.rule.curvature == "fd":  # until now every gradient was 0
            self.step_scale = StepScale.first(self.x, self.state.g_avg)
        self.step_scale = self.step_scale.bounded(self.x.dtype)
        return batch.here.n_samples

    def _checked(self, gradients: Sequence[Any], diag_hess: Any) -> Minibatch:
        x, backend, step, probe = self.x, self.kernels, self.n_steps, None
        here = checked_moments("grad", gradients[0], x, backend, self._mean, self._mean_sq, step)
        if len(gradients) > 1:
            probe = checked_moments("probe grad", gradients[1], x, backend, self._probe_mean, None, step)
        if here.mean_sq is None and here.n_samples > 1:
            remedy = "pass the mean squared gradient too"
            raise ValueError(message("mean_sq", "be given for n_samples > 1", None, remedy))
        if probe is not None and probe.n_samples != here.n_samples:
            must, remedy = f"have {here.n_samples} samples", "evaluate every point on the same minibatch"
            raise ValueError(message("probe grad", must, probe.n_samples, remedy))
        rows = None
        if self.rule.weighting == "orthogonal" or self.rule.faithful:
            rows = self._rows(gradients)
        return Minibatch(here, probe, rows, self._told_curvature(diag_hess, here.n_samples))

    def _rows(self, gradients: Sequence[Any]) -> list[Array] | None:
        """Per-sample gradients, already checked, if that is what was told."""
        if not any(isinstance(gradient, tuple) or hasattr(gradient, "tocsr") for gradient in gradients):
            return [np.ascontiguousarray(gradient, self.x.dtype) for gradient in gradients]
        if self.rule.weighting == "orthogonal":
            remedy = "pass per-sample gradients, a dense array with one row per sample"
            raise ValueError(message("grad", "be an array for weighting='orthogonal'", "sums or CSR", remedy))
        return None

    def _told_curvature(self, diag_hess: Any, n_samples: int) -> tuple[Array, Array] | None:
        """Mean and mean square of what the user says the curvature is."""
        if diag_hess is None:
            return None
        curv = np.asarray(diag_hess)
        if curv.ndim == 2:
            curv = checked_rows("diag_hess", curv, self.x.size)
            if len(curv) != n_samples:
                must, remedy = f"have {n_samples} rows", "give one row per sample, or their mean (d,)"
                raise ValueError(message("diag_hess", must, len(curv), remedy))
        else:
            curv = float_array("diag_hess", curv, self.x.shape, finite=False)[np.newaxis]
        with np.errstate(over="ignore"):
            curv = curv.astype(self.x.dtype, copy=False)
        finite_squares("diag_hess", curv, self.n_steps)
        if self.rule.faithful:
            curv = np.abs(curv)
            return curv.mean(axis=0), (curv * curv).mean(axis=0)
        mean = curv.mean(axis=0)
        return mean, mean * mean

    def _curvature(self, batch: Minibatch) -> tuple[Array, Array]:
        """Mean and mean square of the curvature: as told, or by finite differences to the probe."""
        if batch.curvature is not None:
            return batch.curvature
        assert batch.probe is not None
        if self.rule.faithful and batch.rows is not None:
            curv, curv_sq = np.empty((2, self.x.size), self.x.dtype)
            rows, probe_rows = batch.rows
            self.kernels.curvature(rows, probe_rows, self.x, self._probe, curv, curv_sq)
            return curv, curv_sq
        delta, diff = self.x - self._probe, batch.here.mean - batch.probe.mean
        if self.blocks is not None:
            delta, diff = (np.sqrt(self.blocks.sum(values**2)) for values in (delta, diff))
        curv = reference.secant(diff, delta)
        curv = np.abs(curv) if self.rule.faithful else curv
        return curv, curv * curv

    def _start(self, batch: Minibatch) -> None:
        here = batch.here
        count = self.n_steps + 1 if batch.probe is None else self.n_steps
        if batch.probe is not None:
            self.ask()
        if count and (batch.probe is not None or batch.curvature is not None):
            start_average_curvature(self.state, *self._curvature(batch), count)
        if batch.probe is not None and self.step_scale.scale > 0:
            delta, diff = self.x - self._probe, here.mean - batch.probe.mean
            curvature = global_curvature(float(np.linalg.norm(delta)), float(np.linalg.norm(diff)))
            self.step_scale = self.step_scale.search(curvature)
        # last, as the probe was along g_avg
        start_average(self.state, here.mean, squares(here), self.n_steps + 1)
        if self.n_steps + 1 == N_START:
            end_start(self.state, overestimate(self.rule, self.x.size))
            if not self.rule.faithful:
                self.step_scale = self.step_scale.settle()

    def _step(self, batch: Minibatch) -> None:
        here, probe, rule = batch.here, batch.probe, self.rule
        n, limits, scale = here.n_samples, rule.limits(here.n_samples), self.step_scale.scale
        per_sample = rule.faithful and batch.rows is not None and n > 1
        if rule.curvature == "fd" and self.blocks is None and rule.weighting == "dense" and not per_sample:
            assert probe is not None
            grad_sq = here.mean_sq if n > 1 else None
            self._step_fd(here.mean, grad_sq, probe.mean, n, *limits, scale, rule.faithful)
            delta2, diff2, tau = map(float, self._sums.sum(axis=0))
            distance, difference = math.sqrt(delta2), math.sqrt(diff2)
        else:
            if probe is not None:
                self.ask()
                distance = float(np.linalg.norm(self.x - self._probe))
                difference = float(np.linalg.norm(here.mean - probe.mean))
            curv, curv_sq = self._curvature(batch)
            move, reinforcing = here.mean, float(n)
            if rule.weighting == "orthogonal":
                assert batch.rows is not None
                weights = orthogonal.weights(batch.rows[0])
                move = weights @ batch.rows[0]
                reinforcing = np.count_nonzero(weights) / (float(weights.sum()) or 1.0) or 1.0
            scalars = reinforcing, *limits, scale, rule.variant
            moments = here.mean, squares(here), curv, curv_sq, move
            if self.blocks is None:
                self.kernels.step(self._buffer, *moments, *scalars)
            else:
                shared.step(self.state, *moments, *scalars, self.blocks)
            tau = float(self.tau.sum(dtype=np.float64))
        if probe is not None and not rule.faithful:
            curvature = global_curvature(distance, difference)
            self.step_scale = self.step_scale.follow(curvature, distance, tau / self.x.size)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that a run needs to go on, as plain arrays, for example for ``np.savez``.

        Examples
        --------
        >>> import numpy as np, refsgd
        >>> run = refsgd.VSGD().start(np.ones(3))
        >>> run.tell([np.ones((2, 3))])
        >>> other = refsgd.VSGD().start(np.zeros(3))
        >>> other.load_state_dict(run.state_dict())
        >>> np.array_equal(other.state, run.state)
        True
        """
        return {
            "version": np.array(CHECKPOINT_VERSION),
            **self._rule_entries(),
            "counters": np.array([self.n_steps, self.n_samples, self.batch_size]),
            "step_scale": np.array(self.step_scale),
            **{name: array.copy() for name, array in self._arrays().items()},
        }

    def _rule_entries(self) -> dict[str, Array]:
        """What a saved run must have in common with this one."""
        entries = {name: np.array(value) for name, value in asdict(self.rule).items()}
        entries["outliers"] = np.array(math.inf if self.rule.outliers is None else self.rule.outliers)
        if self.blocks is not None:
            entries["blocks"] = self.blocks.lengths
        return entries

    def _arrays(self) -> dict[str, Array]:
        """What changes from step to step."""
        return self.state._asdict()

    def load_state_dict(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state_dict`, to the last bit.

        Raises
        ------
        ValueError
            If it is of another version, rule, dtype or number of parameters, or incomplete; the run is then
            as it was.
        """
        mine = self.state_dict()
        missing = mine.keys() - set(saved)
        if missing:
            raise ValueError(
                message(
                    "saved",
                    f"have the entries {sorted(mine)}",
                    f"none of {sorted(missing)}",
                    "save the whole",
                )
            )
        for name in ("version", *self._rule_entries()):
            if not np.array_equal(saved[name], mine[name]):
                raise ValueError(
                    message(
                        f"saved {name}",
                        f"be {mine[name]}",
                        saved[name],
                        "load it into a run of the same rule",
                    )
                )
        for name in (*self._arrays(), "counters", "step_scale"):
            have, want = np.asarray(saved[name]), mine[name]
            if (have.shape, have.dtype) != (want.shape, want.dtype):
                raise ValueError(
                    message(
                        f"saved {name}",
                        f"have shape {want.shape} and dtype {want.dtype}",
                        f"{have.shape} and {have.dtype}",
                        "load it into a run with the same number and dtype of parameters",
                    )
                )
        for name, array in self._arrays().items():
            array[:] = saved[name]
        self.n_steps, self.n_samples, self.batch_size = map(int, saved["counters"])
        self.step_scale = StepScale(*map(float, saved["step_scale"]))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle a run by its `state_dict`, as kernels and views hold on to its memory."""
        lengths = self.blocks.lengths if self.blocks is not None and self.rule.sharing == "blocks" else None
        return revived, (self.rule, self.x.copy(), lengths, self._backend, self.state_dict())


def revived(
    rule: VSGD, x: Array, blocks: Array | None, backend: str, saved: Mapping[str, NDArray[Any]]
) -> Run:
    """The run that was pickled."""
    run = rule.start(x, blocks=None if blocks is None else blocks.tolist(), backend=backend)
    run.load_state_dict(saved)
    return run


def overestimate(rule: VSGD, d: int) -> float:
    """How many times over g2_avg is taken after the start; [1]_ has d / 10, which is 5 to 10 times slower."""
    return max(1.0, d / 10) if rule.faithful else OVERESTIMATE
