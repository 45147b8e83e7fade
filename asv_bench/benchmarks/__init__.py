"""What the benchmarks share: backends, units in the last place, and a step with all its arrays.

Times are those of one thread, unless a benchmark has an axis for threads.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch read it
sys.path.append(str(Path(__file__).resolve().parents[1]))  # for ratios.py, when asv imports this package

import numpy as np
from threadpoolctl import threadpool_limits

from refsgd import kernels
from refsgd.kernels.contract import Kernels, n_blocks
from refsgd.sgd.averages import allocate

threadpool_limits(1, user_api="blas")  # which asv may have loaded before

BACKENDS = ["c", "numba", "numpy"]
DTYPES = ["float32", "float64"]


def backend(name: str, threads: int = 1) -> Kernels:
    """The kernels of a backend, set to so many threads. asv skips what raises NotImplementedError."""
    reason = kernels.unavailable(name)
    if reason is not None:
        raise NotImplementedError(reason)
    if threads > 1 and (name != "c" or threads > (os.cpu_count() or 1)):
        raise NotImplementedError("only C uses threads, and no more than there are cores")
    kernels.set_num_threads(threads)
    return kernels.load(name)


def ulps(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance in units of the last place; infinite where only one is finite."""
    apart = a != b
    if not apart.any():
        return 0.0
    a, b = a[apart], b[apart]
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.inf
    return float((np.abs(a - b) / np.spacing(np.maximum(np.abs(a), np.abs(b)))).max())


def after_steps(table: Kernels, dim: int, dtype: str, faithful: bool = False) -> np.ndarray:
    """The state, and what is summed up of it, after 50 steps on random gradients."""
    problem, rng = Problem(dim, dtype), np.random.default_rng(1)
    for _ in range(50):
        grad = problem.normal(rng)
        pair = grad, grad + problem.dtype.type(0.1) * problem.normal(rng)
        problem.turn = lambda pair=pair: pair
        problem.step(table, faithful)
    return np.concatenate([problem.buffer.ravel(), problem.sums.ravel()])


class Problem:
    """A state in the middle of a run, in its layout, and the gradients of one online step, all pages touched.

    Every other step has the gradients with the opposite sign. With the same ones all the time parameters
    would run away, and what is timed would be the arithmetic of denormal numbers.
    """

    def __init__(self, dim: int, dtype: str, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.dim, self.dtype = dim, np.dtype(dtype)
        self.buffer, self.state = allocate(dim, self.dtype)
        self.state.x[:] = self.normal(rng)
        self.state.g_avg[:] = 0.1 * self.normal(rng)
        self.state.g2_avg[:] = 1
        self.state.h_avg[:] = 1
        self.state.h2_avg[:] = 3
        self.state.tau[:] = 5
        self.grad = self.normal(rng)
        self.probe_grad = self.grad + self.dtype.type(0.1) * self.normal(rng)
        pairs = (self.grad, self.probe_grad), (-self.grad, -self.probe_grad)
        self.turn = itertools.cycle(pairs).__next__
        self.sums = np.zeros((n_blocks(dim), 3))
        self._table: Kernels | None = None

    def normal(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal(self.dim, self.dtype)

    def step(self, table: Kernels, faithful: bool = False) -> None:
        """An online step with the curvature by finite differences, as `refsgd.Run` calls it."""
        scale = -1.0 if faithful else 0.3
        grad, probe_grad = self.turn()
        if table is not self._table:
            self._table = table
            self._step_fd = table.bind_step_fd(self.buffer, self.sums, grad, grad, probe_grad)
        self._step_fd(grad, None, probe_grad, 1, 4.0, 4.0, scale, faithful)

    def twin(self) -> None:
        """The memory roof of `step`: the same streams, trivial arithmetic. On a copy, as its values grow."""
        from refsgd.kernels import native

        native.twin(self.roof, *self.turn())

    def with_roof(self) -> Problem:
        self.roof, _ = allocate(self.dim, self.dtype)
        self.roof[:] = self.buffer
        return self
