"""Stochastic gradient descent without learning rates, and the directional statistics of gradients.

Minimise
    `minimize` takes a gradient and samples, runs to the end and returns SciPy's result; `iterate` gives the
    run after each step. Any rule is also a method of `scipy.optimize.minimize`.
Rules
    `VSGD` is the default; `PublishedVSGD` holds the algorithms of the papers to the letter; `baselines` has
    SGD, AdaGrad, RMSprop and Adam.
Runs
    ``rule.start(x0)`` gives a `Run` for a loop of your own: ``run.tell(grad(run.ask()))``. Gradients are
    arrays, CSR matrices or `Moments`. `stopping` has criteria to stop by.
Linear models
    `VSGDClassifier` and `VSGDRegressor`, scikit-learn's form, in memory or from a stream.
Directions
    `DirectionMonitor` watches gradients over training and gives a `DirectionReport`; `DirectionStats` sums
    up unit vectors; `VonMisesFisher` is the distribution, `vmf` its functions in any dimension;
    `VonMisesFisherMixture` clusters directions.
PyTorch
    `refsgd.adapters.torch` has an optimiser, `VSGD`, and a monitor of any training, `watch`.
Data and models
    `datasets` and `models` for experiments; `refsgd.textdata` reads svmlight and Vowpal Wabbit text.
Backends
    NumPy, Numba and C compute the same bits: `show_backends`, `use_backend`, `set_num_threads`,
    `get_num_threads`; one that is missing raises `BackendError`. Numerical trouble warns with
    `NumericalWarning`.

On the command line: ``refsgd``, or ``python -m refsgd``.
"""

from typing import TYPE_CHECKING

from . import baselines, datasets, models, stopping, vmf
from ._config import get_num_threads, set_num_threads, show_backends, use_backend
from ._errors import BackendError, NumericalWarning
from .directional import DirectionMonitor, DirectionReport, DirectionStats, VonMisesFisher
from .sgd import VSGD, Moments, PublishedVSGD, Run, iterate, minimize

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

# Of the extras; not in __all__, as `from refsgd import *` would import them all. A type checker sees classes
# and no `__getattr__`, so that a misspelt name is an error to it.
if TYPE_CHECKING:
    from .adapters.classifier import VSGDClassifier as VSGDClassifier
    from .adapters.mixture import VonMisesFisherMixture as VonMisesFisherMixture
    from .adapters.regressor import VSGDRegressor as VSGDRegressor
else:
    _LAZY = {
        "VSGDClassifier": "refsgd.adapters.classifier",
        "VSGDRegressor": "refsgd.adapters.regressor",
        "VonMisesFisherMixture": "refsgd.adapters.mixture",
    }

    def __getattr__(name):
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        try:
            return getattr(import_module(_LAZY[name]), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "sklearn":
                raise
            text = f'refsgd.{name} is not available ({error}); pip install "refsgd[sklearn]".'
            raise ImportError(text, name="sklearn") from error

    def __dir__():
        return sorted({*globals(), *_LAZY})
