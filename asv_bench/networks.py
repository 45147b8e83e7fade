"""Networks on MNIST's images and their mean gradients in plain NumPy: the tasks of `quality.py`.

`refsgd.models` has the same gradients, but checks its arguments; here a step is as short as NumPy allows, so
that some hundreds of trainings take an hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refsgd.datasets import Dataset
from refsgd.models import MLP, Softmax

Array = NDArray[np.float32]


class Task(NamedTuple):
    """A network, a size of minibatches, and after how many epochs' worth of gradients it is looked at."""

    name: str
    widths: tuple[int, ...]
    activation: str
    batch_size: int
    marks: tuple[int, ...]

    @property
    def model(self) -> Any:
        """The same model in refsgd, which sets the initial weights and gives the scores."""
        return MLP(self.widths, self.activation) if len(self.widths) > 2 else Softmax(*self.widths)

    def batches(self, data: Dataset, seed: int) -> Iterator[tuple[Array, NDArray[np.int64]]]:
        """Minibatches without end, each epoch in a new order."""
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(data.y_train))
            for begin in range(0, len(order), self.batch_size):
                rows = order[begin : begin + self.batch_size]
                yield data.X_train[rows], data.y_train[rows]

    def steps(self, data: Dataset) -> int:
        """Minibatches in an epoch."""
        return -(-len(data.y_train) // self.batch_size)

    def score(self, x: Array, data: Dataset) -> tuple[float, float]:
        """Train loss, and test error in %."""
        model = self.model
        loss = float(model.loss(x, data.X_train, data.y_train))
        return loss, 100 * float(model.error(x, data.X_test, data.y_test))

    def gradient(
        self, x: Array, X: Array, y: NDArray[np.int64], out: Array | None = None
    ) -> tuple[float, Array]:
        """The mean loss of a minibatch, and its gradient (d,)."""
        gradient = np.empty_like(x) if out is None else out
        weights, biases = self._layers(x)
        inputs = [X]
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            z = inputs[-1] @ W
            z += b
            inputs.append(np.tanh(z, out=z) if self.activation == "tanh" else np.maximum(z, 0, out=z))
        z = inputs[-1] @ weights[-1]
        z += biases[-1]
        z -= z.max(axis=1, keepdims=True)
        of_labels = np.arange(len(y)), y
        right = z[of_labels]
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(total[:, 0]) - right))
        z /= total
        z[of_labels] -= 1
        z *= np.float32(1 / len(y))
        of_weights, of_biases = self._layers(gradient)
        for k in reversed(range(len(weights))):
            np.dot(inputs[k].T, z, out=of_weights[k])
            z.sum(axis=0, out=of_biases[k])
            if k:
                a = inputs[k]
                z = z @ weights[k].T
                z *= 1 - a * a if self.activation == "tanh" else a > 0
        return loss, gradient

    def _layers(self, x: Array) -> tuple[list[Array], list[Array]]:
        """Views of the weights and of the biases in a flat vector."""
        weights, biases, begin = [], [], 0
        for n_in, n_out in pairwise(self.widths):
            end = begin + n_in * n_out
            weights.append(x[begin:end].reshape(n_in, n_out))
            biases.append(x[end : end + n_out])
            begin = end + n_out
        return weights, biases


TASKS = {
    task.name: task
    for task in (
        Task("tanh n=10", (784, 120, 10), "tanh", 10, (1, 5, 10)),
        Task("tanh n=100", (784, 120, 10), "tanh", 100, (1, 5, 10)),
        Task("ReLU n=10", (784, 120, 10), "relu", 10, (1, 5, 10)),
        Task("ReLU n=100", (784, 120, 10), "relu", 100, (1, 5, 10)),
        Task("deep n=10", (784, 500, 300, 10), "tanh", 10, (1, 5)),
        Task("softmax n=1", (784, 10), "", 1, (1, 5)),
        Task("softmax n=10", (784, 10), "", 10, (1, 5, 10)),
        Task("softmax n=100", (784, 10), "", 100, (1, 5, 10)),
    )
}
