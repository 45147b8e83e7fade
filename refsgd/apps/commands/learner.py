"""The bridge from text files to `LinearModel`: targets, one model per output, growth, losses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..._errors import message
from ...linear.losses import LossName
from ...linear.model import LinearModel
from ..textdata import Chunk
from .predictor import Predictor
from .scores import targets

GROWTH = 1.5  # at least, so that rising indices cost few copies


class Learner:
    """Learns chunk by chunk, sample by sample, in order.

    Three or more classes are learnt one against the rest: one model per class, and the loss is their sum.
    """

    def __init__(
        self, first: Chunk, bits: int, classes: NDArray[np.float64] | None, loss: LossName, **options: Any
    ) -> None:
        self._loss, self._classes, self._text = loss, classes, (first.format, bits)
        self._n_features = self._width = first.X.shape[1]  # seen so far, and of the models
        n_outputs = 1 if classes is None or classes.size == 2 else classes.size
        with _memory_for(self._width):
            self._models = [LinearModel(self._width, loss, **options) for _ in range(n_outputs)]
        self.begin_pass()

    def begin_pass(self) -> None:
        """Reset the progressive loss."""
        self._weight = self._sum = 0.0

    def learn(self, chunk: Chunk) -> None:
        n, width = chunk.X.shape
        self._n_features = max(self._n_features, width)
        if width > self._width:
            self._width = max(width, int(GROWTH * self._width))
            with _memory_for(self._width):
                for model in self._models:
                    model.grow(self._width)
        X = csr_array((chunk.X.data, chunk.X.indices, chunk.X.indptr), shape=(n, self._width))
        samples = self._models[0].checked(X)
        weight = float(n if chunk.weights is None else chunk.weights.sum())
        for model, y in zip(self._models, targets(chunk.y, self._classes).T, strict=True):
            self._sum += weight * model.learn(samples, y, chunk.weights)
        self._weight += weight

    @property
    def progressive_loss(self) -> float:
        """The mean loss of this pass; each sample's is computed before it is learnt."""
        return self._sum / self._weight if self._weight else 0.0

    def predictor(self) -> Predictor:
        coef = np.stack([model.coef[: self._n_features] for model in self._models])
        intercept = np.array([model.intercept for model in self._models])
        return Predictor(coef, intercept, self._loss, self._models[0].epsilon, self._classes, *self._text)


@contextmanager
def _memory_for(width: int) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        remedy = "number the features without large gaps"
        text = message("data", "have indices for which there is memory", width - 1, remedy)
        raise ValueError(text) from None
