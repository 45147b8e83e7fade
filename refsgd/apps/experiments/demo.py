"""Train on real images without a learning rate, and watch what the gradients do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from ...datasets import Dataset
from ...directional import DirectionMonitor, DirectionReport
from ...models import MLP, Softmax
from ...progress import bar
from ...sgd import VSGD
from ...sgd.sampler import Minibatches
from .driving import take_step

MODELS = ("tanh", "relu", "softmax")
HIDDEN_UNITS = 120
N_CLASSES = 10


class EpochReport(NamedTuple):
    """What one epoch showed; the directions are those of its minibatch gradients."""

    epoch: int
    train_loss: float
    test_error: float
    rate_quantiles: tuple[float, float, float]  # 10 %, median, 90 % over parameters
    tau: float  # median memory size
    directions: DirectionReport


HEADER = (
    "epoch  train loss  test error  median rate      tau     snr  norm_snr    kappa  unbiased  95 % interval"
)


def row(report: EpochReport) -> str:
    """One line of the table under `HEADER`."""
    directions = report.directions
    low, high = directions.kappa_interval
    return (
        f"{report.epoch:5d}  {report.train_loss:10.4f}  {100 * report.test_error:8.2f} %"
        f"  {report.rate_quantiles[1]:11.3g}  {report.tau:7.0f}  {directions.snr:6.3f}"
        f"  {directions.norm_snr:8.3f}  {directions.kappa:7.4g}"
        f"  {directions.kappa_unbiased:8.4g}  {low:.4g} ... {high:.4g}"
    )


def make_model(name: str, n_features: int) -> MLP | Softmax:
    if name == "softmax":
        return Softmax(n_features, N_CLASSES)
    return MLP((n_features, HIDDEN_UNITS, N_CLASSES), activation=name)


def train(
    data: Dataset,
    model: MLP | Softmax,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    backend: Literal["auto", "c", "numba", "numpy"] | None = None,
    on_epoch: Callable[[EpochReport], Any] = lambda report: None,
) -> list[EpochReport]:
    """Train with the default rule; Ctrl-C ends it with the epochs that are done."""
    rng = np.random.default_rng(seed)
    run = VSGD().start(model.init(seed, np.float32), backend=backend)
    monitor = DirectionMonitor()
    n = len(data.y_train)
    batches = iter(Minibatches([data.X_train, data.y_train], batch_size, rng))
    history: list[EpochReport] = []
    try:
        for epoch in range(1, epochs + 1):
            with bar(n, "sample", desc=f"epoch {epoch} of {epochs}") as shown:
                for X, y in itertools.islice(batches, math.ceil(n / batch_size)):
                    moments = take_step(run, partial(model.moments, squares=False), X, y)
                    monitor.update(moments[1])
                    shown.update(len(y))
            positive = run.rates
            positive = positive[positive > 0]
            rates = np.quantile(positive, [0.1, 0.5, 0.9]) if positive.size else np.zeros(3)
            report = EpochReport(
                epoch,
                model.loss(run.x, data.X_train, data.y_train),
                model.error(run.x, data.X_test, data.y_test),
                (float(rates[0]), float(rates[1]), float(rates[2])),
                float(np.median(run.tau)),
                monitor.record(),
            )
            history.append(report)
            on_epoch(report)
    except KeyboardInterrupt:
        pass
    return history
