"""Minibatches of rows: each epoch in a new random order, and resumable at any step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import message


class Minibatches:
    """Rows of arrays that share axis 0, ``batch_size`` at a time; the last of an epoch may be fewer.

    Which rows belong to a step follows from the number of the step, so that an interrupted run never loses
    count. Without arrays every minibatch is empty.

    Attributes
    ----------
    steps_an_epoch : int
        Minibatches in one pass; 0 without arrays.
    """

    def __init__(self, arrays: Sequence[Any], batch_size: int, random_state: Any) -> None:
        self.arrays = arrays
        self.n_rows = arrays[0].shape[0] if arrays else 0
        self.batch_size = batch_size
        self.steps_an_epoch = math.ceil(self.n_rows / batch_size)
        self._rng = np.random.default_rng(random_state)
        self._epoch = -1
        self._before = self._rng.bit_generator.state  # from which the order of this epoch was drawn
        self._order = np.empty(0, np.int64)

    def rows(self, step: int, n_steps: int = 1) -> NDArray[np.int64]:
        """The rows of ``n_steps`` minibatches from number ``step`` = 0, 1, ... on, within one epoch.

        Steps of an earlier epoch than one asked for before are gone.
        """
        epoch, place = divmod(step, self.steps_an_epoch)
        while self._epoch < epoch:
            self._shuffle()
        return self._order[place * self.batch_size : (place + n_steps) * self.batch_size]

    def _shuffle(self) -> None:
        self._before = self._rng.bit_generator.state
        self._order = self._rng.permutation(self.n_rows)
        self._epoch += 1

    def at(self, step: int) -> list[Any]:
        """Minibatch number ``step``: one piece of each array."""
        if not self.arrays:
            return []
        rows = self.rows(step)
        return [array[rows] for array in self.arrays]

    def __iter__(self) -> Iterator[list[Any]]:
        """Endless minibatches, from the first."""
        step = 0
        while True:
            yield self.at(step)
            step += 1

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What makes the same minibatches again, as plain arrays."""
        return {
            "sampler": np.array([self.n_rows, self.batch_size, self._epoch]),
            "sampler_rng": np.array(json.dumps(self._before, default=np.ndarray.tolist)),
        }

    def load_state_dict(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Go on as `state_dict` says.

        Raises
        ------
        ValueError
            If it is of other data or another size of minibatches, or incomplete.
        """
        missing = sorted(self.state_dict().keys() - set(saved))
        if missing:
            remedy = "pass the state of a result of minimize"
            raise ValueError(message("resume", "say which rows come next", f"none of {missing}", remedy))
        n_rows, batch_size, epoch = map(int, saved["sampler"])
        if (n_rows, batch_size) != (self.n_rows, self.batch_size):
            must = f"be of {self.n_rows} rows in minibatches of {self.batch_size}"
            remedy = "pass the same args and batch_size"
            raise ValueError(message("resume", must, f"{n_rows} in minibatches of {batch_size}", remedy))
        state = json.loads(str(saved["sampler_rng"]))
        self._rng = np.random.Generator(getattr(np.random, state["bit_generator"])())
        self._rng.bit_generator.state = self._before = state
        self._epoch = max(epoch, 0) - 1
        if epoch >= 0:
            self._shuffle()
