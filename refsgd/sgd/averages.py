"""The running averages of the published rules: their layout in memory and their start."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .state import allocate

#: Minibatches that only fill the averages, at a fixed x, before the first step.
N_START = 10


class PublishedState(NamedTuple):
    """The parameters and their five running averages: views of one buffer, updated in place.

    Attributes
    ----------
    x, g_avg, g2_avg, h_avg, h2_avg, tau : (d,) arrays
        Parameters; averages of gradient, squared gradient, curvature (``loss / x**2``) and squared
        curvature; memory size in steps, at least 1.
    """

    x: NDArray[Any]
    g_avg: NDArray[Any]
    g2_avg: NDArray[Any]
    h_avg: NDArray[Any]
    h2_avg: NDArray[Any]
    tau: NDArray[Any]


def zeros(d: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], PublishedState]:
    """A zero buffer (6, width) for the kernels, and its rows as a `PublishedState`."""
    buffer = allocate(len(PublishedState._fields), d, dtype)
    return buffer, PublishedState(*buffer[:, :d])


def start_average(state: PublishedState, grad: NDArray[Any], grad_sq: NDArray[Any], step: int) -> None:
    """Plain mean of the gradients of the start: minibatch ``step`` = 1, 2, ..., `N_START`."""
    state.g_avg[:] += (grad - state.g_avg) / step
    state.g2_avg[:] += (grad_sq - state.g2_avg) / step


def start_average_curvature(
    state: PublishedState, curv: NDArray[Any], curv_sq: NDArray[Any], count: int
) -> None:
    """Plain mean of the curvatures of the start: number ``count`` = 1, 2, ..."""
    state.h_avg[:] += (curv - state.h_avg) / count
    state.h2_avg[:] += (curv_sq - state.h2_avg) / count


def end_start(state: PublishedState) -> None:
    """From means to running averages, with a memory of `N_START` steps and a careful g2_avg."""
    state.g2_avg[:] = overestimated(state.g2_avg, state.x.size)
    state.tau[:] = N_START


def overestimated(g2_avg: NDArray[Any], d: int) -> NDArray[Any]:
    """``g2_avg * max(1, d / 10)``, so that first steps are careful ([1]_, section 4).

    References
    ----------
    .. [1] Schaul, Zhang & LeCun, *No more pesky learning rates*, arXiv 1206.1106.
    """
    factor = max(1.0, d / 10)
    larger: NDArray[Any] = np.minimum(g2_avg, np.finfo(g2_avg.dtype).max / factor) * factor
    return larger
