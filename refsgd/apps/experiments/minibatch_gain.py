"""What larger minibatches gain, and where that ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.contract import N_START
from ...models.problems import Problem
from ...sgd import VSGD, PublishedVSGD
from .claim import Claim, Verdict
from .driving import take_step

RULES: dict[str, VSGD | PublishedVSGD] = {"default": VSGD(), "published": PublishedVSGD()}
NOISE, START, GOAL = 10.0, 20.0, 1.0
RATIO = (NOISE / GOAL) ** 2  # sigma^2 / g^2 where the goal is reached
SIZES = [4**k for k in range(8)]


def steps_to_goal(rule: VSGD | PublishedVSGD, n: int, seed: int, most: int) -> int:
    rng = np.random.default_rng(seed)
    problem = Problem("quadratic", noise=NOISE, dim=20)
    run = rule.start(np.full(20, START))
    while run.n_steps < most and np.sqrt(np.mean(run.x**2)) > GOAL:
        take_step(run, problem.grad, problem.sample(n, rng))
    return run.n_steps - N_START


def measure(quick: bool) -> dict[str, Any]:
    most, seeds = (20_000, 2) if quick else (20_000, 5)
    steps = {
        name: [[steps_to_goal(rule, n, seed, most) for seed in range(seeds)] for n in SIZES]
        for name, rule in RULES.items()
    }
    return {"sizes": SIZES, "steps": steps, "ratio": RATIO}


def verdict(numbers: dict[str, Any]) -> Verdict:
    sizes, parts, holds = np.array(numbers["sizes"]), [], True
    for name, all_steps in numbers["steps"].items():
        steps = np.median(all_steps, axis=1)
        gain = steps[:-1] / steps[1:]  # of minibatches four times as large
        below = float(gain[sizes[1:] <= numbers["ratio"]].min())
        above = float(gain[sizes[:-1] >= 4 * numbers["ratio"]].max())
        holds = holds and below > 1.5 and above < 1.25
        parts.append(
            f"{name}: minibatches four times as large take at least {below:.2f} times fewer steps up to "
            f"n = {numbers['ratio']:g} (bar 1.5), and at most {above:.2f} times from four times n on (bar "
            "1.25)"
        )
    return Verdict(holds, "; ".join(parts))


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    for name, steps in numbers["steps"].items():
        axes.loglog(numbers["sizes"], np.median(steps, axis=1), marker="o", label=name)
    axes.axvline(numbers["ratio"], color="grey", linestyle=":", label="σ² / g² at the goal")
    axes.set(xlabel="samples a minibatch", ylabel="steps to the goal")
    axes.legend(frameon=False)


CLAIM = Claim(
    "minibatch_gain",
    "The gain of larger minibatches saturates where n ~ sigma^2 / g^2.",
    f"20 quadratics with noise {NOISE:g}, from distance {START:g} to {GOAL:g} (root mean square), where "
    f"sigma^2 / g^2 = {RATIO:g}. Median steps after the start, for n = {SIZES}.",
    measure,
    verdict,
    plot,
)
