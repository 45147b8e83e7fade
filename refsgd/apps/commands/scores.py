"""Losses of scores, and measurements on a test file as it streams by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...linear.losses import LossName, best_constant, values
from .predictor import Predictor

Array = NDArray[np.float64]


def targets(y: Array, classes: Array | None) -> Array:
    """Targets of each output ``(n, n_outputs)``: y, or -1 and 1."""
    if classes is None:
        return y[:, None]
    return np.where(y[:, None] == (classes[1:] if classes.size == 2 else classes), 1.0, -1.0)


class LabelSample:
    """Labels and weights of samples drawn evenly from all seen so far, or of all if they are few."""

    LARGEST = 2**17

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._kept = np.zeros((3, 0))  # keys, labels, weights: the samples with the smallest random keys stay

    def add(self, y: Array, weights: Array | None) -> None:
        rows = np.stack([self._rng.random(y.size), y, np.ones(y.size) if weights is None else weights])
        self._kept = np.concatenate([self._kept, rows], axis=1)
        if self._kept.shape[1] > self.LARGEST:
            smallest = np.argpartition(self._kept[0], self.LARGEST)[: self.LARGEST]
            self._kept = self._kept[:, smallest]

    def constant(self, loss: LossName, epsilon: float, classes: Array | None) -> tuple[Array, float]:
        """The best scores that ignore all features, one per output, and their mean loss."""
        _, y, w = self._kept
        if w.sum() == 0:
            w = np.ones_like(w)
        each = targets(y, classes).T
        best = np.array([best_constant(loss, t, w) for t in each])
        mean = sum(
            np.average(values(loss, np.full(t.shape, z), t, epsilon), weights=w)
            for z, t in zip(best, each, strict=True)
        )
        return best, float(mean)


class Tally:
    """Measures a predictor on samples that come in chunks: loss, and error and AUC, or R2.

    The AUC needs all scores: with two classes, 24 bytes are kept per sample; nothing else grows.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.n_rows = 0
        self._sums = np.zeros(6)
        self._kept: list[Array] = []

    def add(self, X: Any, y: Array, weights: Array | None) -> None:
        model = self.predictor
        z, w = model.scores(X), np.ones(y.size) if weights is None else weights
        self.n_rows += y.size
        each = zip(z.T, targets(y, model.classes).T, strict=True)
        loss = sum(values(model.loss, score, t, model.epsilon) for score, t in each)
        self._sums[:2] += [w.sum(), np.dot(w, loss)]
        if model.classes is None:
            self._sums[2:5] += [np.dot(w, y), np.dot(w, y**2), np.dot(w, (y - model.means(z)) ** 2)]
        else:
            self._sums[5] += np.dot(w, model.classes[model.labels(z)] != y)
            if model.classes.size == 2:
                self._kept.append(np.stack([z[:, 0], y == model.classes[1], w]))

    @property
    def measures(self) -> dict[str, float]:
        """The measurements, by their names in the report."""
        weight, loss, y, y2, residual, wrong = self._sums
        if weight == 0:
            return {"loss": np.nan}
        if self.predictor.classes is None:
            spread = y2 - y * y / weight
            return {"loss": loss / weight, "R2": 1 - residual / spread if spread > 0 else np.nan}
        found: dict[str, float] = {"loss": loss / weight, "error": wrong / weight}
        if self._kept:
            found["AUC"] = auc(*np.concatenate(self._kept, axis=1))
        return found


def auc(z: Array, is_positive: Array, w: Array) -> float:
    """Share of pairs of a positive and a negative sample that z ranks correctly, ties for half; or NaN."""
    _, rank = np.unique(z, return_inverse=True)
    positive = np.bincount(rank, w * is_positive)
    negative = np.bincount(rank, w * (1 - is_positive))
    pairs = positive.sum() * negative.sum()
    right = positive @ (np.cumsum(negative) - negative / 2)
    return float(right / pairs) if pairs > 0 else np.nan
