"""Statistics of directions: streaming rows in, and solving for concentrations."""

from __future__ import annotations

import numpy as np
from ratios import medians

import refsgd

from . import DTYPES


class Directions:
    """Rows (64, dim) into `refsgd.DirectionStats`."""

    params = ([1_000, 100_000, 1_000_000], DTYPES)
    param_names = ("dim", "dtype")
    timeout = 300

    def setup(self, dim: int, dtype: str) -> None:
        self.rows = np.random.default_rng(0).standard_normal((64, dim), dtype)
        self.stats = refsgd.DirectionStats(dim)
        self.stats.update(self.rows)

    def time_update(self, *_: object) -> None:
        self.stats.update(self.rows)

    def peakmem_update(self, *_: object) -> None:
        self.stats.update(self.rows)

    def track_time_to_roof(self, *_: object) -> float:
        times = medians({"update": lambda: self.stats.update(self.rows), "read": self.rows.sum})
        return times["update"] / times["read"]

    track_time_to_roof.unit = "update time / read time"  # type: ignore[attr-defined]


class Concentration:
    """10,000 concentrations at once, and the largest relative error of a round trip."""

    params = ([2, 10, 100, 1_000, 1_000_000],)
    param_names = ("dim",)

    def setup(self, dim: int) -> None:
        self.r = np.random.default_rng(0).uniform(size=10_000)

    def time_concentration(self, dim: int) -> None:
        refsgd.vmf.concentration(self.r, dim)

    def time_mean_resultant_length(self, dim: int) -> None:
        refsgd.vmf.mean_resultant_length(dim * self.r, dim)

    def track_round_trip(self, dim: int) -> float:
        again = refsgd.vmf.mean_resultant_length(refsgd.vmf.concentration(self.r, dim), dim)
        return float((np.abs(again - self.r) / np.spacing(self.r)).max())

    track_round_trip.unit = "ulp"  # type: ignore[attr-defined]
