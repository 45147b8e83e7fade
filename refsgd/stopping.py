"""When to stop: criteria for ``stop=`` of `refsgd.minimize`, which compose.

>>> from refsgd.stopping import MaxSamples, MaxTime
>>> stop = [MaxSamples(1_000_000), MaxTime(60.0)]
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
