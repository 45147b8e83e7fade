"""Statistics of directions: the von Mises-Fisher distribution, and how concentrated gradients are."""

from __future__ import annotations

from . import vmf
from .distribution import VonMisesFisher
from .monitor import DirectionMonitor
from .report import DirectionReport
from .stats import DirectionStats

__all__ = ["DirectionMonitor", "DirectionReport", "DirectionStats", "VonMisesFisher", "vmf"]
