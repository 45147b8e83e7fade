"""The loop without Python: `refsgd.minimize` with a gradient that Numba compiled, on linear regression."""

from __future__ import annotations

import time

import numpy as np
from compiled import grad

import refsgd

from . import DTYPES, backend


class Compiled:
    params = ([10, 100, 1_000], DTYPES)
    param_names = ("dim", "dtype")
    timeout = 300

    def setup(self, dim: int, dtype: str) -> None:
        backend("numba")
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((10_000, dim), dtype)
        self.x0 = np.zeros(dim, dtype)
        self.data = rows, rows.sum(axis=1) + rng.standard_normal(10_000, dtype)
        self.seconds(100)

    def seconds(self, steps: int) -> float:
        began = time.perf_counter()
        refsgd.minimize(grad, self.x0, self.data, epochs=-(-steps // 10_000), max_iter=steps, random_state=0)
        return time.perf_counter() - began

    def time_compile_and_100_steps(self, *_: object) -> None:
        self.seconds(100)

    def track_nanoseconds_a_step(self, dim: int, _: str) -> float:
        """By what as many steps more take, so that compiling does not count; least of some, as others add."""
        steps = 10_000_000 // dim
        few, many = zip(*((self.seconds(steps), self.seconds(2 * steps)) for _ in range(7)), strict=True)
        return 1e9 * (min(many) - min(few)) / steps

    track_nanoseconds_a_step.unit = "ns"  # type: ignore[attr-defined]
