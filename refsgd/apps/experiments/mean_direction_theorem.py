"""What a step along the mean direction does to the concentration of the directions seen.

From w the points ``p_i`` lie at distances ``l_i`` in directions ``u_i = (p_i - w)/l_i``. Let ``s = sum u_i``,
``R = |s|``, ``m = s / R``; kappa by Banerjee's closed form is an increasing function of r = R / n alone, its
derivative having the sign of ``d (1 + r**2) - 3 r**2 + r**4 > 0`` for d >= 2. Now ``F(w) = sum |p_i - w|`` is
convex with gradient ``-s`` and Hessian ``H = sum (I - u_i u_i') / l_i``, so that at w + t m, at t = 0,

    dR/dt = -m' H m = -sum (1 - (m' u_i)**2) / l_i <= 0.

It is 0 only if every ``u_i`` is m or -m. So kappa falls for short steps, unless all points lie on one line
through w, or R = 0 and there is no mean direction. That they are not on one ray is not enough: with points on
either side of w on a line, R does not change before w meets one. As m is the way of steepest descent of F, to
the geometric median, what falls is the length of the gradient of a convex function; and along the flow
``w' = m`` it falls all the way.

How short is short? ``t* = R / sum(1 / l_i)`` is the step that Weiszfeld's method takes. With H averaged over
a step, ``|s(t)|**2 = R**2 - 2 t R m' H m + t**2 |H m|**2``, and ``|H m|**2 <= m' H m sum(1 / l_i)``: R falls
for t below 2 t*, if distances do not shrink on the way. They do; the numbers tell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...directional.estimators import banerjee
from .claim import Claim, Verdict

DIMS = (2, 3, 10, 100, 1000, 10_000, 100_000)
COUNTS = (2, 3, 10, 50)
STEPS = [1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0]  # of Weiszfeld's
AGREE = 1e-4  # relative, of slopes
KINDS = ("uniform", "uniform, heavy-tailed", "concentrated", "concentrated, heavy-tailed")

Points = NDArray[np.float64]


def configuration(kind: str, n: int, d: int, rng: np.random.Generator) -> Points:
    """Points ``(n, d)`` seen from 0; heavy-tailed distances are those of a Cauchy law."""
    points = rng.normal(size=(n, d))
    if kind.startswith("concentrated"):
        points[:, 0] += 2 * np.sqrt(d)
    distances = np.abs(rng.standard_cauchy(n)) if kind.endswith("tailed") else rng.uniform(0.5, 1.5, n)
    points *= (distances / np.linalg.norm(points, axis=1))[:, None]
    return points


def seen(points: Points) -> tuple[Points, Points, float]:
    """Distances and directions from 0, and the resultant length R."""
    distances = np.linalg.norm(points, axis=1)
    directions = points / distances[:, None]
    return distances, directions, float(np.linalg.norm(directions.sum(axis=0)))


def kappa(points: Points) -> float:
    _, directions, resultant = seen(points)
    if resultant == 0:
        return 0.0
    apart = directions - directions.sum(axis=0) / resultant
    n, d = points.shape
    return float(banerjee(min(resultant / n, 1.0), d, min(np.vdot(apart, apart) / (2 * n), 1.0)))


def slope(points: Points) -> tuple[float, float]:
    """dR/dt along the mean direction: by the closed form, and by a central difference."""
    distances, directions, resultant = seen(points)
    m = directions.sum(axis=0) / resultant
    across = directions - np.outer(directions @ m, m)  # of squared length 1 - (m' u)**2
    t = 1e-4 * distances.min()
    difference = (seen(points - t * m)[2] - seen(points + t * m)[2]) / (2 * t)
    return -float((across**2).sum(axis=1) @ (1 / distances)), difference


def falls(points: Points) -> list[bool]:
    """Whether kappa falls, for each of `STEPS`."""
    distances, directions, _ = seen(points)
    step = directions.sum(axis=0) / (1 / distances).sum()
    before = kappa(points)
    return [kappa(points - share * step) < before for share in STEPS]


def changes_on_a_line(n: int, d: int, rng: np.random.Generator) -> bool:
    """Whether kappa changes by more than rounding, half the way to the nearest of points on two rays."""
    axis = rng.normal(size=d)
    axis /= np.linalg.norm(axis)
    points = np.outer(rng.uniform(0.5, 1.5, n) * np.where(np.arange(n) < n // 3, -1, 1), axis)
    before, after = kappa(points), kappa(points - 0.25 * axis)
    return bool(abs(after / before - 1) > 1e-9)


def measure(quick: bool) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    numbers: dict[str, Any] = {"falls": {}, "not negative": 0, "error of slope": 0.0}
    for kind in KINDS:
        falling = []
        for d in DIMS:
            for n in COUNTS * ((1 if quick else 3) if d > 1000 else (10 if quick else 100)):
                points = configuration(kind, n, d, rng)
                exact, difference = slope(points)
                numbers["not negative"] += int(not exact < 0)
                numbers["error of slope"] = max(numbers["error of slope"], abs(difference / exact - 1))
                falling.append(falls(points))
        numbers["falls"][kind] = np.sum(falling, axis=0).tolist()
        numbers["configurations"] = len(falling)
    numbers["lines"] = 100
    numbers["changes on a line"] = sum(changes_on_a_line(9, 2 + i, rng) for i in range(100))
    return numbers


def verdict(numbers: dict[str, Any]) -> Verdict:
    total = numbers["configurations"] * len(numbers["falls"])
    counts = np.sum(list(numbers["falls"].values()), axis=0)
    longer = dict(zip(STEPS, 100 * counts / total, strict=True))
    shares = ", ".join(f"{longer[k]:.3g} % at {k:g}" for k in (0.1, 0.5, 1.0, 2.0, 10.0))
    wrong, error = numbers["not negative"], numbers["error of slope"]
    by = (
        f"{total - counts[0]} violations at {STEPS[0]:g} of Weiszfeld's step in {total} configurations, "
        f"{wrong} slopes that are not negative (differences agree within {error:.0e}, bar {AGREE:g}); after "
        f"longer steps it falls in {shares}. With all points on one line, on either side, it changes in "
        f"{numbers['changes on a line']} of {numbers['lines']}"
    )
    return Verdict(bool(counts[0] == total and not wrong and error < AGREE), by)


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    for kind, counts in numbers["falls"].items():
        axes.semilogx(STEPS, 100 * np.array(counts) / numbers["configurations"], marker="o", label=kind)
    axes.axvline(1, color="grey", linestyle=":", label="Weiszfeld's step")
    axes.set(xlabel="length of the step / Weiszfeld's", ylabel="configurations in which kappa falls (%)")
    axes.legend(frameon=False)


CLAIM = Claim(
    "mean_direction_theorem",
    "A short step along the mean direction of points lowers the kappa of the directions in which they are "
    "seen, unless all lie on one line through the place.",
    f"{COUNTS} points in {DIMS[0]} to {DIMS[-1]:,} dimensions, in uniform and in concentrated directions, at "
    "even and at heavy-tailed distances: slope in closed form and by differences, and kappa after steps of "
    "several lengths. No violation is allowed at the shortest.",
    measure,
    verdict,
    plot,
)
