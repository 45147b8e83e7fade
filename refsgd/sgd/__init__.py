"""Tuning-free stochastic gradient descent."""

from .minimize import iterate, minimize
from .moments import Moments
from .vsgd import VSGD, Run

__all__ = ["VSGD", "Moments", "Run", "iterate", "minimize"]
