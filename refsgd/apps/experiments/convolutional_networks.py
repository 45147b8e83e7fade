"""Directions of minibatch gradients of convolutional networks, in small."""

from __future__ import annotations

from math import isqrt
from typing import Any

from ...datasets import Dataset
from ..baselines import SGD
from .claim import Claim, Verdict
from .gradients import BATCH_SIZE, RATE, History, Size, falling, follow, left, plot_histories, trend
from .snr_follows_uniformity import compare

OPTIONS = {
    "CNN": (False, False),
    "Res-CNN": (True, False),
    "CNN+BN": (False, True),
    "Res-CNN+BN": (True, True),
}


def measure(quick: bool, data: Dataset) -> dict[str, list[History]]:
    from ..torch_models import ConvNet, one_thread

    size = Size(2, 6, 50) if quick else Size(3, 20, 100)
    side = isqrt(data.X_train.shape[1])
    with one_thread():
        return {
            name: [
                follow(ConvNet(side, residual=residual, batch_norm=batch_norm), SGD(RATE), data, size, seed)
                for seed in range(size.seeds)
            ]
            for name, (residual, batch_norm) in OPTIONS.items()
        }


def verdict(numbers: dict[str, list[History]]) -> Verdict:
    falls, fell = falling(numbers)
    each = ", ".join(
        f"{name} {left(runs, 'kappa'):.2g} (trend at most {max(map(trend, runs)):.2f})"
        for name, runs in numbers.items()
    )
    follows, correlated = compare(numbers)
    return Verdict(falls and follows, f"{fell}; share left: {each}; {correlated}")


def plot(axes: Any, numbers: dict[str, list[History]]) -> None:
    plot_histories(axes, numbers, "kappa")


CLAIM = Claim(
    "convolutional_networks",
    "The same in convolutional networks, with and without residual connections and batch normalisation: "
    "kappa falls, and SNR follows kappa more closely than the spread of lengths.",
    f"Networks of seven convolutions, SGD at rate {RATE:g} with minibatches of {BATCH_SIZE}; measured and "
    "judged as uniformity_falls and snr_follows_uniformity are.",
    measure,
    verdict,
    plot,
    on_images=True,
    needs="torch",
)
