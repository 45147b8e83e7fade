"""Sparse logistic regression, one text at a time and in minibatches: test log-loss of the sparse form.

    python asv_bench/rcv1.py --data DIR    RCV1 and the Zipf task: some minutes
    python asv_bench/rcv1.py               the Zipf task alone

DIR holds rcv1_small.dat and rcv1_small_test.data in Vowpal Wabbit's text form. Losses are looked at after
one and two passes over the texts, and after as many gradients as make up one and two passes: a second
gradient of the same minibatch counts like any other there. Means over seeds. Beside it the published rule in
its sparse form, Adam on dense gradients, and scikit-learn's SGDClassifier at its defaults, where that is
installed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # NumPy reads it when it is imported

# isort: split
import numpy as np
from linear_tasks import Task, rcv1, zipf
from scipy.sparse import csr_array

import refsgd
from refsgd.baselines import Adam

PASSES = 1, 2
BARS = {"rcv1 n=1": 0.325, "rcv1 n=10": 0.32, "zipf n=1": 0.525}  # after one pass

METHODS: dict[str, Callable[[Any], Any]] = {
    "refsgd, sparse form": refsgd.VSGD(weighting="sparse").start,
    "published, sparse form": refsgd.PublishedVSGD(weighting="sparse").start,
    "Adam 1e-3": Adam().start,
    "Adam 1e-2": Adam(1e-2).start,
}


def gradient(x: Any, X: csr_array, y: Any) -> csr_array:
    """A row for each text; labels are -1 and 1."""
    slopes = -y / (1 + np.exp(np.clip(y * (X @ x), -500, 500)))
    return csr_array((X.data * np.repeat(slopes, np.diff(X.indptr)), X.indices, X.indptr), shape=X.shape)


def rows_of(X: csr_array, y: Any, rows: Any) -> tuple[csr_array, Any]:
    """A minibatch; faster than indexing of a CSR array where rows are few."""
    parts = [slice(X.indptr[i], X.indptr[i + 1]) for i in rows]
    ends = np.cumsum([0, *(part.stop - part.start for part in parts)]).astype(np.int32)
    data, columns = (np.concatenate([a[part] for part in parts]) for a in (X.data, X.indices))
    return csr_array((data, columns, ends), shape=(len(rows), X.shape[1])), y[rows]


def minibatches(task: Task, n: int, rng: np.random.Generator) -> Iterator[tuple[csr_array, Any]]:
    """Without end, each pass in a new order."""
    X, y = csr_array(task.X), task.Y[:, 0]
    while True:
        order = rng.permutation(len(y))
        for begin in range(0, len(y), n):
            yield rows_of(X, y, order[begin : begin + n])


def test_loss(task: Task, x: Any) -> float:
    with np.errstate(all="ignore"):
        return float(np.mean(np.logaddexp(0, -task.Y_test[:, 0] * (task.X_test @ x))))


def passes(task: Task, n: int, start: Callable[[Any], Any], seed: int) -> tuple[list[float], list[float]]:
    """Losses after passes over the texts, and after as many gradients."""
    run = start(np.zeros(task.X.shape[1]))
    batches = minibatches(task, n, np.random.default_rng(seed))
    n_steps = -(-task.X.shape[0] // n)
    by_texts, by_gradients, n_gradients = [], [], 0
    is_dense = not hasattr(run.rule, "weighting")
    for _ in range(PASSES[-1] * n_steps):
        X, y = next(batches)
        for _ in range(2):
            g = gradient(run.ask(), X, y)
            run.tell(np.asarray(g.sum(axis=0)).ravel() / len(y) if is_dense else g)
            n_gradients += 1
            if n_gradients in [count * n_steps for count in PASSES]:
                by_gradients.append(test_loss(task, run.x))
            if not run.is_open:
                break
        if run.n_steps in [count * n_steps for count in PASSES]:
            by_texts.append(test_loss(task, run.x))
    return by_texts, by_gradients


def scikit_learn(task: Task, seed: int) -> list[float]:
    from sklearn.linear_model import SGDClassifier

    losses = []
    for count in PASSES:
        model = SGDClassifier("log_loss", max_iter=count, tol=None, random_state=seed, fit_intercept=False)
        losses.append(test_loss(task, model.fit(task.X, task.Y[:, 0]).coef_[0]))
    return losses


def compare(task: Task, n: int, seeds: int) -> None:
    key = f"{task.name} n={n}"
    heads = [
        f"{count} pass{'es'[: 2 * (count > 1)]} of {of}" for of in ("texts", "gradients") for count in PASSES
    ]
    print(f"\n{key:26s}" + "".join(f"{head:>24s}" for head in heads))
    for name, start in METHODS.items():
        if name.startswith("Adam") and task.X.shape[1] * task.X.shape[0] > 1e8 and n == 1:
            continue  # dense steps of so many parameters take an hour
        means = np.mean([passes(task, n, start, seed) for seed in range(seeds)], axis=0).ravel()
        print(f"  {name:24s}" + "".join(f"{loss:24.3f}" for loss in means), flush=True)
        if name == "refsgd, sparse form" and key in BARS:
            for what, loss in (("texts", means[0]), ("gradients", means[len(PASSES)])):
                word = "met" if loss <= BARS[key] else "NOT met"
                print(f"  {word}: at most {BARS[key]:g} after one pass of {what} ({loss:.4f})")
    if n == 1:
        try:
            means = np.mean([scikit_learn(task, seed) for seed in range(seeds)], axis=0)
        except ImportError:
            print("  scikit-learn is not installed")
        else:
            print(f"  {'SGDClassifier':24s}" + "".join(f"{loss:24.3f}" for loss in [*means, *means]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the slice of RCV1")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed, and no Zipf task where there is RCV1")
    options = parser.parse_args()
    seeds = 1 if options.quick else options.seeds
    if options.data:
        task = rcv1(options.data)
        for n in (1, 10):
            compare(task, n, seeds)
    if not (options.quick and options.data):
        compare(zipf(20_000), 1, seeds)


if __name__ == "__main__":
    main()
