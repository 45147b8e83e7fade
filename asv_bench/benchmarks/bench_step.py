"""The dense vSGD step: time and memory; and what must not drift: bits, share of the roof, progress."""

from __future__ import annotations

import numpy as np
from ratios import medians

import refsgd

from . import BACKENDS, DTYPES, Problem, after_steps, backend, ulps


class Step:
    """An online step of the kernels, with the curvature by finite differences."""

    params = (BACKENDS, [1_000, 100_000, 10_000_000], DTYPES, [1, 2])
    param_names = ("backend", "dim", "dtype", "threads")
    timeout = 300

    def setup(self, name: str, dim: int, dtype: str, threads: int) -> None:
        self.table = backend(name, threads)
        self.problem = Problem(dim, dtype)
        self.problem.step(self.table)

    def time_step(self, *_: object) -> None:
        self.problem.step(self.table)

    def time_step_faithful(self, *_: object) -> None:
        self.problem.step(self.table, faithful=True)


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
    """A whole ``ask`` and ``tell`` of a run, checks included, with gradients that cost nothing."""

    params = (BACKENDS, [10, 100_000], DTYPES)
    param_names = ("backend", "dim", "dtype")

    def setup(self, name: str, dim: int, dtype: str) -> None:
        backend(name)
        rng = np.random.default_rng(0)
        self.gradients = list(rng.standard_normal((2, 1, dim), dtype))
        self.run = refsgd.VSGD().start(rng.standard_normal(dim, dtype), backend=name)
        self.run.tell(self.gradients[:1])
        for _ in range(20):
            self.run.tell(self.gradients)

    def time_ask_and_tell(self, *_: object) -> None:
        self.run.ask()
        self.run.tell(self.gradients)


class StepParity:
    """Units in the last place between a backend and the NumPy oracle after 50 steps. Must be 0."""

    params = (BACKENDS, [1_000, 100_000], DTYPES, [False, True])
    param_names = ("backend", "dim", "dtype", "faithful")
    timeout = 300

    def setup(self, name: str, *_: object) -> None:
        self.table = backend(name)

    def track_ulps(self, name: str, dim: int, dtype: str, faithful: bool) -> float:
        ours, oracle = (after_steps(t, dim, dtype, faithful) for t in (self.table, backend("numpy")))
        return ulps(ours, oracle)

    track_ulps.unit = "ulp"  # type: ignore[attr-defined]


class StepRoof:
    """Time of a C step over that of the roof: at 1 only memory limits. Less is better, as asv has it."""

    params = ([10_000, 100_000, 1_000_000, 10_000_000], DTYPES, [False, True])
    param_names = ("dim", "dtype", "faithful")
    timeout = 300

    def setup(self, dim: int, dtype: str, faithful: bool) -> None:
        self.table = backend("c")
        self.problem = Problem(dim, dtype).with_roof()

    def track_time_to_roof(self, dim: int, dtype: str, faithful: bool) -> float:
        problem = self.problem
        times = medians({"step": lambda: problem.step(self.table, faithful), "twin": problem.twin})
        return times["step"] / times["twin"]

    track_time_to_roof.unit = "step time / twin time"  # type: ignore[attr-defined]


class Progress:
    """Online steps until a noisy quadratic with curvatures 0.1 to 10 falls to 1/100 of its loss."""

    params = (DTYPES, [False, True])
    param_names = ("dtype", "faithful")
    DIM, LIMIT = 100, 20_000

    def track_steps_to_target(self, dtype: str, faithful: bool) -> float:
        rng = np.random.default_rng(0)
        curv = np.geomspace(0.1, 10, self.DIM).astype(dtype)
        run = refsgd.VSGD(faithful=faithful).start(rng.standard_normal(self.DIM, dtype))
        target = loss(curv, run.x) / 100
        for step in range(self.LIMIT):
            if loss(curv, run.x) <= target:
                return step
            noise = rng.standard_normal((1, self.DIM), dtype)
            run.tell([curv * (point - noise) for point in run.ask()])
        return np.nan

    track_steps_to_target.unit = "steps"  # type: ignore[attr-defined]


def loss(curv: np.ndarray, x: np.ndarray) -> float:
    return float(curv @ (x * x) / 2)
