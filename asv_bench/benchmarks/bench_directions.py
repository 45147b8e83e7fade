"""Statistics of directions: streaming rows in, as a ratio to reading them. Functions are in bench_vmf.py."""

from __future__ import annotations

import numpy as np
from ratios import interleaved

import refsgd

from . import DTYPES

DIMS = [8, 32, 300, 4_000, 100_000, 1_000_000]


class DirectionsProblem:
    """Some 4 million entries, at least 64 rows, and statistics that have seen such rows before."""

    def __init__(self, dim: int, dtype: str, is_unit: bool = False, is_tight: bool = False) -> None:
        rows = np.random.default_rng(0).standard_normal((max(64, 4_000_000 // dim), dim), dtype)
        if is_tight:
            rows *= rows.dtype.type(1e-3)
            rows += 1
        if is_unit:
            for row in rows:
                row /= np.linalg.norm(row.astype(float))
        self.rows, self.is_unit = rows, is_unit
        self.stats = refsgd.DirectionStats(dim)
        self.update()

    def update(self) -> None:
        self.stats.update(self.rows, assume_unit=self.is_unit)

    def read(self) -> float:
        """The roof: each entry is read once."""
        return float(self.rows.sum())


class Directions:
    """Rows of any length, and unit ones that are only checked to be so."""

    params = (DIMS, DTYPES, ["any", "unit"])
    param_names = ("dim", "dtype", "length")
    timeout = 300

    def setup(self, dim: int, dtype: str, length: str) -> None:
        self.problem = DirectionsProblem(dim, dtype, length == "unit")

    def time_update(self, *_: object) -> None:
        self.problem.update()

    def peakmem_update(self, *_: object) -> None:
        self.problem.update()

    def track_time_to_roof(self, *_: object) -> float:
        times = interleaved({"update": self.problem.update, "read": self.problem.read})
        return float(np.median(times["update"] / times["read"]))

    track_time_to_roof.unit = "update time / X.sum() time"  # type: ignore[attr-defined]


class TightDirections(Directions):
    """Rows that are nearly equal, for which sums take more operations."""

    def setup(self, dim: int, dtype: str, length: str) -> None:
        self.problem = DirectionsProblem(dim, dtype, length == "unit", is_tight=True)
