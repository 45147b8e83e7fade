"""The claims of the papers by name, and a record of what one measures."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from ..._config import backend_name
from ...datasets import Dataset, load_digits
from .claim import Claim

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


def reproduce(claim: Claim, *, quick: bool, data: Dataset | None = None) -> dict[str, Any]:
    """Measure a claim, and return a record of its numbers and its verdict that JSON can hold.

    A claim on images is measured on ``data``, or on the digits that come with the package.
    """
    from ... import __version__

    began = time.perf_counter()
    data = data or load_digits()
    numbers = claim.measure(quick, data) if claim.on_images else claim.measure(quick)
    verdict = claim.verdict(numbers)
    return {
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
