"""Test log-loss of linear classifiers with nothing tuned, after one pass and after five.

    python asv_bench/linear.py [--data DIR] [--quick] [--seeds 3] [--only digits,zipf]

Ours beside scikit-learn's SGDClassifier and Vowpal Wabbit with their defaults, and the best of a fixed list
of eleven rates of SGDClassifier, chosen on the test set. Tasks of several classes are one against the rest:
the mean of the binary losses. A stream is taken once, each sample predicted before it is learnt. DIR holds
MNIST's IDX files and rcv1_small.dat and rcv1_small_test.data in Vowpal Wabbit's text form; what is missing is
named and skipped. Below the losses of a task stands how much ours moves at most when each feature is
multiplied by something from e^-5 to e^5, and which bars are met.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from linear_tasks import Task, tasks
from scipy.sparse import csr_array
from sklearn.linear_model import SGDClassifier

import refsgd

PASSES = 1, 5
CHUNK = 20  # samples of a stream between two predictions
RATES: list[dict[str, Any]] = [
    *({"learning_rate": "constant", "eta0": 10.0**k, "alpha": 0.0} for k in range(-4, 2)),
    *({"learning_rate": "optimal", "alpha": 10.0**k} for k in (-7, -6, -5, -3, -2)),
]
Losses = tuple[float, ...]  # after each of PASSES


def log_loss(z: np.ndarray, y: np.ndarray) -> float:
    return float(np.logaddexp(0.0, -y * np.nan_to_num(z)).mean())


class Estimator(NamedTuple):
    """Anything in scikit-learn's form: ``make(max_iter, seed)``."""

    make: Callable[[int, int], Any]

    def __call__(self, task: Task, seed: int) -> Losses:
        return self.stream(task, seed) if task.is_stream else self.passes(task, seed)

    def passes(self, task: Task, seed: int) -> Losses:
        each = [
            [
                log_loss(self.make(n, seed).fit(task.X, y).decision_function(task.X_test), y_test)
                for y, y_test in zip(task.Y.T, task.Y_test.T, strict=True)
            ]
            for n in PASSES
        ]
        return tuple(float(np.mean(losses)) for losses in each)

    def stream(self, task: Task, seed: int) -> Losses:
        (y,) = task.Y.T
        model, z = self.make(1, seed), np.zeros(y.size)
        for begin in range(0, y.size, CHUNK):
            rows = slice(begin, begin + CHUNK)
            if begin:
                z[rows] = model.decision_function(task.X[rows])
            model.partial_fit(task.X[rows], y[rows], classes=[-1.0, 1.0])
        return (log_loss(z, y),)


class Best(NamedTuple):
    """The least loss of several, pass by pass."""

    methods: list[Estimator]

    def __call__(self, task: Task, seed: int) -> Losses:
        return tuple(min(losses) for losses in zip(*(each(task, seed) for each in self.methods), strict=True))


def vowpal_wabbit(task: Task, seed: int) -> Losses:
    import vowpalwabbit

    def run(arguments: str) -> None:
        vowpalwabbit.Workspace(f"{arguments} --quiet").finish()

    bits = max(18, int(task.X.shape[1]).bit_length() + 1)
    each = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        order = (
            np.arange(len(task.Y)) if task.is_stream else np.random.default_rng(seed).permutation(len(task.Y))
        )
        for y, y_test in zip(task.Y.T, task.Y_test.T, strict=True):
            write(folder / "train", task.X[order], y[order])
            write(folder / "test", task.X_test, y_test)
            losses = []
            for n in (1,) if task.is_stream else PASSES:
                learn = f"-d {folder}/train --loss_function logistic -b {bits} -f {folder}/model"
                passes = f"--passes {n} --cache_file {folder}/cache -k --holdout_off" if n > 1 else ""
                run(f"{learn} {passes} -p {folder}/online")
                if not task.is_stream:
                    run(f"-t -i {folder}/model -d {folder}/test -p {folder}/predicted")
                made = folder / ("online" if task.is_stream else "predicted")
                losses.append(log_loss(np.loadtxt(made), y if task.is_stream else y_test))
            each.append(losses)
    return tuple(np.mean(each, axis=0))


def write(path: Path, X: Any, y: np.ndarray) -> None:
    """Rows in Vowpal Wabbit's text form."""
    rows = csr_array(X)
    rows.eliminate_zeros()
    with path.open("w") as file:
        for label, begin, end in zip(y, rows.indptr, rows.indptr[1:], strict=False):
            entries = zip(rows.indices[begin:end].tolist(), rows.data[begin:end].tolist(), strict=True)
            file.write(f"{label:g} | {' '.join(f'{i}:{x:.7g}' for i, x in entries)}\n")


OURS = Estimator(lambda n, seed: refsgd.VSGDClassifier(max_iter=n, tol=None, random_state=seed))


def sgd(n: int, seed: int, **options: Any) -> SGDClassifier:
    return SGDClassifier("log_loss", max_iter=n, tol=None, random_state=seed, **options)


METHODS: dict[str, Callable[[Task, int], Losses]] = {
    "ours": OURS,
    "Vowpal Wabbit": vowpal_wabbit,
    "SGDClassifier": Estimator(sgd),
    "best of 11 rates": Best([Estimator(lambda n, s, o=options: sgd(n, s, **o)) for options in RATES]),
}


def moved(task: Task, seeds: range, losses: Losses) -> float:
    """Largest relative change of our loss when the features come in other units."""
    units = np.exp(np.random.default_rng(0).uniform(-5.0, 5.0, task.X.shape[1]))
    rescaled = task.rescaled(units)
    after = np.mean([OURS(rescaled, seed) for seed in seeds], axis=0)
    return float(np.max(np.abs(after / np.array(losses) - 1.0)))


def verdicts(losses: dict[str, Losses], move: float) -> Iterator[tuple[str, bool]]:
    ours = losses["ours"]
    for name in ("Vowpal Wabbit", "SGDClassifier"):
        if name in losses:
            yield f"one pass at or below {name}", ours[0] <= losses[name][0]
    if "best of 11 rates" in losses:
        yield "within 3 % of the best rate at the end", ours[-1] <= 1.03 * losses["best of 11 rates"][-1]
    yield "moved by less than 1 %", move < 0.01


def report(task: Task, seeds: range) -> list[tuple[str, bool]]:
    print(f"\n{task.name}: {task.X.shape[0]} x {task.X.shape[1]}, {task.Y.shape[1]} binary")
    losses: dict[str, Losses] = {}
    for name, method in METHODS.items():
        try:
            losses[name] = tuple(np.mean([method(task, seed) for seed in seeds], axis=0))
        except ImportError as error:
            print(f"  {name:18s} skipped: {error}")
            continue
        print(f"  {name:18s}" + "".join(f"{loss:10.4f}" for loss in losses[name]), flush=True)
    move = moved(task, seeds, losses["ours"])
    found = list(verdicts(losses, move))
    print(f"  rescaled: {move:.2%}; " + "; ".join(f"{bar}: {'yes' if met else 'NO'}" for bar, met in found))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="a tenth of the Zipf task, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="names of tasks")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # overflows of peers in features of large units
    seeds = range(1 if options.quick else options.seeds)
    found: dict[str, list[str]] = {}
    n_tasks: dict[str, int] = {}
    for task in tasks(options.data, options.quick, options.only):
        for bar, met in report(task, seeds):
            n_tasks[bar] = n_tasks.get(bar, 0) + 1
            found.setdefault(bar, []).extend([] if met else [task.name])
    print()
    for bar, missed in found.items():
        print(
            f"{bar}: {n_tasks[bar] - len(missed)} of {n_tasks[bar]}"
            + (f"; not {', '.join(missed)}" if missed else "")
        )


if __name__ == "__main__":
    main()
