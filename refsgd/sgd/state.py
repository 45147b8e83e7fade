"""The state of a run: its layout in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from .._memory import aligned_zeros
from .._validation import float_array

Array = NDArray[Any]


class State(NamedTuple):
    """The parameters and their running averages: views of one buffer, updated in place.

    Attributes
    ----------
    x, g_avg, g2_avg, tau : (d,) arrays
        Parameters; averages of the gradient and of its square, in the unit of the run (`refsgd.Run`); memory
        size in steps, at least 1, and 0 before the first step of a parameter.
    """

    x: Array
    g_avg: Array
    g2_avg: Array
    tau: Array


def allocate(n_rows: int, d: int, dtype: np.dtype[Any]) -> Array:
    """A zero buffer (n_rows, width) for the kernels, which use its first d columns.

    Rows are a multiple of a page and 256 bytes long, so that the streams of a step do not alias in the cache,
    and begin with a cache line.
    """
    page, shift = 4096 // dtype.itemsize, 256 // dtype.itemsize
    return aligned_zeros((n_rows, -(-d // page) * page + shift), dtype)


def start_point(x0: Any) -> Array:
    """The first x of a run, as a flat array of at least one parameter.

    Raises
    ------
    TypeError, ValueError
        If ``x0`` has another dtype or shape, or an entry that is not finite.
    """
    x = float_array("x0", x0, ("d",), remedy="pass one flat vector of parameters")
    if x.size == 0:
        raise ValueError(message("x0", "have at least one parameter", x.shape, "pass a longer vector"))
    return x


def described(run: Any, more: str = "") -> str:
    """The ``repr`` of a run: its rule, size, dtype and progress."""
    name, x = type(run).__name__, run.x
    return f"<{name} of {run.rule!r}: d={x.size}, {x.dtype}, n_steps={run.n_steps}{more}>"
