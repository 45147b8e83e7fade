"""Arrays that begin with a cache line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE = 64  # bytes


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that begin with a cache line: a vector that straddles two lines is slow to reload."""
    size = math.prod(shape)
    flat = np.zeros(size + LINE // dtype.itemsize, dtype)
    begin = -flat.ctypes.data % LINE // dtype.itemsize
    return flat[begin : begin + size].reshape(shape)
