"""Moments of per-sample gradients: all of a minibatch that the optimiser needs and a worker has to send."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from .._config import BackendName, backend_name
from .._errors import message
from .._validation import float_array, integer, not_finite_entries
from ..kernels.contract import Kernels
from .csr import checked_csr


class Moments(NamedTuple):
    """Mean and mean square of the gradients of ``n_samples`` samples.

    Parameters
    ----------
    n_samples : int
        Number of samples behind the means, at least 1.
    mean : (d,) array
        Mean gradient, in units ``loss / x``.
    mean_sq : (d,) array or None
        Mean of the squared per-sample gradients, ``(loss / x)**2``. None is enough for the default rule, at a
        probe point, and if ``n_samples`` is 1, where the mean is the sample.

    See Also
    --------
    Run.tell : takes moments as a gradient.

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
    def from_rows(cls, rows: NDArray[Any], *, backend: BackendName | None = None) -> Moments:
        """Moments of per-sample gradients.

        Parameters
        ----------
        rows : (n, d) array
            The gradient of each sample, float32 or float64.
        backend : {"auto", "c", "numba", "numpy"}, optional
            The kernels; by default as `refsgd.use_backend` says.

        Returns
        -------
        Moments

        Raises
        ------
        TypeError, ValueError
            If ``rows`` has another dtype, another number of axes, or no row.

        Examples
        --------
        >>> import numpy as np, refsgd
        >>> refsgd.Moments.from_rows(np.array([[1.0], [3.0]]))
        Moments(n_samples=2, mean=array([2.]), mean_sq=array([5.]))
        """
        rows = checked_rows("rows", rows, "d")
        mean, mean_sq = np.empty((2, rows.shape[1]), rows.dtype)
        kernels.load(backend_name(backend)).moments(rows, mean, mean_sq)
        return cls(len(rows), mean, mean_sq)

    def merge(self, other: Moments) -> Moments:
        """Moments of the samples of both together.

        Merging is associative and equals one pass over all samples, up to rounding.

        Parameters
        ----------
        other : Moments
            Of other samples, with mean squares.

        Returns
        -------
        Moments

        Raises
        ------
        ValueError
            If a mean square is missing, or the dimensions differ.

        Examples
        --------
        >>> import numpy as np, refsgd
        >>> one, two = (refsgd.Moments(1, np.array([g]), np.array([g * g])) for g in (1.0, 3.0))
        >>> one.merge(two)
        Moments(n_samples=2, mean=array([2.]), mean_sq=array([5.]))
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


def checked_rows(name: str, rows: Any, d: int | str) -> NDArray[Any]:
    """Per-sample gradients (n, d) with n >= 1, whatever their values."""
    checked = float_array(name, rows, ("n", d), finite=False, remedy="pass one row per sample")
    if len(checked) == 0:
        raise ValueError(message(name, "have at least one row", checked.shape, "drop empty minibatches"))
    return checked


def sample_rows(name: str, gradient: Any, d: int) -> NDArray[Any]:
    """Per-sample gradients (n, d) with n >= 1; (d,) counts as one sample."""
    gradient = np.asarray(gradient)
    return checked_rows(name, gradient[np.newaxis] if gradient.shape == (d,) else gradient, d)


def checked_moments(
    name: str,
    gradient: Any,
    x: NDArray[Any],
    backend: Kernels,
    mean: NDArray[Any],
    mean_sq: NDArray[Any] | None,
    step: int,
) -> Moments:
    """The moments of the gradient that a user gave at ``x``, in the dtype of ``x``.

    Averages of rows, dense or sparse, are written to ``mean`` and ``mean_sq`` (d,); pass None for mean
    squares that are not needed.

    Raises
    ------
    TypeError, ValueError
        If the gradient has a wrong type, dtype or shape.
    FloatingPointError
        If it is not finite, or so large that its square is not.
    """
    if isinstance(gradient, tuple):
        moments = moments_from_tuple(name, gradient, x)
    elif hasattr(gradient, "tocsr"):
        entries = checked_csr(name, gradient.tocsr(), x, backend)
        moments = Moments(entries.n_samples, mean, mean_sq)
        powers = {1: mean} if mean_sq is None else {1: mean, 2: mean_sq}
        with np.errstate(all="ignore"):
            for power, total in powers.items():
                total[:] = 0
                np.add.at(total, entries.indices, entries.data**power)
                total /= entries.n_samples
    else:
        rows = in_dtype(sample_rows(name, gradient, x.size), x.dtype)
        if len(rows) > 1:
            moments = Moments(len(rows), mean, mean_sq)
            if backend.moments(rows, mean, mean_sq):
                return moments
        else:
            moments = Moments(1, rows[0])
    finite_squares(name, moments.mean, step)
    if moments.mean_sq is not None:
        with np.errstate(all="ignore"):
            is_finite = math.isfinite(moments.mean_sq.sum())
        if not is_finite:
            raise FloatingPointError(not_finite(name, moments.mean_sq, step))
    return moments


def mean_gradient(
    name: str, gradient: Any, x: NDArray[Any], backend: Kernels, out: NDArray[Any]
) -> tuple[int, NDArray[Any]]:
    """Number of samples and mean (d,), in the dtype of ``x``, of the gradient that a user gave at ``x``.

    The mean may have any values. An average of samples is written to ``out`` (d,).

    Raises
    ------
    TypeError, ValueError
        If the gradient has a wrong type, dtype or shape.
    """
    if isinstance(gradient, np.ndarray) and gradient.shape == x.shape and gradient.dtype == x.dtype:
        return 1, np.ascontiguousarray(gradient)
    if isinstance(gradient, tuple):
        n, mean, *_ = moments_from_tuple(name, gradient, x)
        return n, mean
    if hasattr(gradient, "tocsr"):
        entries = checked_csr(name, gradient.tocsr(), x, backend)
        with np.errstate(all="ignore"):
            out[:] = 0
            np.add.at(out, entries.indices, entries.data)
            out /= entries.n_samples
        return entries.n_samples, out
    if np.ndim(gradient) == 1:
        remedy = "pass the mean gradient (d,) or one row per sample"
        return 1, in_dtype(float_array(name, gradient, x.shape, finite=False, remedy=remedy), x.dtype)
    rows = in_dtype(checked_rows(name, gradient, x.size), x.dtype)
    if len(rows) == 1:
        return 1, rows[0]
    backend.moments(rows, out, None)
    return len(rows), out


def has_samples(gradient: Any) -> bool:
    """Whether `mean_gradient` averages, and so writes to ``out``."""
    if isinstance(gradient, np.ndarray):
        return gradient.ndim == 2 and len(gradient) > 1
    return not isinstance(gradient, tuple)


def sample_gradients(name: str, gradient: Any, x: NDArray[Any]) -> NDArray[Any]:
    """Per-sample gradients (n, d), dense, in the dtype of ``x``.

    Raises
    ------
    TypeError, ValueError
        If ``gradient`` is none.
    """
    if isinstance(gradient, tuple) or hasattr(gradient, "tocsr"):
        remedy = "pass per-sample gradients, a dense array with one row per sample"
        raise ValueError(message(name, "be an array for weighting='orthogonal'", "sums or CSR", remedy))
    return in_dtype(checked_rows(name, gradient, x.size), x.dtype)


def moments_from_tuple(name: str, fields: tuple[Any, ...], x: NDArray[Any]) -> Moments:
    """Moments of parameters like ``x``, from a tuple of their fields."""
    if len(fields) not in (2, 3):
        must = "have the fields n_samples, mean and mean_sq of Moments"
        raise ValueError(message(name, must, f"a tuple of {len(fields)}", "pass Moments or an array"))
    n, mean, mean_sq = Moments(*fields)
    n = integer(f"n_samples of {name}", n, minimum=1)
    given = {"mean": mean} if mean_sq is None else {"mean": mean, "mean_sq": mean_sq}
    parts = [float_array(f"{part} of {name}", given[part], x.shape, finite=False) for part in given]
    return Moments(n, *(in_dtype(part, x.dtype) for part in parts))


def in_dtype(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array in another dtype. Entries too large for it become infinite, which later checks find."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def finite_squares(name: str, values: NDArray[Any], step: int) -> None:
    """Raise `FloatingPointError` unless all values and their squares are finite."""
    if not math.isfinite(np.vdot(values, values)):  # NumPy does not warn of overflow here
        raise FloatingPointError(not_finite(name, values, step))


def squares(moments: Moments) -> NDArray[Any]:
    """The mean square, which for a single sample is the square of the mean."""
    return moments.mean * moments.mean if moments.mean_sq is None else moments.mean_sq


def not_finite(name: str, array: NDArray[Any], step: int) -> str:
    is_finite = np.isfinite(array).all()
    got = f"a largest entry of {np.abs(array).max():.3g}" if is_finite else not_finite_entries(array)
    return message(
        name,
        f"be finite, and its square too, at step {step}",
        got,
        "check the gradient function and the data for overflow and NaN",
    )
