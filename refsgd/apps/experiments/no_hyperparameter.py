"""One default on problems that have nothing in common, against rates that were tuned for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...datasets import load_digits
from ...models import MLP, Logistic, Softmax
from ...models.problems import Problem
from ...sgd import VSGD
from ...sgd.sampler import Minibatches
from ..baselines import SGD
from .claim import Claim, Verdict

RATES = [10 ** (k / 3) for k in range(-12, 7)]  # a third of a decade apart
FLOOR = 1e-3  # of the loss at the beginning, or in nats: nobody minds what is below
Train = Callable[[Any, int], float]


def follow(run: Any, n_gradients: int, draw: Callable[[], Any], grad: Callable[..., Any]) -> None:
    """Drive a run for so many gradients; a second one of the same minibatch counts like any other."""
    while run.n_gradients < n_gradients:
        if not run.is_open:
            batch = draw()
        run.tell(grad(run.ask(), *batch))


def toy(name: str, curvature: float, n_gradients: int) -> Train:
    """Loss above the least one of a test function, as a share of that at the beginning."""

    def train(rule: Any, seed: int) -> float:
        rng, problem = np.random.default_rng(seed), Problem(name, curvature=curvature, noise=0.5, dim=20)
        run = rule.start(np.full(20, 4.0))
        before = np.mean(problem.expected_loss(run.x) - problem.min_loss)
        follow(run, n_gradients, lambda: [problem.sample(1, rng)], problem.grad)
        return float(np.mean(problem.expected_loss(run.x) - problem.min_loss) / before)

    return train


def images(model: Any, epochs: int) -> Train:
    """Training loss on digits, after gradients for so many epochs."""

    def train(rule: Any, seed: int) -> float:
        data = load_digits(np.float64)
        run = rule.start(model.init(seed))
        batches = iter(Minibatches([data.X_train, data.y_train], 10, seed))
        follow(run, epochs * 144, lambda: next(batches), model.moments)
        return float(model.loss(run.x, data.X_train, data.y_train))

    return train


def logistic(scale: float, epochs: int) -> Train:
    """Training loss of labels that are noisy, with features of some size."""

    def train(rule: Any, seed: int) -> float:
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(1000, 20))
        y = (X @ rng.normal(size=20) + rng.normal(size=1000) > 0).astype(int)
        model = Logistic(20)
        run = rule.start(model.init())
        batches = iter(Minibatches([scale * X, y], 5, seed))
        follow(run, epochs * 200, lambda: next(batches), model.moments)
        return float(model.loss(run.x, scale * X, y))

    return train


def tasks(quick: bool) -> dict[str, Train]:
    steps, epochs = (500, 2) if quick else (2000, 5)
    return {
        "quadratic": toy("quadratic", 1.0, steps),
        "quadratic x 100": toy("quadratic", 100.0, steps),
        "absolute": toy("absolute", 1.0, steps),
        "wall": toy("wall", 1.0, steps),
        "softmax": images(Softmax(64, 10), epochs),
        "tanh": images(MLP((64, 30, 10)), epochs),
        "ReLU": images(MLP((64, 30, 10), activation="relu"), epochs),
        "logistic": logistic(1.0, epochs),
        "logistic / 30": logistic(1 / 30, epochs),
    }


def finite_loss(train: Train, rule: Any, seed: int) -> float:
    """1e9 for a run that diverges, which JSON can hold."""
    try:
        with np.errstate(all="ignore"):
            loss = train(rule, seed)
    except FloatingPointError:
        return 1e9
    return min(loss, 1e9) if np.isfinite(loss) else 1e9


def measure(quick: bool) -> dict[str, Any]:
    seeds = 1 if quick else 3
    rules = {"default": VSGD(), **{f"{rate:g}": SGD(rate) for rate in RATES}}
    return {
        task: {
            name: float(np.median([finite_loss(train, rule, seed) for seed in range(seeds)]))
            for name, rule in rules.items()
        }
        for task, train in tasks(quick).items()
    }


def ratios(numbers: dict[str, Any]) -> dict[str, list[float]]:
    """The loss of each rule over that of the best rate of each task; below the floor all losses are alike."""
    rows = [{rule: max(loss, FLOOR) for rule, loss in row.items()} for row in numbers.values()]
    best = [min(loss for rule, loss in row.items() if rule != "default") for row in rows]
    return {rule: [row[rule] / b for row, b in zip(rows, best, strict=True)] for rule in rows[0]}


def verdict(numbers: dict[str, Any]) -> Verdict:
    worst = {rule: max(values) for rule, values in ratios(numbers).items()}
    default = worst.pop("default")
    rate, least = min(worst.items(), key=lambda item: item[1])
    by = (
        f"at worst {default:.3g} times the loss of the best rate of the same task (bar 2), losses below "
        f"{FLOOR:g} taken for that; any one rate has at worst {least:.3g} times (that of {rate}) or more"
    )
    return Verdict(default < 2 and default < least, by)


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    of_rules = ratios(numbers)
    default = of_rules.pop("default")
    for k, (rate, values) in enumerate(of_rules.items()):
        shade, name = str(0.1 + 0.75 * k / len(of_rules)), {} if k % 3 else {"label": rate}
        axes.plot(list(numbers), np.minimum(values, 1e4), marker=".", linewidth=0.8, color=shade, **name)
    axes.plot(list(numbers), default, marker="o", color="C3", linewidth=2.5, label="vSGD, no rate")
    axes.tick_params(axis="x", rotation=30)
    axes.set(ylabel="loss / that of the best rate", yscale="log")
    axes.legend(frameon=False, ncols=2, title="SGD with a rate of")


CLAIM = Claim(
    "no_hyperparameter",
    "No hyper-parameter: one default across problems, where a rate that suits one fails on another.",
    "Test functions, images of digits and logistic regressions, with the default and with SGD at nineteen "
    "rates a third of a decade apart, on the same minibatches and with as many gradients, second ones "
    "included. A default that is never more than twice as bad as the best rate, and less bad at worst than "
    "any one rate.",
    measure,
    verdict,
    plot,
)
