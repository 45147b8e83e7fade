"""Learning rates read off the running averages: what a step multiplies the gradient with."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..kernels import reference
from .averages import State
from .curvature import StepScale


def rates(state: State, step_scale: StepScale, n_samples: int, faithful: bool) -> NDArray[Any]:
    """Rates (d,) in units ``x**2 / loss`` for a minibatch of ``n_samples`` samples ([1]_, algorithm 1).

    The default departs from the paper as `refsgd.kernels.reference.robust_rates` says.

    References
    ----------
    .. [1] Schaul & LeCun, arXiv 1301.3764.
    """
    rho = reference.signal_share(state.g_avg, state.g2_avg, n_samples)
    if faithful:
        return reference.faithful_rates(state.h_avg, state.h2_avg, rho)
    scale = state.x.dtype.type(step_scale.scale)
    return reference.robust_rates(state.h_avg, state.h2_avg, 1 / state.tau, rho, scale)
