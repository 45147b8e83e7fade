"""Statistics of directions: streaming rows in, as a ratio to reading them. Functions are in bench_vmf.py."""

from __future__ import annotations

import numpy as np
from ratios import interleaved

import refsgd

from . import BACKENDS, DTYPES, backend, ulps

DIMS = [8, 32, 300, 4_000, 100_000, 1_000_000]


class DirectionsProblem:
    """Some 4 million entries, at least 64 rows, and statistics that have seen such rows before."""

    def __init__(
        self, dim: int, dtype: str, is_unit: bool = False, is_tight: bool = False, n: int | None = None
    ) -> None:
        shape = max(64, 4_000_000 // dim) if n is None else n, dim
        rows = np.random.default_rng(0).standard_normal(shape, dtype)
        if is_tight:
            rows *= rows.dtype.type(1e-3)
            rows += 1
        if is_unit:
            for row in rows:
                row /= np.linalg.norm(row.astype(float))
        self.rows, self.is_unit = rows, is_unit
        self.stats = self.fresh()

    def fresh(self) -> refsgd.DirectionStats:
        """Statistics of the rows."""
        stats = refsgd.DirectionStats(self.rows.shape[1])
        stats.update(self.rows, assume_unit=self.is_unit)
        return stats

    def update(self) -> None:
        self.stats.update(self.rows, assume_unit=self.is_unit)

    def plain(self) -> np.ndarray:
        """What a user of NumPy would write for the resultant alone."""
        total: np.ndarray = (self.rows / np.linalg.norm(self.rows, axis=1, keepdims=True)).sum(axis=0)
        return total

    def read(self) -> float:
        """The roof: each entry is read once."""
        return float(self.rows.sum())


class OnBackend:
    """Sets the backend that statistics take."""

    def setup(self, name: str, *_: object) -> None:
        backend(name)
        refsgd.use_backend(name)

    def teardown(self, *_: object) -> None:
        refsgd.use_backend(None)


class Directions(OnBackend):
    params = (BACKENDS, [300, 4_000, 1_000_000], DTYPES)
    param_names = ("backend", "dim", "dtype")
    timeout = 300

    def setup(self, name: str, dim: int, dtype: str) -> None:
        super().setup(name)
        self.problem = DirectionsProblem(dim, dtype)

    def time_update(self, *_: object) -> None:
        self.problem.update()

    def peakmem_update(self, *_: object) -> None:
        self.problem.update()


class DirectionsParity(OnBackend):
    """Units in the last place between a backend and the NumPy oracle. Must be 0."""

    params = (BACKENDS, [300, 100_000], DTYPES)
    param_names = ("backend", "dim", "dtype")

    def track_ulps(self, name: str, dim: int, dtype: str) -> float:
        ours = DirectionsProblem(dim, dtype, n=100).stats.state_dict()
        refsgd.use_backend("numpy")
        oracle = DirectionsProblem(dim, dtype, n=100).stats.state_dict()
        return max(ulps(ours[key], oracle[key]) for key in ("reference", "sums", "weight", "spread"))

    track_ulps.unit = "ulp"  # type: ignore[attr-defined]


class DirectionsRoof(OnBackend):
    """Time of C over that of reading the rows once.

    Unit rows are only checked to be so; rows that are nearly equal, tight, take more operations.
    """

    params = (DIMS, DTYPES, ["any", "unit"], ["spread", "tight"])
    param_names = ("dim", "dtype", "length", "rows")
    timeout = 300

    def setup(self, dim: int, dtype: str, length: str, rows: str) -> None:
        super().setup("c")
        self.problem = DirectionsProblem(dim, dtype, length == "unit", rows == "tight")

    def track_time_to_roof(self, *_: object) -> float:
        times = interleaved({"update": self.problem.update, "read": self.problem.read})
        return float(np.median(times["update"] / times["read"]))

    track_time_to_roof.unit = "update time / X.sum() time"  # type: ignore[attr-defined]
