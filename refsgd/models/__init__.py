"""Models that give per-sample gradients, their moments and curvatures without automatic differentiation."""

from . import problems
from .linear import Logistic, Softmax
from .mlp import MLP

__all__ = ["MLP", "Logistic", "Softmax", "problems"]
