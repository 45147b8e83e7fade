"""Finite differences where the second derivative says nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models.problems import Problem
from ..sgd import VSGD
from .claims import Claim, Verdict

KINKS, SMOOTH = ("absolute", "rectified"), "quadratic"
DIM, START = 20, 5.0


def left(name: str, curvature: str, faithful: bool, steps: int, seed: int) -> float:
    """The share of the expected loss above the least one that is left."""
    rng = np.random.default_rng(seed)
    problem = Problem(name, noise=0.5, dim=DIM)
    run = VSGD(curvature=curvature, faithful=faithful).start(np.full(DIM, START))
    second = np.full(DIM, 1.0 if name == SMOOTH else 0.0)  # the second derivative, where there is one
    before = np.mean(problem.expected_loss(run.x) - problem.min_loss)
    for _ in range(steps):
        samples = problem.sample(1, rng)
        gradients = [problem.grad(point, samples) for point in run.ask()]
        run.tell(gradients, second if curvature == "bbprop" else None)
    return float(np.mean(problem.expected_loss(run.x) - problem.min_loss) / before)


def measure(quick: bool) -> dict[str, Any]:
    steps, seeds = (500, 3) if quick else (2000, 10)
    return {
        f"{rule} {name} {curvature}": [
            left(name, curvature, rule == "published", steps, seed) for seed in range(seeds)
        ]
        for rule in ("default", "published")
        for name in (*KINKS, SMOOTH)
        for curvature in ("fd", "bbprop")
    }


def verdict(numbers: dict[str, Any]) -> Verdict:
    middle = {name: float(np.median(values)) for name, values in numbers.items()}
    parts, holds = [], True
    for rule in ("default", "published"):
        kinks = {name: middle[f"{rule} {name} fd"] for name in KINKS}
        without = min(middle[f"{rule} {name} bbprop"] for name in KINKS)
        smooth = middle[f"{rule} {SMOOTH} fd"] / middle[f"{rule} {SMOOTH} bbprop"]
        holds = holds and max(kinks.values()) < 0.1 and without > 0.9 and smooth < 3
        shares = ", ".join(f"{name} {value:.2g}" for name, value in kinks.items())
        parts.append(
            f"{rule}: left of the loss at kinks {shares} (bar 0.1) against {without:.2g} by the second "
            f"derivative; on the quadratic {smooth:.2f} times the loss (bar 3)"
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
    "online: the share of the expected loss above the least one that is left, by finite differences and by "
    "the second derivative.",
    measure,
    verdict,
    plot,
)
