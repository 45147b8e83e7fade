"""Moments of per-sample gradients: mean and mean square of the columns of 64 rows."""

from __future__ import annotations

import numpy as np
from ratios import medians

from . import BACKENDS, DTYPES, backend, ulps

N = 64


class MomentsProblem:
    """Rows (64, dim), and where the results go."""

    def __init__(self, dim: int, dtype: str) -> None:
        self.rows = np.random.default_rng(0).standard_normal((N, dim), dtype)
        self.mean, self.mean_sq = np.zeros((2, dim), dtype)

    def moments(self, table: object) -> None:
        table.moments(self.rows, self.mean, self.mean_sq)  # type: ignore[attr-defined]

    def plain(self) -> tuple[np.ndarray, np.ndarray]:
        """What a user of NumPy would write."""
        return self.rows.mean(axis=0), (self.rows * self.rows).mean(axis=0)

    def read(self) -> float:
        """The roof: BLAS reads each entry once."""
        flat = self.rows.reshape(-1)
        return float(flat.dot(flat))

    def sum(self) -> float:
        return float(self.rows.sum())


class Moments:
    params = (BACKENDS, [1_000, 100_000, 1_000_000], DTYPES, [1, 2])
    param_names = ("backend", "dim", "dtype", "threads")
    timeout = 300

    def setup(self, name: str, dim: int, dtype: str, threads: int) -> None:
        self.table = backend(name, threads)
        self.problem = MomentsProblem(dim, dtype)
        self.problem.moments(self.table)

    def time_moments(self, *_: object) -> None:
        self.problem.moments(self.table)


class MomentsMemory:
    """No temporary of the size of the rows: the peak stays near that of the rows themselves."""

    params = (BACKENDS, DTYPES)
    param_names = ("backend", "dtype")

    def setup(self, name: str, dtype: str) -> None:
        self.table = backend(name)
        self.problem = MomentsProblem(1_000_000, dtype)

    def peakmem_moments(self, *_: object) -> None:
        self.problem.moments(self.table)


class MomentsParity:
    """Units in the last place between a backend and the NumPy oracle. Must be 0."""

    params = (BACKENDS, [1_000, 100_000], DTYPES)
    param_names = ("backend", "dim", "dtype")

    def setup(self, name: str, dim: int, dtype: str) -> None:
        self.table = backend(name)
        self.problem = MomentsProblem(dim, dtype)

    def track_ulps(self, *_: object) -> float:
        found = []
        for table in (self.table, backend("numpy")):
            self.problem.moments(table)
            found.append(np.array([self.problem.mean, self.problem.mean_sq]))
        return ulps(*found)

    track_ulps.unit = "ulp"  # type: ignore[attr-defined]


class MomentsRoof:
    """Time of the C kernel over that of reading the rows once."""

    params = ([1_000, 100_000, 1_000_000], DTYPES)
    param_names = ("dim", "dtype")

    def setup(self, dim: int, dtype: str) -> None:
        self.table = backend("c")
        self.problem = MomentsProblem(dim, dtype)

    def track_time_to_roof(self, dim: int, dtype: str) -> float:
        problem = self.problem
        times = medians({"moments": lambda: problem.moments(self.table), "read": problem.read})
        return times["moments"] / times["read"]

    track_time_to_roof.unit = "moments time / read time"  # type: ignore[attr-defined]
