"""Rare samples far away, with and without detection."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...models.problems import Problem
from ...sgd import VSGD, PublishedVSGD
from .claim import Claim, Verdict
from .driving import take_step

SHARE, DIM, START = 0.01, 100, 5.0
RULES: dict[str, VSGD | PublishedVSGD] = {
    "default": VSGD(),
    "published": PublishedVSGD(),
    "published, no detection": PublishedVSGD(outliers=None),
}


def excess(rule: VSGD | PublishedVSGD, share: float, steps: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    problem = Problem("quadratic", outliers=share, dim=DIM)
    run = rule.start(np.full(DIM, START))
    for _ in range(steps):
        take_step(run, problem.grad, problem.sample(1, rng))
    return float(np.median(run.x**2) / 2)


def measure(quick: bool) -> dict[str, Any]:
    steps, seeds = (1000, 3) if quick else (5000, 10)
    return {
        f"{name}: {case}": [excess(rule, share, steps, seed) for seed in range(seeds)]
        for name, rule in RULES.items()
        for case, share in (("clean", 0.0), ("outliers", SHARE))
    }


def verdict(numbers: dict[str, Any]) -> Verdict:
    middle = {name: float(np.median(values)) for name, values in numbers.items()}
    default, detected, undetected = (middle[f"{n}: outliers"] / middle[f"{n}: clean"] for n in RULES)
    by = (
        f"outliers multiply the loss by {default:.2f} with the default rule and {detected:.2f} with the "
        f"published one (bar 2), by {undetected:.2f} without detection (to be more than either)"
    )
    return Verdict(max(default, detected) < min(2, undetected), by)


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    axes.barh(list(numbers), [float(np.median(values)) for values in numbers.values()])
    axes.invert_yaxis()
    axes.set(xlabel="loss above the least", xscale="log")


CLAIM = Claim(
    "outlier_detection",
    "Outliers do no lasting harm with detection, and do without.",
    f"{DIM} noisy quadratics, online; in a share {SHARE:g} of the samples the optimum is far away. Median "
    "over parameters and seeds of the expected loss above the least one, over that of data without "
    "outliers: less than 2 by the default rule and by the published one, and less than by the latter without "
    "detection.",
    measure,
    verdict,
    plot,
)
