"""Claims of the papers as programs: each has a protocol, numbers, a verdict and a picture."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._config import backend_name


class Verdict(NamedTuple):
    """Whether a claim holds, and by how much: a sentence with the numbers."""

    holds: bool
    by: str


class Claim(NamedTuple):
    """``measure(quick)`` gives numbers that JSON can hold; ``plot(axes, numbers)`` draws them on one axes."""

    name: str
    statement: str
    protocol: str
    measure: Callable[[bool], dict[str, Any]]
    verdict: Callable[[dict[str, Any]], Verdict]
    plot: Callable[[Any, dict[str, Any]], None]


#: Claims of arXiv 1301.3764, each the module of this name.
RATES = (
    "rates_adapt",
    "minibatch_gain",
    "sparse_weighting",
    "orthogonal_weighting",
    "outlier_detection",
    "finite_differences",
    "linear_cost",
    "no_hyperparameter",
)

#: Statistics of directions, for arXiv 1810.00150.
DIRECTIONAL = ("concentration_estimators",)

#: What can be run as a group.
GROUPS = {"rates": RATES, "directional": DIRECTIONAL}


def load(name: str) -> Claim:
    return importlib.import_module(f"{__package__}.{name}").CLAIM


def reproduce(claim: Claim, folder: Path, *, quick: bool) -> Verdict:
    """Measure a claim and write ``<name>.json`` and, with matplotlib, ``<name>.png``."""
    from .. import __version__

    began = time.perf_counter()
    numbers = claim.measure(quick)
    verdict = claim.verdict(numbers)
    record = {
        "claim": claim.statement,
        "protocol": claim.protocol,
        "quick": quick,
        "holds": verdict.holds,
        "by": verdict.by,
        "numbers": numbers,
        "seconds": round(time.perf_counter() - began, 1),
        "backend": backend_name(None),
        "versions": {"refsgd": __version__, "numpy": np.__version__},
    }
    (folder / f"{claim.name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if find_spec("matplotlib") is not None:
        from ..plotting import plot_claim

        plot_claim(claim, numbers, verdict, folder / f"{claim.name}.png")
    return verdict
