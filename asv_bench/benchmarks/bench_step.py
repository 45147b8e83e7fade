"""The step of the default rule: time and memory, and what must not drift: bits, roof, progress."""

from __future__ import annotations

import numpy as np
from ratios import medians

import refsgd

from . import BACKENDS, DTYPES, Problem, after_steps, backend, ulps


class Step:
    """Check, guard and step of the kernels in one call."""

    params = (BACKENDS, [1_000, 100_000, 10_000_000], DTYPES, [1, 2])
    param_names = ("backend", "dim", "dtype", "threads")
    timeout = 300

    def setup(self, name: str, dim: int, dtype: str, threads: int) -> None:
        self.table = backend(name, threads)
        self.problem = Problem(dim, dtype)
        self.problem.step(self.table)

    def time_step(self, *_: object) -> None:
        self.problem.step(self.table)


class StepMemory:
    """The peak of a process that makes a problem and one step."""

    params = (BACKENDS, [100_000, 10_000_000], DTYPES)
    param_names = ("backend", "dim", "dtype")

    def setup(self, name: str, dim: int, dtype: str) -> None:
        self.table = backend(name)
        self.problem = Problem(dim, dtype)

    def peakmem_step(self, *_: object) -> None:
        self.problem.step(self.table)


class Tell:
    """A minibatch of a run, second points included, with gradients that cost nothing."""

    params = (BACKENDS, [10, 100_000], DTYPES)
    param_names = ("backend", "dim", "dtype")

    def setup(self, name: str, dim: int, dtype: str) -> None:
        backend(name)
        rng = np.random.default_rng(0)
        self.gradients = rng.standard_normal((2, dim), dtype)
        self.run = refsgd.VSGD().start(rng.standard_normal(dim, dtype), backend=name)
        for _ in range(30):
            self.time_ask_and_tell()

    def time_ask_and_tell(self, *_: object) -> None:
        self.run.ask()
        self.run.tell(self.gradients[0])
        if self.run.is_open:
            self.run.ask()
            self.run.tell(self.gradients[1])


class StepParity:
    """Units in the last place between a backend and the NumPy oracle after 50 steps. Must be 0."""

    params = (BACKENDS, [1_000, 100_000], DTYPES)
    param_names = ("backend", "dim", "dtype")
    timeout = 300

    def setup(self, name: str, *_: object) -> None:
        self.table = backend(name)

    def track_ulps(self, name: str, dim: int, dtype: str) -> float:
        return ulps(*(after_steps(table, dim, dtype) for table in (self.table, backend("numpy"))))

    track_ulps.unit = "ulp"  # type: ignore[attr-defined]


class StepRoof:
    """Time of a C step over that of the roof: at 1 only memory limits. Less is better, as asv has it."""

    params = ([10_000, 100_000, 1_000_000, 10_000_000], DTYPES)
    param_names = ("dim", "dtype")
    timeout = 300

    def setup(self, dim: int, dtype: str) -> None:
        self.table = backend("c")
        self.problem = Problem(dim, dtype).with_roof()

    def track_time_to_roof(self, dim: int, dtype: str) -> float:
        problem = self.problem
        times = medians({"step": lambda: problem.step(self.table), "twin": problem.twin})
        return times["step"] / times["twin"]

    track_time_to_roof.unit = "step time / twin time"  # type: ignore[attr-defined]


class Progress:
    """Gradients until a noisy quadratic with curvatures 0.1 to 10 falls to 1/100 of its loss."""

    params = (["vsgd", "vsgd-fd"], DTYPES)
    param_names = ("rule", "dtype")
    DIM, LIMIT = 100, 40_000

    def track_gradients_to_target(self, name: str, dtype: str) -> float:
        rng = np.random.default_rng(0)
        curv = np.geomspace(0.1, 10, self.DIM).astype(dtype)
        rule = refsgd.VSGD() if name == "vsgd" else refsgd.PublishedVSGD()
        run = rule.start(rng.standard_normal(self.DIM, dtype))
        target = loss(curv, run.x) / 100
        while run.n_gradients < self.LIMIT:
            if loss(curv, run.x) <= target:
                return run.n_gradients
            noise = rng.standard_normal(self.DIM, dtype)
            run.tell(curv * (run.ask() - noise))
            if run.is_open:
                run.tell(curv * (run.ask() - noise))
        return np.nan

    track_gradients_to_target.unit = "gradients"  # type: ignore[attr-defined]


def loss(curv: np.ndarray, x: np.ndarray) -> float:
    return float(curv @ (x * x) / 2)
