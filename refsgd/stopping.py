"""When to stop: criteria for ``stop=`` of `refsgd.minimize`, which compose.

>>> from refsgd.stopping import MaxSteps, NotFinite
>>> stop = [MaxSteps(1000), NotFinite()]
"""

from .sgd.stopping import (
    AllOf,
    AnyOf,
    Criterion,
    MaxSamples,
    MaxSteps,
    MaxTime,
    NotFinite,
    Patience,
    Progress,
    TargetLoss,
)

__all__ = [
    "AllOf",
    "AnyOf",
    "Criterion",
    "MaxSamples",
    "MaxSteps",
    "MaxTime",
    "NotFinite",
    "Patience",
    "Progress",
    "TargetLoss",
]
