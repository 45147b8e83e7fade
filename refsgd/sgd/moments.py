"""Moments of per-sample gradients: what a minibatch tells the optimiser, all that a worker has to send."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from .._config import backend_name
from .._errors import message
from .._validation import float_array


class Moments(NamedTuple):
    """Mean and mean square of the gradients of ``n_samples`` samples.

    Parameters
    ----------
    n_samples : int
        Number of samples behind the means, at least 1.
    mean : (d,) array
        Mean gradient, in units ``loss / x``.
    mean_sq : (d,) array or None
        Mean of the squared per-sample gradients, ``(loss / x)**2``. None is enough where only the mean is
        used: at a probe point, or where ``n_samples`` is 1 and the mean is the sample.

    Examples
    --------
    >>> import numpy as np, refsgd
    >>> rows = np.array([[1.0, 2.0], [3.0, 2.0]])
    >>> refsgd.Moments.from_rows(rows)
    Moments(n_samples=2, mean=array([2., 2.]), mean_sq=array([5., 4.]))
    >>> one, two = refsgd.Moments.from_rows(rows[:1]), refsgd.Moments.from_rows(rows[1:])
    >>> one.merge(two)
    Moments(n_samples=2, mean=array([2., 2.]), mean_sq=array([5., 4.]))
    """

    n_samples: int
    mean: NDArray[Any]
    mean_sq: NDArray[Any] | None = None

    @classmethod
    def from_rows(cls, rows: NDArray[Any], *, backend: str | None = None) -> Moments:
        """Moments of per-sample gradients ``rows`` (n, d), float32 or float64.

        Raises
        ------
        TypeError, ValueError
            If ``rows`` has another dtype, another number of axes, or no row.
        """
        rows = float_array("rows", rows, ("n", "d"), finite=False, remedy="pass one row per sample")
        if len(rows) == 0:
            raise ValueError(message("rows", "have at least one row", rows.shape, "drop empty minibatches"))
        mean, mean_sq = np.empty((2, rows.shape[1]), rows.dtype)
        kernels.load(backend_name(backend)).moments(rows, mean, mean_sq)
        return cls(len(rows), mean, mean_sq)

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of samples together.

        Associative, and equal to one pass over all samples, to rounding.
        """
        if self.mean_sq is None or other.mean_sq is None:
            raise ValueError(
                message("mean_sq", "be given on both sides", None, "keep the mean squares to merge")
            )
        if self.mean.shape != other.mean.shape:
            raise ValueError(
                message(
                    "other.mean", f"have shape {self.mean.shape}", other.mean.shape, "merge equal dimensions"
                )
            )
        total = self.n_samples + other.n_samples
        share = other.n_samples / total
        mean = self.mean + share * (other.mean - self.mean)
        mean_sq = self.mean_sq + share * (other.mean_sq - self.mean_sq)
        return Moments(total, mean, mean_sq)
