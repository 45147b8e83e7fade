"""The running averages of vSGD: their layout in memory, and how they begin."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .aligned import aligned_zeros

#: Minibatches that are only averaged, at a fixed x, before the first step.
N_START = 10

#: The mean square gradient is over-estimated by this factor after the start, so that first steps are careful.
OVERESTIMATE = 10.0


class State(NamedTuple):
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


def allocate(d: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], State]:
    """A zero buffer (6, width) for the kernels, and its rows as a `State`.

    Rows are a multiple of a page and 256 bytes long, so that the streams of a step do not alias in the cache,
    and begin with a cache line.
    """
    page, shift = 4096 // dtype.itemsize, 256 // dtype.itemsize
    width = -(-d // page) * page + shift
    buffer = aligned_zeros((len(State._fields), width), dtype)
    return buffer, State(*buffer[:, :d])


def start_average(state: State, grad: NDArray[Any], grad_sq: NDArray[Any], step: int) -> None:
    """Plain mean of the gradients of the start: minibatch ``step`` = 1, 2, ..., `N_START`."""
    state.g_avg[:] += (grad - state.g_avg) / step
    state.g2_avg[:] += (grad_sq - state.g2_avg) / step


def start_average_curvature(state: State, curv: NDArray[Any], curv_sq: NDArray[Any], count: int) -> None:
    """Plain mean of the curvatures of the start, of which this is number ``count`` = 1, 2, ..."""
    state.h_avg[:] += (curv - state.h_avg) / count
    state.h2_avg[:] += (curv_sq - state.h2_avg) / count


def end_start(state: State, overestimate: float) -> None:
    """From means to running averages: a memory of `N_START` steps, and a careful g2_avg ([1]_, section 4).

    References
    ----------
    .. [1] Schaul, Zhang & LeCun, *No more pesky learning rates*, arXiv 1206.1106.
    """
    largest = np.finfo(state.x.dtype).max
    state.g2_avg[:] = np.minimum(state.g2_avg, largest / overestimate) * overestimate
    state.tau[:] = N_START
