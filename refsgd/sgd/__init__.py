"""Tuning-free stochastic gradient descent."""

from .minimize import minimize
from .moments import Moments
from .vsgd import VSGD, Run

__all__ = ["VSGD", "Moments", "Run", "minimize"]
