"""Stochastic gradient descent without learning rates, and the directional statistics of gradients.

>>> import refsgd
>>> sorted(refsgd.__all__)[:4]
['BackendError', 'DirectionMonitor', 'DirectionReport', 'DirectionStats']
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from . import datasets, models, vmf
from ._config import get_num_threads, set_num_threads, show_backends, use_backend
from ._errors import BackendError, NumericalWarning
from .directional import DirectionMonitor, DirectionReport, DirectionStats, VonMisesFisher
from .sgd import VSGD, Moments, PublishedVSGD, Run, baselines, iterate, minimize, stopping

__version__ = "0.1.0"

__all__ = [
    "VSGD",
    "BackendError",
    "DirectionMonitor",
    "DirectionReport",
    "DirectionStats",
    "Moments",
    "NumericalWarning",
    "PublishedVSGD",
    "Run",
    "VonMisesFisher",
    "__version__",
    "baselines",
    "datasets",
    "get_num_threads",
    "iterate",
    "minimize",
    "models",
    "set_num_threads",
    "show_backends",
    "stopping",
    "use_backend",
    "vmf",
]

# Of the extras; not in __all__, as `from refsgd import *` would import them all.
_LAZY = {
    "VSGDClassifier": "refsgd.adapters.classifier",
    "VSGDRegressor": "refsgd.adapters.regressor",
    "VonMisesFisherMixture": "refsgd.adapters.mixture",
}


def __getattr__(name: str) -> _Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(_import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        text = f'refsgd.{name} is not available ({error}); pip install "refsgd[sklearn]".'
        raise ImportError(text, name="sklearn") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
