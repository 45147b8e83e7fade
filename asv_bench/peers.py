"""Tuning-free optimisers of other packages for PyTorch, at their defaults.

Each takes the parameters; ImportError if its package is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def optimiser(module: str, name: str) -> Callable[[list[Any]], Any]:
    """What makes an optimiser; only that imports its package."""
    return lambda parameters: getattr(import_module(module), name)(parameters)


d_adaptation = optimiser("dadaptation", "DAdaptAdam")
dog = optimiser("dog", "DoG")
momo = optimiser("momo", "Momo")
momo_adam = optimiser("momo", "MomoAdam")
prodigy = optimiser("prodigyopt", "Prodigy")
schedule_free = optimiser("schedulefree", "AdamWScheduleFree")
