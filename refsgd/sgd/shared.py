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
from ..kernels import reference
from ..kernels.contract import DEFAULT
from .averages import State

Array = NDArray[Any]


class Blocks(NamedTuple):
    """Neighbouring parameters that share a rate: how many each block has, and where it begins."""

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


def rates(state: State, scale: Any, n: float, variant: int, blocks: Blocks) -> Array:
    """The rate (d,) of each parameter's block; for vSGD-g ``sum(g_avg**2) / (max(h_avg) sum(g2_avg))``.

    The default takes the largest of the cautious curvatures of `refsgd.kernels.reference.robust_rates`.
    """
    norm, norm2 = np.sqrt(blocks.sum(state.g_avg**2)), blocks.sum(state.g2_avg)
    rho = reference.signal_share(norm, norm2, n)
    if variant != DEFAULT:
        return reference.faithful_bbprop_rates(blocks.largest(state.h_avg), rho)
    tau_inv = 1 / state.tau
    curv2 = state.h_avg**2 + reference.variance(state.h2_avg, state.h_avg) * tau_inv
    curv2 = blocks.largest(curv2)
    return reference.robust_rates(np.sqrt(curv2), curv2, tau_inv, rho, scale)


@np.errstate(over="ignore", invalid="ignore")
def step(
    state: State,
    grad: Array,
    grad_sq: Array,
    curv: Array,
    curv_sq: Array,
    move: Array,
    n: float,
    limit_grad: float,
    limit_curv: float,
    scale: float,
    variant: int,
    blocks: Blocks,
) -> None:
    """`refsgd.kernels.contract.Step` with one memory and one rate a block."""
    x, g_avg, g2_avg, h_avg, h2_avg, tau = state
    far_grad = blocks.sum((grad - g_avg) ** 2) > limit_grad * blocks.sum(reference.variance(g2_avg, g_avg))
    far_curv = blocks.sum((curv - h_avg) ** 2) > limit_curv * blocks.sum(reference.variance(h2_avg, h_avg))
    tau += far_grad | far_curv

    tau_inv = 1 / tau
    g_avg += tau_inv * (grad - g_avg)
    g2_avg += tau_inv * (grad_sq - g2_avg)
    h_avg += tau_inv * (curv - h_avg)
    h2_avg += tau_inv * (curv_sq - h2_avg)

    moved = x - rates(state, x.dtype.type(scale), n, variant, blocks) * move
    norm, norm2 = np.sqrt(blocks.sum(g_avg**2)), blocks.sum(g2_avg)
    forget = reference.signal_share(norm, norm2, n if variant == DEFAULT else 1)
    tau[:] = np.maximum((1 - forget) * tau + 1, 1)
    x[:] = np.where(np.isfinite(moved), moved, x)  # a step that would overflow is not taken
