"""Checks and broadcasting of the arguments r, kappa and dim."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._errors import message
from .._validation import real
from ._series import Floats


def checked(name: str, value: ArrayLike, high: float) -> Floats:
    """`value` as float64 in [0, high] or NaN."""
    array = real(name, value)
    bad = (array < 0.0) | (array > high)
    if bad.any():
        got = f"{np.count_nonzero(bad)} of {array.size} values outside (first: {array[bad][0]})"
        raise ValueError(message(name, f"be in [0, {high:g}]", got, "pass values in that range"))
    return array


def with_complement(r: ArrayLike, one_minus_r: ArrayLike | None) -> tuple[Floats, Floats]:
    """r and 1 - r as float64 of one shape, in [0, 1] or NaN; without `one_minus_r`, by subtraction."""
    r = checked("r", r, 1.0)
    if one_minus_r is None:
        return r, 1.0 - r
    r, b = broadcast(r=r, one_minus_r=checked("one_minus_r", one_minus_r, 1.0))
    off = np.abs(r + b - 1.0)
    if (off > 1e-6).any():
        got = f"r + one_minus_r that is off 1 by {np.nanmax(off):.3g}"
        raise ValueError(message("one_minus_r", "equal 1 - r", got, "pass r and 1 - r of the same sample"))
    return r, b


def broadcast(**arrays: Floats) -> tuple[Floats, ...]:
    """The arrays, broadcast to one shape."""
    try:
        return np.broadcast_arrays(*arrays.values())
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays.values())
        remedy = "add an axis to one of them"
        raise ValueError(
            message(" and ".join(arrays), "have shapes that broadcast", shapes, remedy)
        ) from None


def half_dimension(dim: ArrayLike) -> Floats:
    """``lambda = (dim - 1)/2``."""
    return (dimension(dim) - 1.0) / 2.0


def dimension(dim: ArrayLike) -> Floats:
    """`dim` as float64, finite and at least 2."""
    array = real("dim", dim)
    bad = ~((array >= 2.0) & (array < np.inf))
    if bad.any():
        got = f"{np.count_nonzero(bad)} of {array.size} values that are not (first: {array[bad][0]})"
        raise ValueError(message("dim", "be finite and at least 2", got, "pass the dimension of the space"))
    return array
