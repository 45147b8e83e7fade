"""Stochastic gradient descent without learning rates, and the directional statistics of gradients.

>>> import refsgd
>>> sorted(refsgd.__all__)[:4]
['BackendError', 'DirectionMonitor', 'DirectionReport', 'DirectionStats']
"""

from . import datasets, models
from ._config import get_num_threads, set_num_threads, show_backends, use_backend
from ._errors import BackendError, NumericalWarning
from .directional import DirectionMonitor, DirectionReport, DirectionStats, VonMisesFisher, vmf
from .sgd import VSGD, Moments, Run, baselines, iterate, minimize, stopping

__version__ = "0.1.0"

__all__ = [
    "VSGD",
    "BackendError",
    "DirectionMonitor",
    "DirectionReport",
    "DirectionStats",
    "Moments",
    "NumericalWarning",
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
