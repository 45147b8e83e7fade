"""Classification tasks for linear.py: real, and generated to be hard in one way each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array, issparse
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from refsgd.datasets import load_mnist


class Task(NamedTuple):
    """Labels are -1 and 1, one column a class."""

    name: str
    X: Any
    Y: np.ndarray
    X_test: Any
    Y_test: np.ndarray
    is_stream: bool = False

    def rescaled(self, units: np.ndarray) -> Task:
        X, X_test = (
            csr_array(X @ diags_array(units)) if issparse(X) else X * units for X in (self.X, self.X_test)
        )
        return self._replace(name=f"{self.name} rescaled", X=X, X_test=X_test)


def halves(name: str, X: Any, labels: np.ndarray, seed: int = 0, share: float = 0.7) -> Task:
    """A random part to learn from and the rest to test on."""
    order = np.random.default_rng(seed).permutation(len(labels))
    first, last = np.split(order, [int(share * len(order))])
    Y = one_against_rest(labels)
    return Task(name, X[first], Y[first], X[last], Y[last])


def one_against_rest(labels: np.ndarray) -> np.ndarray:
    classes = np.unique(labels)
    classes = classes[1:] if classes.size == 2 else classes
    return np.where(labels[:, None] == classes, 1.0, -1.0)


def drawn(score: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels with the log-odds ``score``."""
    return np.where(rng.random(score.size) < expit(score), 1.0, -1.0)


def scattered(n: int, dim: int, dtype: str = "float64") -> tuple[csr_array, np.ndarray]:
    """Rows of 75 entries anywhere among the columns, and labels that have nothing to do with them."""
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, dim - 75, (n, 75), np.int32), axis=1)
    columns += np.arange(75, dtype=np.int32)  # no column twice
    ends = 75 * np.arange(n + 1, dtype=np.int32)
    X = csr_array((rng.random(columns.size, dtype), columns.ravel(), ends), shape=(n, dim))
    return X, np.where(rng.random(n) < 0.5, -1.0, 1.0)


def zipf(n: int = 200_000, d: int = 47_000, words: int = 95) -> Task:
    """Texts of words by Zipf's law, some 75 different ones each: 1 + log(count), in rows of length 1."""
    rng = np.random.default_rng(0)
    columns = np.exp(rng.random((n + n // 10, words), np.float32) * np.log(d + 1.0)) - 1.0
    ends = words * np.arange(len(columns) + 1, dtype=np.int32)
    X = csr_array((np.ones(columns.size), columns.astype(np.int32).ravel(), ends), shape=(len(columns), d))
    X.sum_duplicates()
    X.data = 1.0 + np.log(X.data)
    X.data /= np.repeat(np.sqrt(X.multiply(X).sum(axis=1)), np.diff(X.indptr))
    labels = drawn(3.0 * (X @ rng.normal(size=d)), rng)[:, None]
    return Task("zipf", X[:n], labels[:n], X[n:], labels[n:])


def imbalanced() -> Task:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(20_000, 50))
    return halves("imbalanced", X, drawn(X @ rng.normal(size=50) / 4.0 - 5.0, rng))


def heavy_tails() -> Task:
    rng = np.random.default_rng(2)
    X = rng.standard_t(2.0, size=(10_000, 50))
    return halves("heavy tails", X, drawn(X @ rng.normal(size=50) / 5.0, rng))


def counts() -> Task:
    rng = np.random.default_rng(3)
    X = rng.poisson(np.exp(rng.normal(-2.0, 1.5, 300)), (10_000, 300)).astype(float)
    return halves("counts", csr_array(X), drawn((X - X.mean(axis=0)) @ rng.normal(size=300) / 5.0, rng))


def ill_conditioned() -> Task:
    rng = np.random.default_rng(4)
    rotation = np.linalg.qr(rng.normal(size=(50, 50)))[0]
    X = rng.normal(size=(10_000, 50)) * np.geomspace(1.0, 1e-2, 50) @ rotation
    score = X @ rng.normal(size=50)
    return halves("ill-conditioned", X, drawn(3.0 * score / score.std(), rng))


def offset() -> Task:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(10_000, 30))
    return halves("offset", X + rng.normal(0.0, 5.0, 30), drawn(X @ rng.normal(size=30) / 2.0, rng))


def stream() -> Task:
    """The coefficients turn, by one radian over 5,000 samples."""
    rng = np.random.default_rng(6)
    X, (one, other) = rng.normal(size=(20_000, 20)), rng.normal(size=(2, 20))
    angle = np.arange(20_000)[:, None] / 5_000
    labels = drawn((X * (np.cos(angle) * one + np.sin(angle) * other)).sum(axis=1), rng)[:, None]
    return Task("drifting stream", X, labels, X[:0], labels[:0], is_stream=True)


def separable() -> Task:
    rng = np.random.default_rng(7)
    X, coef = rng.normal(size=(12_000, 20)), rng.normal(size=20)
    margin = X @ coef / np.linalg.norm(coef)
    return halves("separable", X[np.abs(margin) > 0.5], np.sign(margin[np.abs(margin) > 0.5]))


def rcv1(folder: Path) -> Task:
    """A slice of RCV1 as Vowpal Wabbit has it in its tests."""
    train, test = (parsed(folder / name) for name in ("rcv1_small.dat", "rcv1_small_test.data"))
    d = 1 + max(int(rows[1].max()) for rows in (train, test))
    (X, y), (X_test, y_test) = (
        (csr_array(part[:3], shape=(len(part[3]), d)), part[3]) for part in (train, test)
    )
    return Task("rcv1", X, y[:, None], X_test, y_test[:, None])


def parsed(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Entries, columns and ends of rows, and labels."""
    labels, ends, entries = [], [0], []
    for line in path.read_text().splitlines():
        label, _, features = line.partition(" |f ")
        entries += [pair.split(":") for pair in features.split()]
        labels.append(float(label))
        ends.append(len(entries))
    columns, values = np.ascontiguousarray(np.array(entries, dtype=float).T)
    return values, columns.astype(np.int32), np.array(ends, np.int32), np.array(labels)


def mnist(folder: Path) -> Task:
    data = load_mnist(folder)
    X, X_test = (csr_array(rows.reshape(len(rows), -1).astype(float)) for rows in (data.X_train, data.X_test))
    return Task("mnist", X, one_against_rest(data.y_train), X_test, one_against_rest(data.y_test))


def tasks(folder: Path | None, is_quick: bool, only: str | None) -> Iterator[Task]:
    """Those that are asked for; files that are not there are named."""
    digits = halves("digits", *load_digits(return_X_y=True))
    units = np.exp(np.random.default_rng(8).uniform(-5.0, 5.0, 64))
    makers: dict[str, Callable[[], Task]] = {
        "zipf": lambda: zipf(20_000 if is_quick else 200_000),
        "digits": lambda: digits,
        "digits rescaled": lambda: digits.rescaled(units),
        "cancer": lambda: halves("cancer", *load_breast_cancer(return_X_y=True)),
        "wine": lambda: halves("wine", *load_wine(return_X_y=True)),
        "imbalanced": imbalanced,
        "heavy tails": heavy_tails,
        "counts": counts,
        "ill-conditioned": ill_conditioned,
        "offset": offset,
        "stream": stream,
        "separable": separable,
        "rcv1": lambda: rcv1(folder or Path()),
        "mnist": lambda: mnist(folder or Path()),
    }
    for name, make in makers.items():
        if only and name not in only.split(","):
            continue
        if name in ("rcv1", "mnist") and folder is None:
            print(f"{name}: needs --data DIR")
            continue
        try:
            yield make()
        except FileNotFoundError as error:
            print(f"{name}: {error}")
