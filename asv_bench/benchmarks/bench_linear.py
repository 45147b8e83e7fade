"""Linear models: a sample costs its non-zeros, whatever the number of features; speed beside peers is in
linear_speed.py.
"""

from __future__ import annotations

import numpy as np
from linear_tasks import scattered

from refsgd.linear.model import LinearModel

from . import DTYPES, backend

COMPILED = ["c", "numba"]  # NumPy is only an oracle here: it takes a millisecond and more a sample


class LinearProblem:
    """A classifier that has seen its rows, sparse ones of 75 entries, once before."""

    def __init__(self, name: str, dim: int, dtype: str, n: int, **options: object) -> None:
        backend(name)
        self.X, self.y = scattered(n, dim, dtype)
        self.model = LinearModel(dim, "log_loss", dtype=dtype, backend=name, **options)  # type: ignore[arg-type]
        self.learn()

    def learn(self) -> None:
        self.model.learn(self.X, self.y)


class Linear:
    """A pass over 10,000 rows."""

    params = (COMPILED, [10_000, 1_000_000, 10_000_000], DTYPES)
    param_names = ("backend", "dim", "dtype")

    def setup(self, name: str, dim: int, dtype: str) -> None:
        self.problem = LinearProblem(name, dim, dtype, 10_000)

    def time_learn(self, *_: object) -> None:
        self.problem.learn()

    def peakmem_learn(self, *_: object) -> None:
        self.problem.learn()


class LinearAveraged:
    """The same with all that a model may keep: the mean of its coefficients, and a penalty."""

    params = (COMPILED, DTYPES)
    param_names = ("backend", "dtype")

    def setup(self, name: str, dtype: str) -> None:
        self.problem = LinearProblem(name, 1_000_000, dtype, 10_000, average=True, alpha=1e-6)

    def time_learn(self, *_: object) -> None:
        self.problem.learn()


class LinearParity:
    """Largest distance from the coefficients of the NumPy oracle after 200 rows, over the largest of those.

    Sums are rounded in another order, and each step amplifies that.
    """

    params = (COMPILED, DTYPES)
    param_names = ("backend", "dtype")
    timeout = 300

    def track_distance(self, name: str, dtype: str) -> float:
        ours, oracle = (LinearProblem(each, 1_000, dtype, 100).model.coef for each in (name, "numpy"))
        return float(np.abs(ours - oracle).max() / np.abs(oracle).max())

    track_distance.unit = "of the largest coefficient"  # type: ignore[attr-defined]
