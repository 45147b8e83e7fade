"""Reweighting by orthogonality, from gradients that agree to gradients that have nothing in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...sgd.orthogonal import weights
from .claim import Claim, Verdict

ALIGNMENTS = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]
N, DIM = 16, 64


def votes(alignment: float, seed: int) -> float:
    """The sum of the weights of N gradients that share this part of their squared length: 1 mean, N sum."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(DIM, N + 1)))[0].T
    rows = np.sqrt(alignment) * basis[0] + np.sqrt(1 - alignment) * basis[1:]
    return float(weights(rows * rng.lognormal(size=(N, 1))).sum())


def measure(quick: bool) -> dict[str, Any]:
    seeds = 5 if quick else 50
    return {"votes": [[votes(alignment, seed) for seed in range(seeds)] for alignment in ALIGNMENTS]}


def verdict(numbers: dict[str, Any]) -> Verdict:
    counted = np.array(numbers["votes"])
    middle = np.median(counted, axis=1)
    rounding = 1e-9
    ends = abs(counted[0] - N).max() < rounding and abs(counted[-1] - 1).max() < rounding
    between = counted.min() > 1 - rounding and counted.max() < N + rounding
    falls = bool((np.diff(middle) < 0).all())
    by = (
        f"{N} orthogonal gradients have {middle[0]:.6g} votes, half-aligned ones {middle[3]:.3g}, "
        f"aligned ones {middle[-1]:.6g}; least {counted.min():.6g}, most {counted.max():.6g} of all"
    )
    return Verdict(bool(ends and between and falls), by)


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    axes.plot(ALIGNMENTS, np.median(numbers["votes"], axis=1), marker="o", label="orthogonal weighting")
    axes.axhline(N, color="C1", linestyle=":", label="sum")
    axes.axhline(1, color="C2", linestyle=":", label="mean")
    axes.set(
        xlabel="shared part of the squared length", ylabel=f"sum of the weights of {N} samples", yscale="log"
    )
    axes.legend(frameon=False)


CLAIM = Claim(
    "orthogonal_weighting",
    "Orthogonal reweighting lies between the mean and the sum, and is either where it should be.",
    f"{N} gradients in {DIM} dimensions with random lengths, which share a part {ALIGNMENTS} of their "
    "squared length: the sum of their weights is that of a mean, 1, if aligned, that of a sum if "
    "orthogonal, and falls in between.",
    measure,
    verdict,
    plot,
)
