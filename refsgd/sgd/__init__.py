"""Tuning-free stochastic gradient descent."""

from . import stopping
from .minimize import iterate, minimize
from .moments import Moments
from .published import PublishedVSGD
from .run import Run
from .vsgd import VSGD

__all__ = ["VSGD", "Moments", "PublishedVSGD", "Run", "iterate", "minimize", "stopping"]
