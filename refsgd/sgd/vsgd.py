"""vSGD: the rule, and a run of it that the user drives with ask and tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from .._config import backend_name
from .._errors import message
from .._validation import float_array
from ..kernels import reference
from ..kernels.contract import n_blocks
from .averages import (
    N_START,
    OVERESTIMATE,
    State,
    allocate,
    end_start,
    start_average,
    start_average_curvature,
)
from .curvature import PUBLISHED_SCALE, StepScale, global_curvature
from .moments import Moments, checked_moments, share_memory, squares
from .rates import rates

CHECKPOINT_VERSION = 1


@dataclass(frozen=True)
class VSGD:
    """Stochastic gradient descent that sets its own rate for each parameter (vSGD-fd).

    From running averages of gradient, squared gradient and finite-difference curvature, each parameter's
    rate follows as the one that should reduce the expected loss most ([2]_, algorithm 1). There is nothing
    to tune, and the cost of a step is linear in the number of parameters.

    Parameters
    ----------
    outliers : float or None, default 2.0
        A gradient or curvature farther than this many standard deviations from its average lengthens the
        memory by one step, so that it does little harm. None switches this off.
    faithful : bool, default False
        Follow the algorithm as printed in [2]_. The default departs from it where the printed rule is slow
        or fails (docs/departures.md): curvature is that of the minibatch mean, with its sign; the probe goes
        along descent, on the scale of a step; rates fall as the 3/4th power of the share of signal; outliers
        are judged by the variance of the minibatch mean.

    References
    ----------
    .. [1] Schaul, Zhang & LeCun, *No more pesky learning rates*, arXiv 1206.1106.
    .. [2] Schaul & LeCun, *Adaptive learning rates and parallelization for stochastic, sparse, non-smooth
       gradients*, arXiv 1301.3764.

    Examples
    --------
    A noisy quadratic: the samples are the noise, and the run drives itself.

    >>> import numpy as np, refsgd
    >>> rng = np.random.default_rng(0)
    >>> run = refsgd.VSGD().start(np.array([10.0, -10.0]))
    >>> for _ in range(500):
    ...     samples = rng.normal(size=(4, 2))
    ...     points = run.ask()
    ...     run.tell([point - samples for point in points])  # gradients of |point - sample|**2 / 2
    >>> bool(np.abs(run.x).max() < 0.1)
    True
    """

    outliers: float | None = 2.0
    faithful: bool = False

    def __post_init__(self) -> None:
        if self.outliers is not None and not (math.isfinite(self.outliers) and self.outliers > 0):
            raise ValueError(
                message(
                    "outliers",
                    "be a positive number of standard deviations, or None",
                    self.outliers,
                    "keep the published 2.0, or pass None to switch detection off",
                )
            )

    def start(self, x0: NDArray[Any], *, backend: str | None = None) -> Run:
        """Begin a run at ``x0`` (d,), float32 or float64, which is copied.

        Raises
        ------
        TypeError, ValueError
            If ``x0`` has another dtype or shape, or an entry that is not finite.
        BackendError
            If the backend asked for is not available.
        """
        return Run(self, x0, backend=backend)

    def __call__(self, fun: Any, x0: NDArray[Any], args: tuple[Any, ...] = (), **options: Any) -> Any:
        """Be the ``method`` of `scipy.optimize.minimize`: see `refsgd.sgd.scipy_door`."""
        from .scipy_door import solve

        return solve(self, fun, x0, args, **options)

    def limits(self, n_samples: int) -> tuple[float, float]:
        """Outlier limits for gradient and curvature: what a variance is multiplied with.

        By default the gradient's is that of a mean of ``n_samples``; [2]_ has the variance of one sample.
        The curvature is already that of the mean.
        """
        square = math.inf if self.outliers is None else self.outliers**2
        return (square if self.faithful else square / n_samples), square


class Run:
    """A run of `VSGD`, driven by its user: ``points = run.ask()``, then ``run.tell(gradients)``.

    `ask` gives the points at which gradients are wanted, all on the *same* samples: x, and from the second
    minibatch on a probe near it. `tell` takes one value a point: per-sample gradients (n, d), or `Moments`,
    or a plain tuple of the fields of Moments. The first 10 minibatches only fill the averages; x stays.

    Attributes
    ----------
    x : (d,) array
        The parameters: a view, which the next `tell` changes.
    state : State
        Parameters and averages, views likewise.
    n_steps, n_samples : int
        Minibatches and samples told so far.
    """

    def __init__(self, rule: VSGD, x0: NDArray[Any], *, backend: str | None = None) -> None:
        x0 = float_array("x0", x0, ("d",), remedy="pass one flat vector of parameters")
        if x0.size == 0:
            raise ValueError(message("x0", "have at least one parameter", x0.shape, "pass a longer vector"))
        self.rule = rule
        self.kernels = kernels.load(backend_name(backend))
        self._buffer, self.state = allocate(x0.size, x0.dtype)
        self.state.x[:] = x0
        self.state.tau[:] = 1
        self.n_steps = 0
        self.n_samples = 0
        self.batch_size = 1
        self.step_scale = StepScale(PUBLISHED_SCALE if rule.faithful else 0.0)
        self._probe = np.empty_like(self.state.x)
        self._scratch = np.empty((4, x0.size), x0.dtype)  # mean, mean_sq, and those of the curvature
        self._sums = np.empty((n_blocks(x0.size), 3))

    @property
    def x(self) -> NDArray[Any]:
        return self.state.x

    @property
    def tau(self) -> NDArray[Any]:
        """Memory sizes (d,) in steps, a view."""
        return self.state.tau

    @property
    def rates(self) -> NDArray[Any]:
        """Rates (d,) in ``x**2 / loss`` that the averages give for a minibatch of the last size."""
        if self.n_steps < N_START:
            return np.zeros_like(self.x)
        return rates(self.state, self.step_scale, self.batch_size, self.rule.faithful)

    def ask(self) -> list[NDArray[Any]]:
        """The points (d,) at which `tell` wants gradients on one and the same minibatch.

        They are only valid until then. Asking again gives the same points.
        """
        if self.n_steps == 0:
            return [self.x]
        self.kernels.probe(self._buffer, self.step_scale.scale, self._probe)
        return [self.x, self._probe]

    def tell(self, gradients: Sequence[Any]) -> None:
        """Learn from one minibatch, and take a step if the start is over.

        Parameters
        ----------
        gradients : sequence
            One entry a point of `ask`: per-sample gradients (n, d) with n >= 1, float32 or float64; or
            `Moments`, or a tuple of its fields. With moments the curvature is that of the mean gradient,
            in `faithful` mode too.

        Raises
        ------
        TypeError, ValueError
            If a gradient has a wrong type, dtype or shape, or there are not as many as points.
        FloatingPointError
            If a gradient is not finite.

        In either case the run is as it was.
        """
        n_points = 1 if self.n_steps == 0 else 2
        if len(gradients) != n_points:
            raise ValueError(
                message(
                    "gradients",
                    f"have {n_points} entries",
                    len(gradients),
                    "pass one for each point of ask()",
                )
            )
        if share_memory(gradients):
            must, remedy = "be in memory of their own", "copy the first before you compute the second"
            raise ValueError(message("gradients", must, "two that overlap", remedy))
        here = self._moments("grad", gradients[0], self._scratch[:2])
        if here.mean_sq is None and here.n_samples > 1:
            raise ValueError(
                message("mean_sq", "be given for n_samples > 1", None, "pass the mean squared gradient too")
            )
        probe = self._moments("probe grad", gradients[1], self._scratch[2:]) if n_points == 2 else None
        if probe is not None and probe.n_samples != here.n_samples:
            raise ValueError(
                message(
                    "probe grad",
                    f"have {here.n_samples} samples",
                    probe.n_samples,
                    "evaluate every point on the same minibatch",
                )
            )
        rows = self._rows(gradients) if self.rule.faithful and probe is not None else None

        if self.n_steps < N_START:
            self._start(here, probe, rows)
        else:
            assert probe is not None
            self._step(here, probe, rows)
        if self.step_scale.scale == 0:  # until now every gradient was 0
            self.step_scale = StepScale.first(self.x, self.state.g_avg)
        self.step_scale = self.step_scale.bounded(self.x.dtype)
        self.n_steps += 1
        self.n_samples += here.n_samples
        self.batch_size = here.n_samples

    def _start(self, here: Moments, probe: Moments | None, rows: list[NDArray[Any]] | None) -> None:
        step = self.n_steps + 1
        if probe is not None:
            delta, diff = self.x - self.ask()[1], here.mean - probe.mean
            if rows is not None:
                curv, curv_sq = self._per_sample_curvature(rows)
            else:
                curv = reference.secant(diff, delta)
                curv, curv_sq = (np.abs(curv) if self.rule.faithful else curv), curv * curv
            start_average_curvature(self.state, curv, curv_sq, self.n_steps)
            if self.step_scale.scale > 0:
                curvature = global_curvature(float(np.linalg.norm(delta)), float(np.linalg.norm(diff)))
                self.step_scale = self.step_scale.search(curvature, self.n_steps)
        start_average(self.state, here.mean, squares(here), step)  # last: the probe was along g_avg
        if step == N_START:
            # [1] suggests d / 10 for the over-estimate, with which the start is 5 to 10 times as slow
            end_start(self.state, max(1.0, self.x.size / 10) if self.rule.faithful else OVERESTIMATE)
            if not self.rule.faithful:
                self.step_scale = self.step_scale.settle()

    def _per_sample_curvature(self, rows: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and mean square of the absolute curvatures of the samples, at the probe."""
        curv, curv_sq = self._scratch[2:]
        self.kernels.curvature(rows[0], rows[1], self.x, self.ask()[1], curv, curv_sq)
        return curv, curv_sq

    def _step(self, here: Moments, probe: Moments, rows: list[NDArray[Any]] | None) -> None:
        scalars = (
            here.n_samples,
            *self.rule.limits(here.n_samples),
            self.step_scale.scale,
            self.rule.faithful,
        )
        if rows is not None and here.n_samples > 1:
            curv, curv_sq = self._per_sample_curvature(rows)
            self.kernels.step(self._buffer, here.mean, squares(here), curv, curv_sq, *scalars)
            return
        grad_sq = here.mean_sq if here.n_samples > 1 else None
        self.kernels.step_fd(self._buffer, here.mean, grad_sq, probe.mean, *scalars, self._sums)
        if not self.rule.faithful:
            delta2, diff2, tau = map(float, self._sums.sum(axis=0))
            distance, difference = math.sqrt(delta2), math.sqrt(diff2)
            curvature = global_curvature(distance, difference)
            self.step_scale = self.step_scale.follow(curvature, distance, tau / self.x.size)

    def _rows(self, gradients: Sequence[Any]) -> list[NDArray[Any]] | None:
        """Both gradients as per-sample rows, or None where one came as moments."""
        if any(isinstance(gradient, tuple) for gradient in gradients):
            return None
        return [np.ascontiguousarray(gradient, dtype=self.x.dtype) for gradient in gradients]

    def _moments(self, name: str, gradient: Any, out: NDArray[Any]) -> Moments:
        return checked_moments(name, gradient, self.x, self.kernels, out, self.n_steps)

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
            "faithful": np.array(self.rule.faithful),
            "outliers": np.array(math.inf if self.rule.outliers is None else self.rule.outliers),
            "counters": np.array([self.n_steps, self.n_samples, self.batch_size]),
            "step_scale": np.array(self.step_scale),
            **{name: array.copy() for name, array in self.state._asdict().items()},
        }

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
        for name in ("version", "faithful", "outliers"):
            if saved[name] != mine[name]:
                raise ValueError(
                    message(
                        f"saved {name}",
                        f"be {mine[name]}",
                        saved[name],
                        "load it into a run of the same rule",
                    )
                )
        for name in (*State._fields, "counters", "step_scale"):
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
        for name, array in self.state._asdict().items():
            array[:] = saved[name]
        self.n_steps, self.n_samples, self.batch_size = map(int, saved["counters"])
        self.step_scale = StepScale(*map(float, saved["step_scale"]))


#: Rules by name.
PRESETS = {"vsgd-fd": VSGD()}
