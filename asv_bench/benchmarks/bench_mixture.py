"""Mixtures of directions: an iteration of EM beside the one matrix product that it cannot do without."""

from __future__ import annotations

import warnings

import numpy as np
from ratios import medians
from scipy import sparse

import refsgd
from refsgd.directional import em
from refsgd.directional.directions import unit_directions

from . import backend


class Mixture:
    """10,000 rows: embeddings of 300 numbers, or text of 75 words out of 50,000, by a power law."""

    params = (["dense", "sparse"], [5, 20, 100], ["soft", "hard"])
    param_names = ("rows", "components", "assignment")
    timeout = 300

    def setup(self, kind: str, k: int, assignment: str) -> None:
        backend("numpy")  # sets one thread
        rng = np.random.default_rng(0)
        n = 10_000
        if kind == "dense":
            topics = 3.0 * rng.standard_normal((k, 300)) / 300**0.5
            self.rows = rng.standard_normal((n, 300)) / 300**0.5 + topics[rng.integers(k, size=n)]
        else:
            words = (50_000 ** rng.random((n, 75))).astype(np.int32)
            counts = (np.ones(n * 75), words.ravel(), 75 * np.arange(n + 1, dtype=np.int32))
            self.rows = sparse.csr_array(counts, shape=(n, 50_000))
        unit, _ = unit_directions(self.rows.copy())
        first = unit[rng.choice(n, k, replace=False)]
        self.means = first.toarray() if kind == "sparse" else first
        self.unit = unit
        self.steps = em.steps(unit, self.means, is_shared=False, is_hard=assignment == "hard")
        next(self.steps)

    def fit(self, k: int, assignment: str, iterations: int) -> None:
        mixture = refsgd.VonMisesFisherMixture(
            k, assignment=assignment, init=self.means, max_iter=iterations, tol=0.0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ten iterations that do not suffice
            mixture.fit(self.rows)

    def time_fit_of_ten_iterations(self, _: str, k: int, assignment: str) -> None:
        self.fit(k, assignment, 10)

    def peakmem_fit_of_ten_iterations(self, _: str, k: int, assignment: str) -> None:
        self.fit(k, assignment, 10)

    def track_iteration_to_product(self, *_: object) -> float:
        times = medians({"iteration": lambda: next(self.steps), "product": lambda: self.unit @ self.means.T})
        return times["iteration"] / times["product"]

    track_iteration_to_product.unit = "time / time of X @ means.T"  # type: ignore[attr-defined]

    def track_fit_to_products(self, _: str, k: int, assignment: str) -> float:
        fit = medians({"fit": lambda: self.fit(k, assignment, 10)})["fit"]
        product = medians({"product": lambda: self.unit @ self.means.T})["product"]
        return fit / (10 * product)  # not in turns: a fit would leave the product with a cold cache

    track_fit_to_products.unit = "time of ten iterations / time of ten X @ means.T"  # type: ignore[attr-defined]
