"""Learning rates read off the running averages: what a step multiplies the gradient with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import reference
from ..kernels.contract import DEFAULT, FAITHFUL_FD
from . import shared
from .averages import State


def rates(
    state: State, scale: float, n_samples: float, variant: int, blocks: shared.Blocks | None
) -> NDArray[Any]:
    """Rates (d,) in units ``x**2 / loss`` for a minibatch of ``n_samples`` samples ([1]_, algorithm 1).

    The default departs from the paper as `refsgd.kernels.reference.robust_rates` says. A parameter whose
    start is not over has rate 0.

    References
    ----------
    .. [1] Schaul & LeCun, arXiv 1301.3764.
    """
    scale = state.x.dtype.type(scale)
    if blocks is not None:
        return shared.rates(state, scale, n_samples, variant, blocks)
    rho = reference.signal_share(state.g_avg, state.g2_avg, n_samples)
    has_started = state.tau > 0
    if variant == DEFAULT:
        tau_inv = 1 / np.where(has_started, state.tau, 1)
        rate = reference.robust_rates(state.h_avg, state.h2_avg, tau_inv, rho, scale)
    elif variant == FAITHFUL_FD:
        rate = reference.faithful_rates(state.h_avg, state.h2_avg, rho)
    else:
        rate = reference.faithful_bbprop_rates(state.h_avg, rho)
    return np.where(has_started, rate, 0)
