"""Training, and what minibatch gradients show at the end of each epoch, at the parameters of that moment."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...datasets import Dataset
from ...directional import DirectionMonitor, DirectionReport
from ...sgd.sampler import Minibatches
from .driving import take_step

BATCH_SIZE = 64
RATE = 0.1  # of plain SGD
TREND = -0.5  # the bar of `trend`
#: What `follow` records: numbers of the report of the gradients, and the training loss.
RECORDED = ("snr", "norm_snr", "kappa", "kappa_unbiased", "loss")

History = dict[str, list[float]]


class Size(NamedTuple):
    """How much to do: seeds, epochs of training, and gradients at the end of each."""

    seeds: int
    epochs: int
    gradients: int


def gradients_at(model: Any, x: Any, data: Dataset, n: int, rng: np.random.Generator) -> DirectionReport:
    """What ``n`` gradients at fixed ``x`` show, of minibatches drawn with replacement."""
    monitor = DirectionMonitor()
    for rows in rng.integers(len(data.y_train), size=(n, BATCH_SIZE)):
        monitor.update(model.moments(x, data.X_train[rows], data.y_train[rows], squares=False)[1])
    return monitor.report()


def follow(model: Any, rule: Any, data: Dataset, size: Size, seed: int) -> History:
    """Train, and record before the first epoch and after each: ``epochs + 1`` values of each number."""
    rng = np.random.default_rng(seed)
    run = rule.start(model.init(seed, np.float32))
    minibatches = Minibatches([data.X_train, data.y_train], BATCH_SIZE, rng)
    batches = iter(minibatches)
    history: History = {name: [] for name in RECORDED}
    for epoch in range(size.epochs + 1):
        for _ in range(minibatches.steps_per_epoch if epoch else 0):
            take_step(run, partial(model.moments, squares=False), *next(batches))
        report = gradients_at(model, run.x, data, size.gradients, rng)
        for name in RECORDED[:-1]:
            history[name].append(getattr(report, name))
        history["loss"].append(float(model.loss(run.x, data.X_train, data.y_train)))
    return history


def trend(history: History) -> float:
    """Rank correlation of kappa with the epoch: -1 where each is below the one before."""
    ranks = np.argsort(np.argsort(history["kappa"]))
    return float(np.corrcoef(np.arange(len(ranks)), ranks)[0, 1])


def falling(numbers: dict[str, list[History]]) -> tuple[bool, str]:
    """Whether kappa ends lower than it began and falls on most of the way, in all runs; and a count."""
    runs = [run for each in numbers.values() for run in each]
    lower = sum(run["kappa"][-1] < run["kappa"][0] for run in runs)
    steady = sum(trend(run) < TREND for run in runs)
    text = f"kappa ends lower in {lower} of {len(runs)} runs, its trend is below {TREND} in {steady}"
    return lower == steady == len(runs), text


def left(runs: list[History], name: str, first: int = 0) -> float:
    """The share of a number after epoch ``first`` that is left at the end, median over runs."""
    return float(np.median([run[name][-1] / run[name][first] for run in runs]))


def correlations(history: History) -> tuple[float, float]:
    """Correlation over epochs of log SNR with log kappa, and with log norm SNR."""
    snr, kappa, norm_snr = (np.log(history[name]) for name in ("snr", "kappa", "norm_snr"))
    return float(np.corrcoef(snr, kappa)[0, 1]), float(np.corrcoef(snr, norm_snr)[0, 1])


def plot_histories(axes: Any, numbers: dict[str, list[History]], name: str) -> None:
    """A number over epochs as a share of that at the start: the median over seeds, and the range."""
    for i, (label, runs) in enumerate(numbers.items()):
        values = np.array([run[name] for run in runs])
        values = values / values[:, :1]
        epochs = range(values.shape[1])
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=f"C{i}", alpha=0.15)
        axes.plot(epochs, np.median(values, axis=0), color=f"C{i}", marker=".", label=label)
    axes.set(xlabel="epoch", ylabel=f"{name} / that at the start", yscale="log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
