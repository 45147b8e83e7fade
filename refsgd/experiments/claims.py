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
from ..datasets import Dataset, load_digits


class Verdict(NamedTuple):
    """Whether a claim holds, and by how much: a sentence with the numbers."""

    holds: bool
    by: str


class Claim(NamedTuple):
    """``measure(quick)`` gives numbers that JSON can hold; ``plot(axes, numbers)`` draws them on one axes.

    A claim ``on_images`` is given them: ``measure(quick, data)``. ``needs`` is a module that may be missing.
    """

    name: str
    statement: str
    protocol: str
    measure: Callable[..., dict[str, Any]]
    verdict: Callable[[dict[str, Any]], Verdict]
    plot: Callable[[Any, dict[str, Any]], None]
    on_images: bool = False
    needs: str = ""


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

#: Claims of arXiv 1810.00150.
DIRECTIONAL = (
    "uniformity_falls",
    "snr_follows_uniformity",
    "mean_direction_theorem",
    "random_angles",
    "convolutional_networks",
    "concentration_estimators",
)

GROUPS = {"rates": RATES, "directional": DIRECTIONAL}
NAMES = RATES + DIRECTIONAL


def load(name: str) -> Claim:
    claim: Claim = importlib.import_module(f"{__package__}.{name}").CLAIM
    return claim


def reproduce(claim: Claim, folder: Path, *, quick: bool, data: Dataset | None = None) -> Verdict:
    """Measure a claim and write ``<name>.json`` and, with matplotlib, ``<name>.png``.

    A claim on images is measured on ``data``, or on the digits that come with the package.
    """
    from .. import __version__

    began = time.perf_counter()
    data = data or load_digits()
    numbers = claim.measure(quick, data) if claim.on_images else claim.measure(quick)
    verdict = claim.verdict(numbers)
    record = {
        "claim": claim.statement,
        "protocol": claim.protocol,
        "quick": quick,
        "data": data.name if claim.on_images else None,
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
