"""A run together with its minibatches and its gradient function."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from .interrupts import Interrupts
from .sampler import Minibatches
from .stopping import Progress


class AnyRun(Progress, Protocol):
    """What `minimize` needs of a run, and `iterate` gives: `refsgd.Run`, or any other with its methods."""

    @property
    def rates(self) -> NDArray[Any]: ...
    @property
    def n_gradients(self) -> int: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def tell(self) -> Callable[..., None]: ...
    def ask(self) -> NDArray[Any]: ...
    def state_dict(self) -> dict[str, NDArray[Any]]: ...
    def load_state_dict(self, state: Mapping[str, NDArray[Any]], /) -> None: ...


class AnyRule(Protocol):
    """What `minimize` needs of a rule: `refsgd.VSGD`, `refsgd.PublishedVSGD`, a baseline, or your own."""

    @property
    def requires(self) -> tuple[str, ...]: ...
    @property
    def start(self) -> Callable[..., AnyRun]: ...


class Driver:
    """What `minimize` and `iterate` do step by step.

    ``grad(x, *batch)`` and ``diag_hess(x, *batch)`` are those of `minimize`.

    Attributes
    ----------
    interrupts : Interrupts
        Holds Ctrl-C back while the run changes.
    mean_grad : (d,) array or None
        The mean gradient at x of the last minibatch, with ``keeps_gradients``; this excludes compiled loops.
    """

    def __init__(
        self,
        run: AnyRun,
        batches: Minibatches,
        grad: Callable[..., Any],
        diag_hess: Callable[..., Any] | None = None,
        *,
        keeps_gradients: bool = False,
    ) -> None:
        if not callable(grad):
            raise TypeError(message("grad", "be callable", repr(grad), "pass a function grad(x, *batch)"))
        self.run, self.batches = run, batches
        self.interrupts = Interrupts()
        self.mean_grad: NDArray[Any] | None = None
        self._grad, self._diag_hess = grad, diag_hess
        self._keeps_gradients = keeps_gradients
        self._loop: Callable[[Minibatches, float], int] | None = None
        if "numba" in sys.modules:  # else grad cannot be compiled by it
            from . import compiled

            if compiled.is_for_one_sample(grad, len(batches.arrays)):
                kernel = compiled.SampleGradient(grad, run.x, batches.arrays)
                self._grad = kernel.rows
                self._loop = None if keeps_gradients else kernel.loop_for(run)

    def step(self, max_steps: float) -> int:
        """Do one step, or without Python up to ``max_steps``; return the number of steps done."""
        done = 0
        if self._loop is not None:
            with self.interrupts:
                done = self._loop(self.batches, max_steps)
        if done:
            return done
        batch = self.batches.at(self.run.n_steps)
        gradient = self._grad(self.run.ask(), *batch)
        diag_hess = {} if self._diag_hess is None else {"diag_hess": self._diag_hess(self.run.x, *batch)}
        kept = mean_gradient(gradient) if self._keeps_gradients else None
        with self.interrupts:
            self.run.tell(gradient, **diag_hess)
        if self.run.is_open:
            gradient = self._grad(self.run.ask(), *batch)
            with self.interrupts:
                self.run.tell(gradient)
        self.mean_grad = kept
        return 1

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What ``resume`` takes."""
        return {**self.run.state_dict(), **self.batches.state_dict()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a `state_dict`."""
        self.batches.load_state_dict(state)
        self.run.load_state_dict(state)


def step_budget(
    epochs: int | None, max_iter: int | None, batches: Minibatches, *, is_endless: bool = False
) -> float:
    """The number of steps to do: inf if only a criterion ends them, one epoch by default.

    Raises
    ------
    ValueError
        If nothing can end the run, or epochs are asked for without data.
    """
    has_data = bool(batches.arrays)
    if not has_data and epochs is not None:
        raise ValueError(message("epochs", "be None where args is empty", epochs, "pass max_iter"))
    if not has_data and max_iter is None and not is_endless:
        must, remedy = "be given where args is empty", "pass max_iter=1000 or so, or data in args"
        raise ValueError(message("max_iter", must, None, remedy))
    if epochs is None and max_iter is None and not is_endless:
        epochs = 1
    return min(max_iter or math.inf, epochs * batches.steps_per_epoch if epochs else math.inf)


def mean_gradient(gradient: Any) -> NDArray[Any]:
    """The mean (d,) of the gradient that a function returned: rows, dense or sparse, or moments."""
    if isinstance(gradient, tuple):
        return np.array(gradient[1])
    if hasattr(gradient, "tocsr"):
        return np.asarray(gradient.mean(axis=0)).ravel()
    array = np.asarray(gradient)
    mean: NDArray[Any] = array.copy() if array.ndim == 1 else array.mean(axis=0)
    return mean
