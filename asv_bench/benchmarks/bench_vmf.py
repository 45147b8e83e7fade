"""The von Mises-Fisher distribution: functions of 10,000 numbers, and random directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ratios import medians
from scipy.stats import vonmises_fisher

import refsgd

from . import backend


class Functions:
    """10,000 values at once, by each implementation."""

    params = (["numba", "numpy"], [2, 10, 100, 1_000, 1_000_000])
    param_names = ("backend", "dim")

    def setup(self, name: str, dim: int) -> None:
        backend(name)
        refsgd.use_backend(name)
        self.r = np.random.default_rng(0).uniform(size=10_000)
        self.kappa = refsgd.vmf.concentration(self.r, dim)
        refsgd.vmf.log_h(self.kappa, dim)

    def teardown(self, *_: object) -> None:
        refsgd.use_backend(None)

    def time_concentration(self, _: str, dim: int) -> None:
        refsgd.vmf.concentration(self.r, dim)

    def time_mean_resultant_length(self, _: str, dim: int) -> None:
        refsgd.vmf.mean_resultant_length(self.kappa, dim)

    def time_log_h(self, _: str, dim: int) -> None:
        refsgd.vmf.log_h(self.kappa, dim)

    def track_round_trip(self, _: str, dim: int) -> float:
        again = refsgd.vmf.mean_resultant_length(refsgd.vmf.concentration(self.r, dim), dim)
        return float((np.abs(again - self.r) / np.spacing(self.r)).max())

    track_round_trip.unit = "largest error, ulp"  # type: ignore[attr-defined]

    def track_nanoseconds_a_concentration(self, _: str, dim: int) -> float:
        return 1e9 * medians({"solve": lambda: refsgd.vmf.concentration(self.r, dim)})["solve"] / self.r.size

    track_nanoseconds_a_concentration.unit = "ns"  # type: ignore[attr-defined]


class Samples:
    """Some MiB of random directions."""

    params = ([3, 30, 300, 3_000, 100_000, 1_000_000],)
    param_names = ("dim",)
    timeout = 300

    def setup(self, dim: int) -> None:
        self.shape = (max(1, 1_000_000 // dim), dim)
        self.law = refsgd.VonMisesFisher(np.full(dim, dim**-0.5), float(dim))
        self.rng = np.random.default_rng(0)

    def time_rvs(self, _: int) -> None:
        self.law.rvs(self.shape[0], self.rng)

    def peakmem_rvs(self, _: int) -> None:
        self.law.rvs(self.shape[0], self.rng)

    def track_time_to_normals(self, _: int) -> float:
        times = medians(
            {
                "rvs": lambda: self.law.rvs(self.shape[0], self.rng),
                "normals": lambda: self.rng.standard_normal(self.shape),
            }
        )
        return times["rvs"] / times["normals"]

    track_time_to_normals.unit = "time / time of the normals"  # type: ignore[attr-defined]


class Peer:
    """`scipy.stats.vonmises_fisher` on 1,000 directions, in the dimensions where it can."""

    params = ([3, 10, 60],)
    param_names = ("dim",)

    def setup(self, dim: int) -> None:
        self.law = refsgd.VonMisesFisher(np.full(dim, dim**-0.5), 2.0 * dim)
        self.peer = vonmises_fisher(self.law.mu, self.law.kappa)
        self.rows = self.law.rvs(1_000, 0)
        self.rng = np.random.default_rng(0)

    def pairs(self) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
        """What both can, ours first."""
        rows, rng = self.rows, self.rng
        return {
            "fit": (lambda: self.law.fit(rows), lambda: vonmises_fisher.fit(rows)),
            "logpdf": (lambda: self.law.logpdf(rows), lambda: self.peer.logpdf(rows)),
            "rvs": (lambda: self.law.rvs(1_000, rng), lambda: self.peer.rvs(1_000, random_state=rng)),
        }

    def ratio(self, name: str) -> float:
        ours, scipy = self.pairs()[name]
        times = medians({"ours": ours, "scipy": scipy})
        return times["scipy"] / times["ours"]

    def track_scipy_fit(self, _: int) -> float:
        return self.ratio("fit")

    def track_scipy_logpdf(self, _: int) -> float:
        return self.ratio("logpdf")

    def track_scipy_rvs(self, _: int) -> float:
        return self.ratio("rvs")

    for track in (track_scipy_fit, track_scipy_logpdf, track_scipy_rvs):
        track.unit = "time of SciPy / time"  # type: ignore[attr-defined]
    del track
