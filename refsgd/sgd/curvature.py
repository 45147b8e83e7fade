"""How far to probe: the global curvature along the gradient, and the scale of a step that follows from it.

A probe of g_avg itself, as printed in arXiv 1301.3764, has the wrong units: with the loss multiplied by 100
it reaches 100 times as far. Here the probe is ``scale * g_avg`` with ``scale`` near 1 / L, where
``L = |grad - probe_grad| / |x - point|`` is a running mean over steps. Then a trajectory does not depend
on the unit of the loss.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.contract import MAX_CURV_EXPONENT

#: The first probe moves the largest coordinate by this share of max(1, |x|): small, and far above rounding.
FIRST_PROBE = 1e-3

#: Where no curvature is seen, probes lengthen up to this distance and no farther.
LONGEST_PROBE = 1e6

#: The published probe x + g_avg: a scale that never changes.
PUBLISHED_SCALE = -1.0


class StepScale(NamedTuple):
    """``scale`` of a probe (``x**2 / loss``), mean curvature ``lipschitz`` (``loss / x**2``), and how many
    curvatures the start has seen."""

    scale: float = 0.0
    lipschitz: float = 0.0
    seen: float = 0.0

    @classmethod
    def first(cls, x: NDArray[Any], grad: NDArray[Any]) -> StepScale:
        """The scale of the very first probe; 0 while every gradient has been 0."""
        steepest = float(np.abs(grad).max())
        reach = FIRST_PROBE * max(1.0, float(np.abs(x).max()))
        return cls(reach / steepest if steepest > 0 else 0.0)

    def search(self, curvature: float) -> StepScale:
        """During the start: probe next where this curvature says, but at most twice as far.

        A first probe that meets hardly any curvature, as at a point of inflection, would else send the next
        out of sight.
        """
        scale = min(1 / curvature if curvature > 0 else math.inf, 2 * self.scale)
        seen = self.seen + 1
        return StepScale(scale, self.lipschitz + (curvature - self.lipschitz) / seen, seen)

    def settle(self) -> StepScale:
        """At the end of the start: the scale of the mean curvature seen."""
        return self._replace(scale=1 / self.lipschitz if self.lipschitz > 0 else self.scale)

    def follow(self, curvature: float, distance: float, memory: float) -> StepScale:
        """After a step: see `follow`."""
        scale, lipschitz = follow(self.scale, self.lipschitz, curvature, distance, memory)
        return StepScale(scale, lipschitz, self.seen)

    def bounded(self, dtype: np.dtype[Any]) -> StepScale:
        """Small enough that in ``dtype`` its square stays finite."""
        # dtype.name takes longer than all else here
        exponent = MAX_CURV_EXPONENT["float32" if dtype.itemsize == 4 else "float64"]
        return StepScale(min(self.scale, math.ldexp(1.0, exponent)), self.lipschitz, self.seen)


def follow(
    scale: float, lipschitz: float, curvature: float, distance: float, memory: float
) -> tuple[float, float]:
    """Scale and mean curvature after a step: the mean is over ``memory`` steps, and the scale changes by at
    most a factor of 2.

    Where no curvature is left the scale grows, so that the probe, last at ``distance``, finds the next
    kink however far it is.
    """
    lipschitz = lipschitz + (curvature - lipschitz) / max(memory, 1.0)
    may_grow = curvature > 0 or distance < LONGEST_PROBE
    largest = scale * 2 if may_grow else scale
    wanted = 1 / lipschitz if lipschitz > 0 else math.inf
    return min(max(wanted, scale / 2), largest), lipschitz


def global_curvature(distance: float, difference: float) -> float:
    """``|grad - probe_grad| / |x - point|``; 0 where the probe did not move."""
    return difference / distance if distance > 0 else 0.0
