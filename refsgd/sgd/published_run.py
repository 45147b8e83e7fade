"""A run of a published rule that its user drives with ask and tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _checkpoint, kernels
from .._config import BackendName, backend_name
from .._errors import message
from .._validation import float_array
from ..kernels import published_numpy
from ..kernels.contract import PublishedMoments, StepRule
from . import block_rates, orthogonal
from .averages import N_START, end_start, start_average, start_average_curvature, zeros
from .moments import Moments, checked_moments, checked_rows, finite_squares, sample_rows, squares
from .published_rule import PublishedRule
from .rates import rates
from .state import described, start_point

CHECKPOINT_VERSION = 3

Array = NDArray[Any]


class Minibatch(NamedTuple):
    """The validated gradients of a minibatch at one point."""

    moments: Moments
    rows: Array | None  # per-sample gradients, where they are used
    curvature: tuple[Array, Array] | None = None  # mean and mean square of a diagonal Hessian


class PublishedRun:
    """A run of `PublishedVSGD`, driven by its user, one point at a time.

    ``run.tell(grad(run.ask()))`` takes a step. Where curvature is by finite differences it leaves all
    minibatches but the first open (`is_open`): then `ask` gives the probe point, and `tell` of the gradient
    there, on the *same* samples, takes the step. The first 10 minibatches only fill the averages; x stays.

    Parameters
    ----------
    rule : PublishedVSGD
        The options. `PublishedVSGD.start` makes a run.
    x0 : (d,) array
        The first x, float32 or float64; the run copies it.
    blocks : sequence of int, optional
        Sizes of blocks of neighbouring parameters that share a rate, in order, for ``sharing="blocks"``.
    backend : {"auto", "c", "numba", "numpy"}, optional
        The kernels; by default as `refsgd.use_backend` says.

    Attributes
    ----------
    state : PublishedState
        Parameters and averages, views of the memory that a step changes.
    n_steps, n_samples : int
        Minibatches and samples learnt from so far.
    batch_size : int
        Samples of the latest minibatch, 1 before the first.

    See Also
    --------
    PublishedVSGD : the rule; its ``start`` makes a run.
    Run : the same for the default rule.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> run = refsgd.PublishedVSGD.preset("vsgd-l").start(np.array([3.0, -4.0]))
    >>> for _ in range(20):
    ...     run.tell(run.ask().copy(), diag_hess=np.ones(2))  # of |x|**2 / 2
    >>> run.n_steps, bool(np.abs(run.x).max() < 0.01)
    (20, True)
    """

    def __init__(
        self,
        rule: PublishedRule,
        x0: Array,
        *,
        blocks: Sequence[int] | None = None,
        backend: BackendName | None = None,
    ) -> None:
        x0 = start_point(x0)
        if (blocks is None) == (rule.sharing == "blocks"):
            must = "be given" if blocks is None else "be None"
            remedy = "they go with sharing='blocks': the number of parameters of each"
            raise ValueError(message("blocks", f"{must} where sharing is {rule.sharing!r}", blocks, remedy))
        self.rule = rule
        self._backend = kernels.resolve(backend_name(backend))
        self.kernels = kernels.load(self._backend)
        sizes = blocks if blocks is not None else [x0.size]
        self.blocks = None if rule.sharing == "element" else block_rates.Blocks.of(sizes, x0.size)
        self._buffer, self.state = zeros(x0.size, x0.dtype)
        self.state.x[:] = x0
        self.n_steps = 0
        self.n_samples = 0
        self._n_gradients = 0
        self.batch_size = 1
        self._open: Any = None  # a checked minibatch that waits for its gradient at the probe
        self._prepare()

    def __repr__(self) -> str:
        return described(self)

    def _prepare(self) -> None:
        """Allocate buffers used only with dense weighting."""
        self.state.tau[:] = 1
        self._probe = np.empty_like(self.x)
        self._mean, self._mean_sq, self._probe_mean = np.empty((3, self.x.size), self.x.dtype)

    @property
    def x(self) -> Array:
        """The parameters (d,): a view, which the next step changes."""
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
        return rates(self.state, self.batch_size, self.rule.variant, self.blocks)

    @property
    def is_open(self) -> bool:
        """Whether the run waits for the gradient of the same minibatch at the probe."""
        return self._open is not None

    @property
    def n_gradients(self) -> int:
        """Gradients of minibatches evaluated so far, those at probes included."""
        return self._n_gradients + self.is_open

    def ask(self) -> Array:
        """The point where `tell` wants a gradient: x, or the probe of the open minibatch.

        Returns
        -------
        (d,) array
            Valid until the next `tell`. Asking again gives the same point.
        """
        return self._probe_point() if self.is_open else self.x

    def close(self) -> None:
        """Drop the open minibatch, if there is one; the run is then as before it."""
        self._open = None

    def tell(self, gradient: Any, diag_hess: Any = None) -> None:
        """Learn from one minibatch, and take a step if the start is over; or keep the minibatch open.

        Parameters
        ----------
        gradient : array, CSR matrix, or tuple
            Per-sample gradients (n, d) with n >= 1, float32 or float64, dense or CSR; or the gradient (d,) of
            one sample; or `Moments`, or a tuple of its fields. Only ``"dense"`` weighting takes moments. From
            moments, and from CSR rows with dense weighting, finite differences give the curvature of the mean
            gradient.
        diag_hess : array, optional
            For ``curvature="bbprop"``: the diagonal Hessian at x, (d,) for the minibatch or (n, d) for each
            sample, in ``loss / x**2``; the run takes absolute values.

        Raises
        ------
        TypeError, ValueError
            If the gradient has a wrong type, dtype or shape, or is of other samples than that at x; if
            ``diag_hess`` is missing or not needed.
        FloatingPointError
            If the gradient is not finite.

        After each of these the run is as before, and still open if it was open.
        """
        if (diag_hess is None) == (self.rule.curvature == "bbprop"):
            must = "be given" if diag_hess is None else "be None"
            remedy = "it goes with curvature='bbprop', as in the presets vsgd-l, -g and -b"
            got = None if diag_hess is None else "one"
            where = f"where curvature is {self.rule.curvature!r}"
            raise ValueError(message("diag_hess", f"{must} {where}", got, remedy))
        with np.errstate(all="ignore"):  # what is not finite is found later
            minibatch, probe = self._open, None
            if minibatch is not None:
                probe = self._checked_probe(gradient, minibatch)
            else:
                minibatch = self._checked(gradient, diag_hess)
                if self.rule.curvature == "fd" and self.n_steps > 0:
                    self._open = self._held(minibatch)
                    return
            n_samples = self._learn(minibatch, probe)
        self._open = None
        self.n_steps += 1
        self.n_samples += n_samples
        self._n_gradients += 1 if probe is None else 2
        self.batch_size = n_samples

    def _probe_point(self) -> Array:
        self.kernels.published_probe(self._buffer, self._probe)
        return self._probe

    def _checked(self, gradient: Any, diag_hess: Any) -> Any:
        here = checked_moments(
            "grad", gradient, self.x, self.kernels, self._mean, self._mean_sq, self.n_steps
        )
        if here.mean_sq is None and here.n_samples > 1:
            remedy = "pass the mean squared gradient too"
            raise ValueError(message("mean_sq", "be given for n_samples > 1", None, remedy))
        rows = self._rows("grad", gradient, here.n_samples)
        return Minibatch(here, rows, self._given_curvature(diag_hess, here.n_samples))

    def _checked_probe(self, gradient: Any, here: Any) -> Any:
        """The validated gradient at the probe of the open minibatch ``here``."""
        name, n = "probe grad", here.moments.n_samples
        probe = checked_moments(name, gradient, self.x, self.kernels, self._probe_mean, None, self.n_steps)
        if probe.n_samples != n:
            must, remedy = f"have {n} samples", "evaluate every point on the same minibatch"
            raise ValueError(message(name, must, probe.n_samples, remedy))
        return Minibatch(probe, self._rows(name, gradient, n))

    def _held(self, minibatch: Any) -> Any:
        """A copy: a gradient function may write to the same array each time."""
        (n, mean, mean_sq), rows, _ = minibatch
        if mean is not self._mean:
            self._mean[:] = mean
        if mean_sq is not None and mean_sq is not self._mean_sq:
            self._mean_sq[:] = mean_sq
        moments = Moments(n, self._mean, None if mean_sq is None else self._mean_sq)
        return Minibatch(moments, None if rows is None else rows.copy())

    def _rows(self, name: str, gradient: Any, n_samples: int) -> Array | None:
        """Per-sample gradients, already checked, if there are any and the step uses them.

        The curvature of one sample is the curvature of the mean.
        """
        is_array = not (isinstance(gradient, tuple) or hasattr(gradient, "tocsr"))
        if self.rule.weighting == "orthogonal":
            if not is_array:
                must, got = "be an array for weighting='orthogonal'", "sums or CSR"
                remedy = "pass per-sample gradients, a dense array with one row per sample"
                raise ValueError(message(name, must, got, remedy))
        elif not is_array or n_samples == 1 or self.rule.curvature == "bbprop":
            return None
        return np.ascontiguousarray(sample_rows(name, gradient, self.x.size), self.x.dtype)

    def _given_curvature(self, diag_hess: Any, n_samples: int) -> tuple[Array, Array] | None:
        """Mean and mean square of the curvature that the user gave."""
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
        curv = curv.astype(self.x.dtype, copy=False)
        finite_squares("diag_hess", curv, self.n_steps)
        curv = np.abs(curv)
        return curv.mean(axis=0), (curv * curv).mean(axis=0)

    def _curvature(self, here: Minibatch, probe: Minibatch) -> tuple[Array, Array]:
        """Mean and mean square of the curvature by finite differences, of samples or else of their mean."""
        point = self._probe_point()
        if here.rows is not None and probe.rows is not None:
            curv, curv_sq = np.empty((2, self.x.size), self.x.dtype)
            self.kernels.curvature(here.rows, probe.rows, self.x, point, curv, curv_sq)
            return curv, curv_sq
        curv = np.abs(published_numpy.secant(here.moments.mean - probe.moments.mean, self.x - point))
        return curv, curv * curv

    def _learn(self, here: Any, probe: Any) -> int:
        """Learn from a checked minibatch; return the number of its samples."""
        if self.n_steps < N_START:
            self._start(here, probe)
        else:
            self._step(here, probe)
        return int(here.moments.n_samples)

    def _start(self, here: Minibatch, probe: Minibatch | None) -> None:
        step = self.n_steps + 1
        if here.curvature is not None:
            start_average_curvature(self.state, *here.curvature, step)
        elif probe is not None:  # from the second minibatch on
            start_average_curvature(self.state, *self._curvature(here, probe), step - 1)
        # last, as the probe was along g_avg
        start_average(self.state, here.moments.mean, squares(here.moments), step)
        if step == N_START:
            end_start(self.state)

    def _step(self, here: Minibatch, probe: Minibatch | None) -> None:
        (n, mean, mean_sq), limit = here.moments, self.rule.limit
        if probe is not None and here.rows is None:
            grad_sq = mean_sq if n > 1 else None
            self.kernels.published_step_fd(self._buffer, mean, grad_sq, probe.moments.mean, n, limit)
            return
        curvature = here.curvature if probe is None else self._curvature(here, probe)
        assert curvature is not None
        move, reinforcing = mean, float(n)
        if self.rule.weighting == "orthogonal":
            assert here.rows is not None
            weights = orthogonal.weights(here.rows)
            move = weights @ here.rows
            reinforcing = np.count_nonzero(weights) / (float(weights.sum()) or 1.0) or 1.0
        moments = PublishedMoments(mean, squares(here.moments), *curvature)
        if self.blocks is None:
            rule = StepRule(limit, self.rule.variant)
            self.kernels.published_step(self._buffer, moments, move, reinforcing, rule)
        else:
            block_rates.step(self.state, moments, move, reinforcing, limit, self.blocks)

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
        >>> run = refsgd.PublishedVSGD().start(np.ones(3))
        >>> run.tell(np.ones((2, 3)))
        >>> other = refsgd.PublishedVSGD().start(np.zeros(3))
        >>> other.load_state_dict(run.state_dict())
        >>> np.array_equal(other.state, run.state)
        True
        """
        return {
            "version": np.array(CHECKPOINT_VERSION),
            **self._rule_entries(),
            "counters": np.array([self.n_steps, self.n_samples, self._n_gradients, self.batch_size]),
            **{name: array.copy() for name, array in self._arrays().items()},
        }

    def _rule_entries(self) -> dict[str, Array]:
        """Entries of a state that must equal those of this run."""
        entries = {"rule": np.array(type(self.rule).__name__)}
        entries |= {name: np.array(value) for name, value in asdict(self.rule).items()}
        entries["outliers"] = np.array(math.inf if self.rule.outliers is None else self.rule.outliers)
        if self.blocks is not None:
            entries["blocks"] = self.blocks.lengths
        return entries

    def _arrays(self) -> dict[str, Array]:
        """The arrays that steps change."""
        return self.state._asdict()

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
        arrays = _checkpoint.load(state, self.state_dict(), ("version", *self._rule_entries()))
        for name, array in self._arrays().items():
            array[:] = arrays[name]
        self.n_steps, self.n_samples, self._n_gradients, self.batch_size = map(int, arrays["counters"])
        self._open = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle a run by its `state_dict`, as its views share memory."""
        lengths = self.blocks.lengths.tolist() if self.blocks and self.rule.sharing == "blocks" else None
        return _unpickle, (type(self), self.rule, self.x.copy(), lengths, self._backend, self.state_dict())


def _unpickle(
    run_type: type[PublishedRun],
    rule: PublishedRule,
    x: Array,
    blocks: list[int] | None,
    backend: BackendName,
    state: Mapping[str, NDArray[Any]],
) -> PublishedRun:
    """The run of a pickle."""
    run = run_type(rule, x, blocks=blocks, backend=backend)
    run.load_state_dict(state)
    return run
