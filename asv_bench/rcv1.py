"""Test log-loss of sparse logistic regression on a slice of RCV1 after each pass, online and in minibatches.

    python asv_bench/rcv1.py --data DIR

DIR holds rcv1_small.dat and rcv1_small_test.data in Vowpal Wabbit's text form. Beside it scikit-learn's
SGDClassifier with its defaults, where that is installed.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

import refsgd

PASSES = (1, 3, 5)


def load(path: Path, n_features: int = 0) -> tuple[csr_array, np.ndarray]:
    """Rows with a constant feature 0, and labels 0 and 1."""
    labels, indptr, indices, data = [], [0], [], []
    for line in path.read_text().splitlines():
        label, _, features = line.partition(" |f ")
        pairs = sorted((int(i), float(v)) for i, v in (pair.split(":") for pair in features.split()))
        labels.append(int(label) > 0)
        indices += [0, *(i for i, _ in pairs)]
        data += [1.0, *(v for _, v in pairs)]
        indptr.append(len(indices))
    width = n_features or max(indices) + 1
    keep = np.array(indices) < width  # features that training never saw say nothing
    data, indices = np.where(keep, data, 0), np.minimum(indices, width - 1).astype(np.int32)
    rows = csr_array((data, indices, np.array(indptr, np.int32)), shape=(len(labels), width))
    rows.sum_duplicates()
    return rows, np.array(labels, float)


def grad(x, X, y):  # type: ignore[no-untyped-def]
    residual = 1 / (1 + np.exp(-(X @ x))) - y
    return csr_array((X.data * np.repeat(residual, np.diff(X.indptr)), X.indices, X.indptr), shape=X.shape)


def loss(x, X, y):  # type: ignore[no-untyped-def]
    z = X @ x
    return float(np.mean(np.logaddexp(0, z) - y * z))


def ours(train, test, method, batch_size, seeds=3):  # type: ignore[no-untyped-def]
    losses = []
    for epochs in PASSES:
        results = [
            refsgd.minimize(
                grad,
                np.zeros(train[0].shape[1]),
                train,
                method=method,
                batch_size=batch_size,
                epochs=epochs,
                random_state=seed,
            )
            for seed in range(seeds)
        ]
        losses.append(statistics.mean(loss(res.x, *test) for res in results))
    return losses


def scikit_learn(train, test, seeds=3):  # type: ignore[no-untyped-def]
    from sklearn.linear_model import SGDClassifier

    losses = []
    for epochs in PASSES:
        each = []
        for seed in range(seeds):
            model = SGDClassifier("log_loss", max_iter=epochs, tol=None, random_state=seed).fit(*train)
            z = model.decision_function(test[0])
            each.append(float(np.mean(np.logaddexp(0, z) - test[1] * z)))
        losses.append(statistics.mean(each))
    return losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    folder = parser.parse_args().data
    train = load(folder / "rcv1_small.dat")
    test = load(folder / "rcv1_small_test.data", train[0].shape[1])
    share = train[1].mean()
    print(f"base rate {-np.mean(np.log(np.where(test[1] > 0, share, 1 - share))):.3f}")
    print(f"{'test log-loss after passes':32s}" + "".join(f"{epochs:8d}" for epochs in PASSES))
    sparse = refsgd.VSGD(weighting="sparse")
    rows = {
        "vSGD-fd, sparse, n = 1": lambda: ours(train, test, sparse, 1),
        "vSGD-fd, sparse, n = 10": lambda: ours(train, test, sparse, 10),
        "the same as published, n = 1": lambda: ours(
            train, test, refsgd.VSGD(weighting="sparse", faithful=True), 1
        ),
        "scikit-learn SGDClassifier": lambda: scikit_learn(train, test),
    }
    for name, measure in rows.items():
        try:
            print(f"{name:32s}" + "".join(f"{value:8.3f}" for value in measure()), flush=True)
        except ImportError:
            print(f"{name:32s}  not installed")
