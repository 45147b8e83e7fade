"""Tuning-free stochastic gradient descent."""

from . import baselines, stopping
from .minimize import iterate, minimize
from .moments import Moments
from .run import Run
from .vsgd import VSGD

__all__ = ["VSGD", "Moments", "Run", "baselines", "iterate", "minimize", "stopping"]
