"""Train loss and test error of the default rule on MNIST images, beside the bars that it must meet.

    python asv_bench/quality.py --data DIR [--seeds 3] [--only softmax,tanh] [--faithful]

DIR holds MNIST's IDX files; with only the 10,000 test images there, 8,000 of them train. Each row is a mean
over seeds. A bar is the most that is allowed; it applies to the 8,000 images.
"""

from __future__ import annotations

import argparse
import itertools
import math

import numpy as np

import refsgd
from refsgd.datasets import load_mnist
from refsgd.models import MLP, Softmax
from refsgd.sgd.sampler import Minibatches

MODELS = {
    "softmax": Softmax(784, 10),
    "tanh": MLP((784, 120, 10), "tanh"),
    "relu": MLP((784, 120, 10), "relu"),
    "deep": MLP((784, 500, 300, 10), "tanh"),
}
# (model, minibatch) -> {epoch: (train loss, test error in %)}
BARS = {
    ("softmax", 10): {1: (0.395, 8.3), 5: (0.284, 7.6), 10: (0.241, 7.2)},
    ("softmax", 100): {1: (0.482, 9.3), 5: (0.303, 7.3), 10: (0.246, 6.8)},
    ("tanh", 10): {1: (0.307, 6.6), 5: (0.128, 5.1), 10: (0.048, 4.7)},
    ("tanh", 100): {1: (0.424, 8.1), 5: (0.190, 5.5), 10: (0.087, 5.0)},
    ("relu", 10): {1: (0.366, 7.2), 5: (0.156, 5.2), 10: (0.081, 4.6)},
    ("relu", 100): {1: (0.540, 9.5), 5: (0.251, 6.0), 10: (0.130, 4.8)},
    ("tanh", 1): {1: (np.inf, 6.5), 5: (np.inf, 5.0)},
    ("deep", 10): {10: (np.inf, 5.0)},
}


def train(model, batch_size, seed, data, epochs, rule):
    """(train loss, test error in %) after each of the ``epochs``."""
    rng = np.random.default_rng(seed)
    run = rule.start(model.init(seed, np.float32))
    n = len(data.y_train)
    batches = iter(Minibatches([data.X_train, data.y_train], batch_size, rng))
    scores = {}
    for epoch in range(1, max(epochs) + 1):
        for X, y in itertools.islice(batches, math.ceil(n / batch_size)):
            points = run.ask()
            run.tell([model.moments(p, X, y, squares=i == 0) for i, p in enumerate(points)])
        if epoch in epochs:
            error = 100 * model.error(run.x, data.X_test, data.y_test)
            scores[epoch] = model.loss(run.x, data.X_train, data.y_train), error
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--faithful", action="store_true")
    options = parser.parse_args()
    data = load_mnist(options.data)
    rule = refsgd.VSGD(faithful=options.faithful)
    print("model    n  epoch  train loss (bar)   test error % (bar)   met")
    for (name, batch_size), bars in BARS.items():
        if name not in options.only.split(","):
            continue
        runs = [train(MODELS[name], batch_size, s, data, set(bars), rule) for s in range(options.seeds)]
        for epoch, (loss_bar, error_bar) in bars.items():
            loss, error = np.mean([run[epoch] for run in runs], axis=0)
            met = "yes" if loss <= loss_bar and error <= error_bar else "NO"
            print(
                f"{name:7s} {batch_size:3d} {epoch:4d}    {loss:.3f} ({loss_bar:.3f})"
                f"      {error:.2f} ({error_bar:.1f})          {met}",
                flush=True,
            )


if __name__ == "__main__":
    main()
