"""Gradients as training loops hold them: named groups of parameters, as flat arrays without copies."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from .._validation import float_array, not_finite_entries
from ._series import Floats

CHUNK = 2**15  # float64 numbers processed at a time: 256 KiB, so that they stay in cache
HALF = ("float16", "bfloat16")

Shape = tuple[int, ...]


class Part(NamedTuple):
    """The checked gradient of one group; `flat` is None if the group has none this time."""

    flat: NDArray[Any] | None
    shape: Shape | None
    length: float


def parts_of(g: Any, shapes: Mapping[str, Shape | None] | None) -> dict[str, Part]:
    """The groups of a gradient by name; a single array is called "".

    Parameters
    ----------
    g : array or nested dict, list or tuple of arrays
        See `refsgd.DirectionMonitor.update`.
    shapes : mapping or None
        The required groups, with their shapes where known; None accepts any.

    Raises
    ------
    TypeError, ValueError
        If a group is missing or new, or its gradient has a wrong dtype or shape, or is not finite.
    """
    found = list(named_arrays(g))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(message("g", "have groups of different names", f"{twice} twice", "rename them"))
    if shapes is not None and set(names) != set(shapes):
        remedy = "pass the same groups each time, and None for one without a gradient"
        raise ValueError(message("g", f"have the groups {format_names(shapes)}", format_names(names), remedy))
    parts = {name: part_of(name, value, shapes[name] if shapes else None) for name, value in found}
    if all(part.flat is None for part in parts.values()):
        remedy = "update after the backward pass, and before gradients are cleared"
        raise ValueError(message("g", "have a gradient", f"none in {len(parts)} groups", remedy))
    if math.isinf(whole_length(parts)):
        raise ValueError(message("g", "have a length below 1.8e308", math.inf, "scale the loss down"))
    return parts if shapes is None else {name: parts[name] for name in shapes}


def whole_length(parts: Mapping[str, Part]) -> float:
    """Length of the gradient of all groups."""
    return math.hypot(*(part.length for part in parts.values()))


def format_names(names: Any) -> str:
    """Names of groups for a message, abbreviated if there are many."""
    names = list(names)
    if names == [""]:
        return "of a single array"
    return str(names) if len(names) <= 6 else f"{str(names[:5])[:-1]}, ... {len(names)} in all]"


def named_arrays(g: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays in nested dicts, lists and tuples, named by keys and indices joined by dots."""
    is_sequence = isinstance(g, list | tuple) and not (g and isinstance(g[0], Number))
    if not is_sequence and not isinstance(g, Mapping):
        yield prefix, g
        return
    for key, value in g.items() if isinstance(g, Mapping) else enumerate(g):
        yield from named_arrays(value, f"{prefix}.{key}" if prefix else str(key))


def part_of(name: str, value: Any, shape: Shape | None) -> Part:
    """One group, checked: a flat view of the given array if that is float32 or float64 in C order."""
    label = f'g["{name}"]' if name else "g"
    value = gradient_of(value)
    if value is None:
        return Part(None, shape, 0.0)
    array = to_numpy(label, value)
    flat = float_array(label, array, shape if shape is not None else ("d",) * array.ndim, finite=False)
    if flat.size == 0:
        raise ValueError(message(label, "have at least one entry", f"shape {flat.shape}", "leave it out"))
    return Part(flat.reshape(-1), array.shape, length_of(label, flat.reshape(-1)))


def gradient_of(value: Any) -> Any:
    """``.grad`` of a parameter; anything else is a gradient itself."""
    if isinstance(value, np.ndarray) or not hasattr(value, "grad"):
        return value
    torch = sys.modules.get("torch")  # its gradients have a .grad too
    is_parameter = torch is not None and isinstance(value, torch.nn.Parameter)
    return value.grad if is_parameter or getattr(value, "requires_grad", True) else value


def to_numpy(label: str, value: Any) -> NDArray[Any]:
    """An array over the same memory, but 16-bit floats become float32, and torch tensors move to the CPU."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":
                value = value.float()
        is_foreign = hasattr(value, "__dlpack__") and not hasattr(value, "__array__")
        array = np.from_dlpack(value) if is_foreign else np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        got = f"{type(value).__name__} ({str(error).strip().splitlines()[0]})"
        must, remedy = "be a dense array in the memory of the CPU", "convert it first"
        raise TypeError(message(label, must, got, remedy)) from error
    return array.astype(np.float32) if array.dtype.name in HALF else array


def chunks(dim: int) -> Iterator[slice]:
    return (slice(begin, begin + CHUNK) for begin in range(0, dim, CHUNK))


def length_of(label: str, x: NDArray[Any]) -> float:
    """``|x|`` in float64, whatever the scale.

    Raises
    ------
    ValueError
        If an entry is not finite, or the length is too large for a float64.
    """
    square = sum_of_squares(x, 1.0)
    if 1e-250 < square < math.inf:
        return math.sqrt(square)
    largest = float(max(x.max(), -x.min()))
    if not math.isfinite(largest):
        raise ValueError(message(label, "be finite", not_finite_entries(x), "remove or replace them"))
    if largest == 0.0:
        return 0.0
    scale = 2.0 ** -min(max(math.frexp(largest)[1], -1000), 1000)
    length = math.sqrt(sum_of_squares(x, scale)) / scale
    if math.isinf(length):
        raise ValueError(message(label, "have a length below 1.8e308", length, "scale the loss down"))
    return length


@np.errstate(over="ignore", invalid="ignore")
def sum_of_squares(x: NDArray[Any], scale: float) -> float:
    """``sum (scale x)**2`` in float64."""
    total, room = 0.0, np.empty(min(x.size, CHUNK))
    for chunk in chunks(x.size):
        values: Floats = x[chunk]
        if scale != 1.0 or x.dtype != np.float64:
            values = room[: len(x[chunk])]
            values[:] = x[chunk]
            values *= scale
        total += float(values @ values)
    return total
