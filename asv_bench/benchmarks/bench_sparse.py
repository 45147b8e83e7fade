"""A sparse vSGD step: its time follows the non-zeros, not the number of parameters."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.sparse import csr_array

import refsgd
from refsgd.kernels.contract import N_START

from . import BACKENDS, DTYPES, backend


class SparseStep:
    """A step on one sample after the start, gradients at hand, and now and then a second one.

    The draws are three, as without noise there would be a second one in each step.
    """

    params = (BACKENDS, [10_000, 1_000_000, 10_000_000], DTYPES, [75, 7_500])
    param_names = ("backend", "dim", "dtype", "nnz")
    timeout = 300

    def setup(self, name: str, dim: int, dtype: str, nnz: int) -> None:
        backend(name)
        rng = np.random.default_rng(0)
        self.run = refsgd.VSGD(weighting="sparse").start(np.ones(dim, dtype), backend=name)
        indices = np.sort(rng.choice(dim, nnz, replace=False))
        values = rng.normal(size=(3, nnz)).astype(dtype)
        draws = [csr_array((v, indices, [0, nnz]), shape=(1, dim)) for v in values]
        self.draw = itertools.cycle(draws).__next__
        for _ in range(N_START):
            self.time_step()

    def time_step(self, *_: object) -> None:
        rows = self.draw()
        self.run.tell(rows)
        if self.run.is_open:
            self.run.tell(rows)

    def peakmem_step(self, *_: object) -> None:
        self.time_step()
