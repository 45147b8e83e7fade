"""A sparse vSGD step: its time follows the non-zeros, not the number of parameters."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

import refsgd

from . import BACKENDS, DTYPES, backend


class SparseStep:
    """One step on one sample, gradients at hand."""

    params = (BACKENDS, [10_000, 1_000_000, 10_000_000], DTYPES, [75, 7_500])
    param_names = ("backend", "dim", "dtype", "nnz")
    timeout = 300

    def setup(self, name: str, dim: int, dtype: str, nnz: int) -> None:
        backend(name)
        rng = np.random.default_rng(0)
        self.run = refsgd.VSGD(weighting="sparse").start(np.ones(dim, dtype), backend=name)
        indices = np.sort(rng.choice(dim, nnz, replace=False))
        values = rng.normal(size=(2, nnz)).astype(dtype)
        self.rows = [csr_array((v, indices, [0, nnz]), shape=(1, dim)) for v in values]
        self.run.tell(self.rows[:1])

    def time_step(self, *_: object) -> None:
        self.run.tell(self.rows)

    def peakmem_step(self, *_: object) -> None:
        self.run.tell(self.rows)
