"""The NumPy backend: the oracles as one table."""

from __future__ import annotations

import numpy as np

from . import dense_numpy
from .contract import Kernels
from .directions_numpy import directions, square_rows
from .linear_numpy import linear, row_flaws
from .published_numpy import (
    curvature,
    published_probe,
    published_step,
    published_step_at,
    published_step_fd,
)
from .samples_numpy import add, collect, moments

KERNELS = Kernels(
    f"numpy {np.__version__}",
    dense_numpy.check,
    dense_numpy.probe,
    dense_numpy.land,
    dense_numpy.secant,
    dense_numpy.step,
    dense_numpy.bind_advance(dense_numpy.check, dense_numpy.step),
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
