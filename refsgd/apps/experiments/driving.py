"""The loop body of an experiment that drives a run itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def take_step(run: Any, grad: Callable[..., Any], *batch: Any, **told: Any) -> Any:
    """Evaluate ``grad(x, *batch)`` at each point that the run asks for, until the minibatch is done.

    ``told`` is what the first `tell` gets besides the gradient, such as ``diag_hess``. Returns the gradient
    at x, before the step.
    """
    gradient = grad(run.ask(), *batch)
    run.tell(gradient, **told)
    if run.is_open:
        run.tell(grad(run.ask(), *batch))
    return gradient
