"""Rare samples far away, with and without detection."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models.problems import Problem
from ..sgd import VSGD
from .claims import Claim, Verdict

SHARE, DIM, START = 0.01, 100, 5.0
CASES = {
    "no outliers": (2.0, 0.0),
    "with detection": (2.0, SHARE),
    "without detection": (None, SHARE),
}


def excess(faithful: bool, limit: float | None, share: float, steps: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    problem = Problem("quadratic", outliers=share, dim=DIM)
    run = VSGD(faithful=faithful, outliers=limit).start(np.full(DIM, START))
    for _ in range(steps):
        samples = problem.sample(1, rng)
        run.tell([problem.grad(point, samples) for point in run.ask()])
    return float(np.median(run.x**2) / 2)


def measure(quick: bool) -> dict[str, Any]:
    steps, seeds = (1000, 3) if quick else (5000, 10)
    return {
        f"{rule}, {case}": [excess(rule == "published", *options, steps, seed) for seed in range(seeds)]
        for rule in ("default", "published")
        for case, options in CASES.items()
    }


def verdict(numbers: dict[str, Any]) -> Verdict:
    parts, holds = [], True
    for rule in ("default", "published"):
        clean, detected, undetected = (float(np.median(numbers[f"{rule}, {case}"])) for case in CASES)
        holds = holds and detected < 2 * clean and detected < undetected
        parts.append(
            f"{rule}: {detected / clean:.2f} times the loss without outliers (bar 2), "
            f"{undetected / clean:.2f} times if undetected (to be more)"
        )
    return Verdict(holds, "; ".join(parts))


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    axes.barh(list(numbers), [float(np.median(values)) for values in numbers.values()])
    axes.invert_yaxis()
    axes.set(xlabel="loss above the least", xscale="log")


CLAIM = Claim(
    "outlier_detection",
    "Outliers do no lasting harm with detection, and do without.",
    f"{DIM} noisy quadratics, online; in a share {SHARE:g} of the samples the optimum is far away. Median "
    "over parameters and seeds of the expected loss above the least one: with detection at most twice that "
    "of data without outliers, and less than without detection.",
    measure,
    verdict,
    plot,
)
