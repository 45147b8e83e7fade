"""The length of a step in the metric of the noise, and how it follows from curvature.

A step is ``length * sqrt(rho) * g / D``. Every few steps a second gradient of the same minibatch measures a
curvature: a probe along the averaged step sets the length, and a landing at the end of the minibatch's own
step sets its ceiling. All functions take and return plain numbers, so that the compiled loop can use them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..kernels.contract import N_START, OVERESTIMATE

#: The first probe moves the largest coordinate by this share of max(1, |x|): small, and far above rounding.
FIRST_PROBE = 1e-3

#: While probes see no curvature, the length grows up to this many times max(1, |x|) at the start.
LONGEST = 10.0

#: The upper bound of curvatures, whose squares stay finite.
MOST = 1e150


class StepLength(NamedTuple):
    """The length and the averages behind it. Lengths are in the units of x, curvatures in ``1 / x``.

    ``curv`` and ``curv_sq`` average the curvature along probes and its square, ``slope`` and ``bend`` the two
    coefficients of the loss along a minibatch's own step. ``bound``, and ``n_probes``, belong to the start.
    """

    length: float = 0.0
    curv: float = 0.0
    curv_sq: float = 0.0
    bound: float = 0.0
    n_probes: float = 0.0
    slope: float = 0.0
    bend: float = 0.0


def curvature(d2_metric: float, along: float) -> float:
    """The Rayleigh quotient ``|d . c| / (D d . d)`` of a probe."""
    return min(abs(along) / d2_metric, MOST) if d2_metric > 0 else 0.0


def largest_curvature(d2_metric: float, change2: float) -> float:
    """The upper bound of `curvature` by the Cauchy-Schwarz inequality."""
    return min(math.sqrt(change2 / d2_metric), MOST) if d2_metric > 0 else 0.0


def first(x_largest: float, steepest: float) -> float:
    """The length of the very first probe, given the largest |m / D|."""
    return FIRST_PROBE * max(1.0, x_largest) / steepest if steepest > 0 else 0.0


def begun(s: StepLength, length: float) -> StepLength:
    """At the second minibatch of a start: forget earlier curvatures."""
    return StepLength(length, 0.0, 0.0, 0.0, 0.0, s.slope, s.bend)


def searched(s: StepLength, curv: float, bound: float) -> StepLength:
    """During the start: the next probe goes as far as the bound allows, at most twice as far as the last."""
    n = s.n_probes + 1
    return StepLength(
        min(1 / bound if bound > 0 else math.inf, 2 * s.length),
        s.curv + (curv - s.curv) / n,
        s.curv_sq + (curv * curv - s.curv_sq) / n,
        s.bound + (bound - s.bound) / n,
        n,
        s.slope,
        s.bend,
    )


def settled(s: StepLength) -> StepLength:
    """At the end of the start, where v and so the metric D is over-estimated.

    A network is often flat where it starts, near a saddle. There the Rayleigh quotient would make the first
    steps up to ten times too long; its bound is safe.
    """
    root = math.sqrt(OVERESTIMATE)
    length = root / s.bound if s.bound > 0 else s.length
    return StepLength(length, s.curv / root, s.curv_sq / OVERESTIMATE, s.bound, s.n_probes, s.slope, s.bend)


def in_metric(s: StepLength, factor: float) -> StepLength:
    """The same length in a metric D that is ``factor`` times as large."""
    curv, curv_sq, bound = s.curv / factor, s.curv_sq / factor**2, s.bound / factor
    return StepLength(s.length * factor, curv, curv_sq, bound, s.n_probes, s.slope, s.bend)


def weight(memory: float, n_steps: int) -> float:
    """The weight of a probe, one per ``n_steps`` steps, in averages over the memory of the parameters."""
    return 1 / max(memory / n_steps, N_START)


def followed(s: StepLength, curv: float, share: float, limit: float) -> StepLength:
    """After a probe: the length that minimises E (1 - length * curvature)**2, within a factor 2 of the last.

    If this probe sees no curvature, the length grows only while it is below ``limit``.
    """
    mean = s.curv + share * (curv - s.curv)
    mean_sq = s.curv_sq + share * (curv * curv - s.curv_sq)
    wanted = mean / mean_sq if mean_sq > 0 else math.inf
    longest = 2 * s.length if curv > 0 or s.length < limit else s.length
    length = min(max(wanted, s.length / 2), longest)
    return StepLength(length, mean, mean_sq, s.bound, s.n_probes, s.slope, s.bend)


def landed(s: StepLength, descent: float, along: float, share: float) -> StepLength:
    """After a landing, a gradient where the minibatch's own step d ends; the first sets the averages.

    ``descent`` is ``g . d`` and ``along`` is ``c . d``, c being the change of the gradient along d.
    """
    if not (s.length > 0 and descent > 0):
        return s
    slope, bend = descent / s.length, along / s.length / s.length
    share = share if s.slope > 0 else 1.0
    slope, bend = s.slope + share * (slope - s.slope), s.bend + share * (bend - s.bend)
    return StepLength(s.length, s.curv, s.curv_sq, s.bound, s.n_probes, slope, bend)


def capped(s: StepLength) -> StepLength:
    """Shorten a step that would on average pass its own minibatch's minimum, at most to half."""
    if s.bend > 0:
        length = min(s.length, max(s.slope / s.bend, s.length / 2))
        return StepLength(length, s.curv, s.curv_sq, s.bound, s.n_probes, s.slope, s.bend)
    return s
