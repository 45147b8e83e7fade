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
from refsgd.sgd.state import State, allocate

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


def after_steps(table: Kernels, dim: int, dtype: str) -> np.ndarray:
    """The state, and what is summed up of it, after 50 steps on random gradients."""
    problem, rng = Problem(dim, dtype), np.random.default_rng(1)
    for _ in range(50):
        problem.grad = problem.normal(rng)
        problem.step(table)
    return np.concatenate([problem.buffer.ravel(), problem.energy.ravel(), problem.sums.ravel()])


class Problem:
    """A state in the middle of a run, in its layout, and the gradient of its steps, all pages touched.

    Every other step takes the gradient with the opposite sign. With the same one all the time parameters
    would run away, and what is timed would be the arithmetic of denormal numbers.
    """

    def __init__(self, dim: int, dtype: str, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.dim, self.dtype = dim, np.dtype(dtype)
        self.buffer = allocate(4, dim, self.dtype)
        self.state = State(*self.buffer[:, :dim])
        self.state.x[:] = self.normal(rng)
        self.state.g_avg[:] = 0.1 * self.normal(rng)
        self.state.g2_avg[:] = 1
        self.state.tau[:] = 5
        self.grad = self.normal(rng)
        self.turn = itertools.cycle((1.0, -1.0)).__next__
        self.energy, self.sums = (np.zeros((n_blocks(dim) + 1, n)) for n in (1, 2))
        self._table: Kernels | None = None

    def normal(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal(self.dim, self.dtype)

    def step(self, table: Kernels) -> None:
        """Check, guard and step, as `refsgd.Run` calls them."""
        if table is not self._table:
            self._table = table
            self._advance = table.bind_advance(self.buffer, self.energy, self.sums)
        self._advance(self.grad, self.turn(), float(self.dim), 1e-3, 0.0)

    def twin(self) -> None:
        """The memory roof of `step`: the same streams, trivial arithmetic. On a copy, as its values grow."""
        from refsgd.kernels import c as native

        native.twin(self.roof, self.grad)

    def with_roof(self) -> Problem:
        self.roof = allocate(4, self.dim, self.dtype)
        self.roof[:] = self.buffer
        return self
