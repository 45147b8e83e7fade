"""Checks of arguments: public functions call these, internal ones do not check again."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ._errors import message

Name = TypeVar("Name", bound=str)
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def float_array(
    name: str,
    value: Any,
    shape: Sequence[int | str],
    *,
    finite: bool = True,
    remedy: str = "pass an array of that shape",
) -> NDArray[Any]:
    """Return ``value`` as a C-contiguous float32 or float64 array of the given shape.

    A string in ``shape`` names a length that is free, as in ``("n", 784)``.

    Raises
    ------
    TypeError
        If the dtype is neither float32 nor float64.
    ValueError
        If the shape does not fit, or if ``finite`` and an entry is NaN or infinite.
    """
    array = np.asarray(value)
    if array.dtype not in FLOATS:
        raise TypeError(
            message(
                name,
                "have dtype float32 or float64",
                array.dtype,
                f"convert it, for example np.asarray({name}, dtype=float)",
            )
        )
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(message(name, f"have shape ({wanted})", array.shape, remedy))
    if finite and not np.isfinite(array).all():
        raise ValueError(message(name, "be finite", not_finite_entries(array), "remove or replace them"))
    return np.ascontiguousarray(array)


def real(name: str, value: Any) -> NDArray[np.float64]:
    """Return ``value`` as float64 if it is made of integers or floats, of any shape and precision."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        remedy = f"convert it, for example np.asarray({name}, dtype=float)"
        raise TypeError(message(name, "be real", f"dtype {array.dtype}", remedy))
    return array.astype(np.float64, copy=False)


def real_number(name: str, value: Any) -> float:
    """Return ``value`` as a float if it is one integer or float."""
    array = real(name, value)
    if array.ndim:
        raise ValueError(message(name, "be one number", f"shape {array.shape}", "pass them one by one"))
    return float(array)


def float_dtype(name: str, value: Any) -> np.dtype[Any]:
    """Return ``value`` as a dtype if it is float32 or float64."""
    dtype: np.dtype[Any] = np.dtype(value)
    if dtype not in FLOATS:
        raise TypeError(message(name, "be float32 or float64", dtype, "choose one of these"))
    return dtype


def not_finite_entries(array: NDArray[Any]) -> str:
    """How many entries of an array are not finite, and the first of them."""
    bad = np.flatnonzero(~np.isfinite(array.ravel()))
    return f"{bad.size} of {array.size} entries that are not (first: index {bad[0]}, {array.ravel()[bad[0]]})"


def integer(name: str, value: Any, minimum: int) -> int:
    """Return ``value`` as an int of at least ``minimum``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(message(name, "be an integer", repr(value), f"pass {name}={minimum} or more"))
    if number < minimum:
        raise ValueError(message(name, f"be at least {minimum}", number, f"pass {name}={minimum} or more"))
    return number


def choice(name: str, value: Any, options: Collection[Name]) -> Name:
    """Return ``value`` if it is one of ``options``."""
    if not (isinstance(value, str) and value in options):
        names = ", ".join(repr(option) for option in options)
        raise ValueError(message(name, f"be one of {names}", repr(value), "choose one of these"))
    return cast(Name, value)


def has_rising_indptr(n: int, indptr: NDArray[Any], n_entries: int) -> bool:
    """Whether ``indptr`` of a CSR array divides at most ``n_entries`` entries into n samples."""
    is_framed = indptr.size == n + 1 and indptr[0] == 0 and indptr[-1] <= n_entries
    return bool(is_framed and (np.diff(indptr) >= 0).all())
