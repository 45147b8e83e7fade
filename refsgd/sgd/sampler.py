"""Minibatches: each epoch in a new random order, and resumable at any step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import message


class Minibatches:
    """The samples of arrays that share axis 0, ``batch_size`` at a time; the last of an epoch may be fewer.

    The number of a step determines its samples, so that an interrupted run never loses count. Without arrays
    every minibatch is empty.

    Attributes
    ----------
    steps_per_epoch : int
        Minibatches in one pass; 0 without arrays.
    """

    def __init__(self, arrays: Sequence[Any], batch_size: int, random_state: Any) -> None:
        self.arrays = arrays
        self.n_samples = arrays[0].shape[0] if arrays else 0
        self.batch_size = batch_size
        self.steps_per_epoch = math.ceil(self.n_samples / batch_size)
        self._rng = np.random.default_rng(random_state)
        self._epoch = -1
        self._before = self._rng.bit_generator.state  # draws the order of this epoch
        self._order = np.empty(0, np.int64)

    def sample_indices(self, step: int, n_steps: int = 1) -> NDArray[np.int64]:
        """Indices of the samples of ``n_steps`` minibatches from number ``step`` = 0, 1, ... on.

        All must lie in one epoch, and in none before the last one asked for: its order is forgotten.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        while self._epoch < epoch:
            self._shuffle()
        return self._order[place * self.batch_size : (place + n_steps) * self.batch_size]

    def _shuffle(self) -> None:
        self._before = self._rng.bit_generator.state
        self._order = self._rng.permutation(self.n_samples)
        self._epoch += 1

    def at(self, step: int) -> list[Any]:
        """Minibatch number ``step``: one piece of each array."""
        if not self.arrays:
            return []
        indices = self.sample_indices(step)
        return [array[indices] for array in self.arrays]

    def __iter__(self) -> Iterator[list[Any]]:
        """Endless minibatches, from the first."""
        step = 0
        while True:
            yield self.at(step)
            step += 1

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What reproduces the minibatches, as plain arrays."""
        return {
            "sampler": np.array([self.n_samples, self.batch_size, self._epoch]),
            "sampler_rng": np.array(json.dumps(self._before, default=np.ndarray.tolist)),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a `state_dict`.

        Raises
        ------
        ValueError
            If it is of other data or another size of minibatches, or incomplete.
        """
        missing = sorted(self.state_dict().keys() - set(state))
        if missing:
            remedy = "pass the state of a result of minimize"
            raise ValueError(message("resume", "say which samples come next", f"none of {missing}", remedy))
        n_samples, batch_size, epoch = map(int, state["sampler"])
        if (n_samples, batch_size) != (self.n_samples, self.batch_size):
            must = f"be of {self.n_samples} samples in minibatches of {self.batch_size}"
            remedy = "pass the same args and batch_size"
            raise ValueError(message("resume", must, f"{n_samples} in minibatches of {batch_size}", remedy))
        rng_state = json.loads(str(state["sampler_rng"]))
        self._rng = np.random.Generator(getattr(np.random, rng_state["bit_generator"])())
        self._rng.bit_generator.state = self._before = rng_state
        self._epoch = max(epoch, 0) - 1
        if epoch >= 0:
            self._shuffle()
