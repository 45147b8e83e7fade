"""Counting the samples that touch a parameter, against counting all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...models.problems import Problem
from ...sgd import VSGD, PublishedVSGD
from .claim import Claim, Verdict
from .driving import take_step

RULES: dict[str, VSGD | PublishedVSGD] = {
    f"{name} {weighting}": rule(weighting=weighting)
    for name, rule in {"default": VSGD, "published": PublishedVSGD}.items()
    for weighting in ("dense", "sparse")
}
SPARSITIES = [0.5, 0.9, 0.98]
BATCH_SIZE, DIM, START = 10, 50, 5.0


def excess(rule: VSGD | PublishedVSGD, sparsity: float, steps: int, seed: int) -> float:
    """Mean expected loss above the least one, after some minibatches."""
    rng = np.random.default_rng(seed)
    problem = Problem("quadratic", noise=0.5, sparsity=sparsity, dim=DIM)
    run = rule.start(np.full(DIM, START))
    for _ in range(steps):
        take_step(run, problem.grad, problem.sample(BATCH_SIZE, rng))
    return float(np.mean(run.x**2) / 2)


def measure(quick: bool) -> dict[str, Any]:
    steps, seeds = (300, 2) if quick else (1000, 10)
    return {
        name: [[excess(rule, sparsity, steps, seed) for seed in range(seeds)] for sparsity in SPARSITIES]
        for name, rule in RULES.items()
    }


def verdict(numbers: dict[str, Any]) -> Verdict:
    parts, least = [], np.inf
    for rule in ("default", "published"):
        dense, sparse = (np.median(numbers[f"{rule} {w}"], axis=1) for w in ("dense", "sparse"))
        ratios = dense / sparse
        least = min(least, ratios[1:].min())
        parts.append(f"{rule}: {', '.join(f'{ratio:.3g}' for ratio in ratios)}")
    shares = ", ".join(f"{sparsity:g}" for sparsity in SPARSITIES)
    by = (
        f"loss with a global n over that with one of each element, at sparsities {shares}: {'; '.join(parts)}"
    )
    return Verdict(bool(least > 1), f"{by} (bar 1 from 0.9 on)")


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    for name, losses in numbers.items():
        axes.semilogy(SPARSITIES, np.median(losses, axis=1), marker="o", label=name)
    axes.set(xlabel="share of samples that do not touch a parameter", ylabel="loss above the least")
    axes.legend(frameon=False)


CLAIM = Claim(
    "sparse_weighting",
    "Element-wise sparse reweighting beats a global minibatch size.",
    f"{DIM} noisy quadratics whose gradients are 0 in a share {SPARSITIES} of the samples, minibatches of "
    f"{BATCH_SIZE}: expected loss above the least one, median over seeds, after the same minibatches.",
    measure,
    verdict,
    plot,
)
