"""Learning rates of the published rules, computed from the running averages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import published_numpy
from ..kernels.contract import FD
from . import block_rates
from .averages import PublishedState


def rates(
    state: PublishedState, n_samples: float, variant: int, blocks: block_rates.Blocks | None
) -> NDArray[Any]:
    """Rates (d,) in units ``x**2 / loss`` for a minibatch of ``n_samples`` samples ([1]_, algorithm 1).

    A parameter whose start is not over has rate 0.

    References
    ----------
    .. [1] Schaul & LeCun, arXiv 1301.3764.
    """
    if blocks is not None:
        return block_rates.rates(state, n_samples, blocks)
    rho = published_numpy.signal_share(state.g_avg, state.g2_avg, n_samples)
    if variant == FD:
        rate = published_numpy.fd_rates(state.h_avg, state.h2_avg, rho)
    else:
        rate = published_numpy.bbprop_rates(state.h_avg, rho)
    return np.where(state.tau > 0, rate, 0)
