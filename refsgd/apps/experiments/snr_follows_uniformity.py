"""Whether the noise of minibatch gradients is in their directions or in their lengths.

Part of the claim is arithmetic. Of n gradients of one length, with directions of mean resultant length r,
``SNR**2 = (1 - 1/n) r**2 / (1 - r**2)`` and ``kappa = r (d - r**2) / (1 - r**2)``: both are increasing
functions of r, whatever is trained. What is measured is how much lengths that differ blur that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...datasets import Dataset
from ...models import MLP, Softmax
from ..baselines import SGD
from .claim import Claim, Verdict
from .gradients import BATCH_SIZE, RATE, History, Size, correlations, follow


def networks(n_features: int) -> dict[str, Any]:
    shallow, deep = (n_features, 100, 10), (n_features, 100, 100, 100, 10)
    return {
        "softmax": Softmax(n_features, 10),
        "FNN tanh": MLP(shallow, "tanh"),
        "FNN ReLU": MLP(shallow, "relu"),
        "DFNN tanh": MLP(deep, "tanh"),
        "DFNN ReLU": MLP(deep, "relu"),
    }


def measure(quick: bool, data: Dataset) -> dict[str, list[History]]:
    size = Size(2, 15, 50) if quick else Size(5, 30, 200)
    return {
        name: [follow(model, SGD(RATE), data, size, seed) for seed in range(size.seeds)]
        for name, model in networks(data.X_train.shape[1]).items()
    }


def compare(numbers: dict[str, list[History]]) -> tuple[bool, str]:
    """Whether kappa correlates better on every network, by the median over seeds; and the numbers."""
    pairs = {name: np.array([correlations(run) for run in runs]) for name, runs in numbers.items()}
    medians = {name: np.median(pair, axis=0) for name, pair in pairs.items()}
    wins = sum(int((pair[:, 0] > pair[:, 1]).sum()) for pair in pairs.values())
    each = ", ".join(f"{name} {kappa:.3f} and {norm:.3f}" for name, (kappa, norm) in medians.items())
    n = sum(map(len, pairs.values()))
    by = f"log SNR correlates with log kappa and with log norm SNR: {each}; more with kappa in {wins} of {n}"
    return bool(all(kappa > norm for kappa, norm in medians.values())), by


def verdict(numbers: dict[str, list[History]]) -> Verdict:
    return Verdict(*compare(numbers))


def plot(axes: Any, numbers: dict[str, list[History]]) -> None:
    for i, runs in enumerate(numbers.values()):
        kappa, norm = zip(*(correlations(run) for run in runs), strict=True)
        axes.plot(kappa, [i] * len(kappa), "o", color="C0", label="" if i else "log kappa")
        axes.plot(norm, [i] * len(norm), "x", color="C1", label="" if i else "log norm SNR")
    axes.set_yticks(range(len(numbers)), list(numbers))
    axes.invert_yaxis()
    axes.set(xlabel="correlation with log SNR over epochs, a mark a seed")
    axes.axvline(0, color="grey", linewidth=0.5)
    axes.legend(frameon=False)


CLAIM = Claim(
    "snr_follows_uniformity",
    "The signal-to-noise ratio of minibatch gradients follows the uniformity of their directions more "
    "closely than the spread of their lengths.",
    f"Softmax, FNN and DFNN with tanh and ReLU units, SGD at rate {RATE:g}, minibatches of {BATCH_SIZE}, and "
    "gradients of random minibatches before the first epoch and after each. Correlation over epochs of log "
    "SNR with log kappa (Banerjee), and with log norm SNR, the log of mean length over its deviation; the "
    "first to be greater on every network, by the median over seeds.",
    measure,
    verdict,
    plot,
    on_images=True,
)
