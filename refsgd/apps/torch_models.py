"""Small convolutional networks, whose gradients PyTorch computes, with the face of `refsgd.models`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch.nn import functional as F

N_BLOCKS = 3


@contextmanager
def one_thread() -> Iterator[None]:
    """For networks so small that threads wait for each other, and worse so beside other programs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class ConvNet:
    """Seven 3 x 3 convolutions with ReLU units, and a linear layer on the means of the last maps.

    The first stands alone, the others are three blocks of two; after the first and the second block maps are
    averaged 2 by 2. A residual block adds its input to its output before the last ReLU. Batch normalisation
    follows each convolution, always by the minibatch at hand, so that the loss is a function of parameters
    and minibatch alone. Parameters are one flat vector, as in `refsgd.models`.

    Parameters
    ----------
    side : int
        Images are ``side`` x ``side`` pixels, at least 4.
    residual, batch_norm : bool
    channels, n_classes : int

    Examples
    --------
    >>> model = ConvNet(8, residual=True)
    >>> x = model.init(random_state=0)
    >>> n, mean, _ = model.moments(x, np.ones((5, 64), np.float32), np.array([3, 1, 4, 1, 5]))
    >>> n, mean.shape == x.shape == (model.n_params,)
    (5, True)
    """

    side: int
    residual: bool = False
    batch_norm: bool = False
    channels: int = 16
    n_classes: int = 10

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Layer by layer the weights and then the biases, or the scales and the shifts."""
        k = self.channels
        after = [(k,), (k,)] if self.batch_norm else [(k,)]
        convolutions = [(k, k if i else 1, 3, 3) for i in range(1 + 2 * N_BLOCKS)]
        shapes = [shape for conv in convolutions for shape in (conv, *after)]
        return [*shapes, (self.n_classes, k), (self.n_classes,)]

    @property
    def n_params(self) -> int:
        return sum(map(math.prod, self.shapes))

    def init(self, random_state: Any = None, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Normal weights of deviation ``sqrt(2 / n_in)``; scales 1, biases and shifts 0."""
        rng = np.random.default_rng(random_state)
        parts, is_scale = [], False
        for shape in self.shapes:
            if len(shape) > 1:
                parts.append(rng.normal(scale=(2 / math.prod(shape[1:])) ** 0.5, size=shape).ravel())
                is_scale = self.batch_norm and len(shape) == 4
            else:
                parts.append(np.full(shape, float(is_scale)))
                is_scale = False
        return np.concatenate(parts).astype(dtype)

    def moments(
        self, x: NDArray[Any], X: NDArray[Any], y: NDArray[Any], squares: bool = False
    ) -> tuple[int, NDArray[Any], None]:
        """The number of samples, the mean gradient ``(d,)`` and None: ``squares`` are not computed."""
        at = torch.tensor(x, requires_grad=True)
        (gradient,) = torch.autograd.grad(self._mean_loss(at, X, y), at)
        return len(X), gradient.numpy(), None

    def loss(self, x: NDArray[Any], X: NDArray[Any], y: NDArray[Any]) -> float:
        """The mean loss, in nats."""
        with torch.no_grad():
            return float(self._mean_loss(torch.tensor(x), X, y))

    def _mean_loss(self, x: torch.Tensor, X: NDArray[Any], y: NDArray[Any]) -> torch.Tensor:
        pieces = x.split([math.prod(shape) for shape in self.shapes])
        weights = iter([piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)])

        def convolve(maps: torch.Tensor) -> torch.Tensor:
            if not self.batch_norm:
                return F.conv2d(maps, next(weights), next(weights), padding=1)
            maps = F.conv2d(maps, next(weights), padding=1)
            return F.batch_norm(maps, None, None, next(weights), next(weights), training=True)

        images = torch.as_tensor(X, dtype=x.dtype).view(-1, 1, self.side, self.side)
        maps = F.relu(convolve(images))
        for block in range(N_BLOCKS):
            out = convolve(F.relu(convolve(maps)))
            maps = F.relu(out + maps if self.residual else out)
            if block < N_BLOCKS - 1:
                maps = F.avg_pool2d(maps, 2)
        scores = F.linear(maps.mean(dim=(2, 3)), next(weights), next(weights))
        return F.cross_entropy(scores, torch.as_tensor(y))
