"""Rates fall while a problem stays the same, and grow again when it changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...models.problems import Problem
from ...sgd import VSGD, PublishedVSGD
from .claim import Claim, Verdict
from .driving import take_step

RULES: dict[str, VSGD | PublishedVSGD] = {"default": VSGD(), "published": PublishedVSGD()}
JUMP = 10.0


def rates_of(rule: VSGD | PublishedVSGD, steps: int, seed: int) -> list[float]:
    """The median rate after each step; the optimum jumps half-way."""
    rng = np.random.default_rng(seed)
    problem = Problem("quadratic", dim=20)
    run = rule.start(np.full(20, JUMP))
    medians = []
    for step in range(2 * steps):
        if step == steps:
            problem = replace(problem, optimum=-JUMP)
        take_step(run, problem.grad, problem.sample(1, rng))
        medians.append(float(np.median(run.rates)))
    return medians


def measure(quick: bool) -> dict[str, Any]:
    steps, seeds = (500, 3) if quick else (2000, 10)
    return {name: [rates_of(rule, steps, seed) for seed in range(seeds)] for name, rule in RULES.items()}


def change(rates: list[float]) -> tuple[float, float]:
    """How many times rates fell before the jump, and grew after it."""
    half = len(rates) // 2
    before = float(np.mean(rates[half - 50 : half]))
    return max(rates[:half]) / before, max(rates[half:]) / before


def verdict(numbers: dict[str, Any]) -> Verdict:
    falls, grows = np.array([[change(rates) for rates in numbers[name]] for name in RULES]).min(axis=1).T
    parts = [
        f"{name}: fell {fall:.3g} and grew {grow:.3g} times or more (bar 2)"
        for name, fall, grow in zip(RULES, falls, grows, strict=True)
    ]
    return Verdict(bool(min(*falls, *grows) > 2), "; ".join(parts))


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    for name, all_rates in numbers.items():
        axes.plot(np.median(all_rates, axis=0), label=name)
    axes.axvline(len(all_rates[0]) / 2, color="grey", linestyle=":")
    axes.set(xlabel="step; the optimum jumps at the line", ylabel="median rate (x² / loss)", yscale="log")
    axes.legend(frameon=False)


CLAIM = Claim(
    "rates_adapt",
    "Rates fall on a stationary problem and grow again after a change.",
    f"20 noisy quadratics, online, started {JUMP:g} standard deviations from an optimum that jumps by twice "
    "that half-way. The largest rate before the jump against the mean of the last 50, and the largest after "
    "it against the same; the least over the seeds has to exceed 2.",
    measure,
    verdict,
    plot,
)
