"""The Numba backend as one table; functions are compiled on first use."""

from __future__ import annotations

import numba

from . import dense_numba
from .contract import Kernels
from .directions_numba import directions, square_rows
from .linear_numba import linear, row_flaws
from .published_numba import (
    curvature,
    published_probe,
    published_step,
    published_step_at,
    published_step_fd,
)
from .samples_numba import add, collect, moments

KERNELS = Kernels(
    f"numba {numba.__version__}",
    dense_numba.check,
    dense_numba.probe,
    dense_numba.land,
    dense_numba.secant,
    dense_numba.step,
    dense_numba.bind_advance,
    moments,
    collect,
    add,
    curvature,
    published_probe,
    published_step,
    published_step_fd,
    published_step_at,
    row_flaws,
    linear,
    square_rows,
    directions,
)
