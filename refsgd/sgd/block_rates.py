"""One rate for many parameters: vSGD-g for all of them, vSGD-b for each block ([1]_, section 4.2).

A block counts as one parameter: its gradient is the norm of its gradients, its curvature the largest of its
curvatures. Averages stay those of single parameters; memory and rate are the block's. Plain NumPy serves
every backend: these are the rules to compare with, and no loop of them is hot.

References
----------
.. [1] Schaul, Zhang & LeCun, *No more pesky learning rates*, arXiv 1206.1106.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from .._validation import integer
from ..kernels import published_numpy
from ..kernels.contract import PublishedMoments
from .averages import PublishedState

Array = NDArray[Any]


class Blocks(NamedTuple):
    """Neighbouring parameters that share a rate: the length and the start of each block."""

    lengths: Array
    starts: Array

    @classmethod
    def of(cls, lengths: Sequence[int], d: int) -> Blocks:
        """Checked lengths that add up to ``d``."""
        sizes = [integer("each of blocks", length, minimum=1) for length in lengths]
        if sum(sizes) != d:
            remedy = "give the number of parameters of each block, in order"
            raise ValueError(message("blocks", f"add up to {d} parameters", sum(sizes), remedy))
        return cls(np.array(sizes), np.cumsum([0, *sizes[:-1]]))

    def sum(self, values: Array) -> Array:
        """The sum over each block, at each of its parameters."""
        sums = np.add.reduceat(values, self.starts, dtype=np.float64).astype(values.dtype)
        return np.repeat(sums, self.lengths)

    def largest(self, values: Array) -> Array:
        return np.repeat(np.maximum.reduceat(values, self.starts), self.lengths)


def rates(state: PublishedState, n: float, blocks: Blocks) -> Array:
    """The rate (d,) of each parameter's block; for vSGD-g ``sum(g_avg**2) / (max(h_avg) sum(g2_avg))``."""
    norm, norm2 = np.sqrt(blocks.sum(state.g_avg**2)), blocks.sum(state.g2_avg)
    rho = published_numpy.signal_share(norm, norm2, n)
    return published_numpy.bbprop_rates(blocks.largest(state.h_avg), rho)


@np.errstate(over="ignore", invalid="ignore")
def step(
    state: PublishedState, moments: PublishedMoments, move: Array, n: float, limit: float, blocks: Blocks
) -> None:
    """`refsgd.kernels.contract.PublishedStep` with one memory and one rate per block."""
    grad, grad_sq, curv, curv_sq = moments
    x, g_avg, g2_avg, h_avg, h2_avg, tau = state
    far_grad = blocks.sum((grad - g_avg) ** 2) > limit * blocks.sum(published_numpy.variance(g2_avg, g_avg))
    far_curv = blocks.sum((curv - h_avg) ** 2) > limit * blocks.sum(published_numpy.variance(h2_avg, h_avg))
    tau += far_grad | far_curv

    tau_inv = 1 / tau
    g_avg += tau_inv * (grad - g_avg)
    g2_avg += tau_inv * (grad_sq - g2_avg)
    h_avg += tau_inv * (curv - h_avg)
    h2_avg += tau_inv * (curv_sq - h2_avg)

    moved = x - rates(state, n, blocks) * move
    norm, norm2 = np.sqrt(blocks.sum(g_avg**2)), blocks.sum(g2_avg)
    forget = published_numpy.signal_share(norm, norm2, 1)  # as if each minibatch were one sample
    tau[:] = np.maximum((1 - forget) * tau + 1, 1)
    x[:] = np.where(np.isfinite(moved), moved, x)  # a step that would overflow is not taken
