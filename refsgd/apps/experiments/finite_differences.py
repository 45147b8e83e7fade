"""Finite differences where the second derivative says nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...models.problems import Problem
from ...sgd import VSGD, PublishedVSGD
from .claim import Claim, Verdict
from .driving import take_step

KINKS, SMOOTH = ("absolute", "rectified"), "quadratic"
BBPROP = "published bbprop"
RULES: dict[str, VSGD | PublishedVSGD] = {
    "default": VSGD(),
    "published fd": PublishedVSGD(),
    BBPROP: PublishedVSGD(curvature="bbprop"),
}
DIM, START = 20, 5.0


def left(name: str, rule: VSGD | PublishedVSGD, steps: int, seed: int) -> float:
    """The share of the expected loss above the least one that is left."""
    rng = np.random.default_rng(seed)
    problem = Problem(name, noise=0.5, dim=DIM)
    run = rule.start(np.full(DIM, START))
    second = np.full(DIM, 1.0 if name == SMOOTH else 0.0)  # the second derivative, where there is one
    told = {"diag_hess": second} if "diag_hess" in rule.requires else {}
    before = np.mean(problem.expected_loss(run.x) - problem.min_loss)
    for _ in range(steps):
        take_step(run, problem.grad, problem.sample(1, rng), **told)
    return float(np.mean(problem.expected_loss(run.x) - problem.min_loss) / before)


def measure(quick: bool) -> dict[str, Any]:
    steps, seeds = (500, 3) if quick else (2000, 10)
    return {
        f"{rule_name}, {name}": [left(name, rule, steps, seed) for seed in range(seeds)]
        for rule_name, rule in RULES.items()
        for name in (*KINKS, SMOOTH)
    }


def verdict(numbers: dict[str, Any]) -> Verdict:
    middle = {name: float(np.median(values)) for name, values in numbers.items()}
    without = min(middle[f"{BBPROP}, {name}"] for name in KINKS)
    parts = [f"left of the loss at kinks by the second derivative {without:.2g} (bar 0.9)"]
    holds = without > 0.9
    for rule in (name for name in RULES if name != BBPROP):
        kinks = {name: middle[f"{rule}, {name}"] for name in KINKS}
        smooth = middle[f"{rule}, {SMOOTH}"] / middle[f"{BBPROP}, {SMOOTH}"]
        holds = holds and max(kinks.values()) < 0.1 and smooth < 3
        shares = ", ".join(f"{name} {value:.2g}" for name, value in kinks.items())
        parts.append(
            f"{rule}: at kinks {shares} (bar 0.1); on the quadratic {smooth:.2f} times the loss (bar 3)"
        )
    return Verdict(holds, "; ".join(parts))


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    axes.barh(list(numbers), [max(float(np.median(values)), 1e-6) for values in numbers.values()])
    axes.invert_yaxis()
    axes.set(xlabel="share of the loss that is left", xscale="log")


CLAIM = Claim(
    "finite_differences",
    "Finite differences replace the diagonal Hessian where that is zero or wrong.",
    f"{DIM} noisy absolute and rectified linear functions, whose second derivative is 0, and quadratics, all "
    "online: the share of the expected loss above the least one that is left, by finite differences (the "
    "default rule and the published one) and by the second derivative.",
    measure,
    verdict,
    plot,
)
