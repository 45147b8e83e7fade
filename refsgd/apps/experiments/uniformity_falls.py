"""How concentrated the directions of minibatch gradients are, over training."""

from __future__ import annotations

from typing import Any

from ...datasets import Dataset
from ...models import MLP
from ...sgd import VSGD
from ..baselines import SGD
from .claim import Claim, Verdict
from .gradients import BATCH_SIZE, RATE, TREND, History, Size, falling, follow, left, plot_histories, trend

HIDDEN = {"FNN": (100,), "DFNN": (100, 100, 100)}
RULES = {"SGD": SGD(RATE), "VSGD": VSGD()}


def measure(quick: bool, data: Dataset) -> dict[str, list[History]]:
    size = Size(2, 15, 50) if quick else Size(5, 30, 200)
    return {
        f"{network}, {rule_name}": [
            follow(MLP((data.X_train.shape[1], *hidden, 10), "relu"), rule, data, size, seed)
            for seed in range(size.seeds)
        ]
        for network, hidden in HIDDEN.items()
        for rule_name, rule in RULES.items()
    }


def verdict(numbers: dict[str, list[History]]) -> Verdict:
    holds, fell = falling(numbers)
    each = "; ".join(
        f"{name} {left(runs, 'kappa'):.2g} ({left(runs, 'kappa', 1):.2g} since epoch 1; unbiased "
        f"{left(runs, 'kappa_unbiased'):.2g}; trend at most {max(map(trend, runs)):.2f})"
        for name, runs in numbers.items()
    )
    return Verdict(holds, f"{fell}; share left: {each}")


def plot(axes: Any, numbers: dict[str, list[History]]) -> None:
    plot_histories(axes, numbers, "kappa")


CLAIM = Claim(
    "uniformity_falls",
    "Directions of minibatch gradients become more uniform over training: kappa falls, in a shallow network "
    "and in a deep one.",
    f"One and three hidden layers of 100 ReLU units (FNN, DFNN), SGD at rate {RATE:g} and the default rule "
    f"with minibatches of {BATCH_SIZE}. Before the first epoch and after each, kappa (Banerjee) of gradients "
    "at the parameters of that moment, of random minibatches drawn with replacement. To be lower at the end "
    f"than at the start in every run, with a rank correlation with the epoch (trend) below {TREND}.",
    measure,
    verdict,
    plot,
    on_images=True,
)
