"""Angles between random directions, against the normal law.

The angle theta of two uniform directions has a density proportional to ``sin(theta)**(d-2)``, so that
``cos(theta)**2`` follows a beta law of 1/2 and (d-1)/2. With ``theta = pi/2 + t / sqrt(d)`` the density of t
is proportional to ``exp(-t**2/2 + (t**2 - t**4/12)/d + ...)``. Integrated, with phi the normal density,

    P(t) = Phi(t) - t (9 - t**2) phi(t) / (12 d) + O(1 / d**2),

so that the distance from the normal law comes to 0.1634 / d.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, kolmogi, ndtr

from .claim import Claim, Verdict

DIMS = (2, 3, 5, 10, 30, 100, 1000, 10_000, 100_000)
N_ANGLES = 1000  # a sample

Floats = NDArray[np.float64]


def exact(t: Floats, d: int) -> Floats:
    """P(sqrt(d) (theta - pi/2) <= t)."""
    angle = np.clip(t / np.sqrt(d), -np.pi / 2, np.pi / 2)
    half: Floats = 0.5 + 0.5 * np.sign(t) * betainc(0.5, 0.5 * (d - 1), np.sin(angle) ** 2)
    return half


def distance(d: int) -> float:
    """Kolmogorov's, of the exact law and the normal one: the largest difference of their distributions."""
    t = np.linspace(0, 6, 2001)  # both are symmetric
    return float(np.abs(exact(t, d) - ndtr(t)).max())


def angles(d: int, rng: np.random.Generator) -> Floats:
    """``sqrt(d) (theta - pi/2)`` of pairs of random vectors, sorted."""
    cosines = []
    for _ in range(N_ANGLES):
        a, b = rng.standard_normal((2, d), np.float32)
        cosines.append(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))
    theta = np.arccos(np.clip(np.array(cosines, np.float64), -1, 1))
    return np.sort(np.sqrt(d) * (theta - np.pi / 2))


def empirical(probabilities: Floats) -> float:
    """Kolmogorov's distance of a sorted sample, given as probabilities of a law, from that law."""
    steps = np.arange(len(probabilities) + 1) / len(probabilities)
    return float(max((steps[1:] - probabilities).max(), (probabilities - steps[:-1]).max()))


def measure(quick: bool) -> dict[str, Any]:
    samples: dict[str, dict[str, list[float]]] = {"exact": {}, "normal": {}}
    for d in DIMS:
        drawn = [angles(d, np.random.default_rng(seed)) for seed in range(3 if quick else 20)]
        samples["exact"][str(d)] = [empirical(exact(t, d)) for t in drawn]
        samples["normal"][str(d)] = [empirical(ndtr(t)) for t in drawn]
    grid = sorted({*range(2, 100), *np.geomspace(100, 1e5, 100).round().astype(int).tolist(), *DIMS})
    return {"dims": grid, "distance": [distance(d) for d in grid], "samples": samples}


def bound(n: int) -> float:
    """What the distance of a sample of n angles from its own law exceeds in one of 20."""
    return float(kolmogi(0.05) / n**0.5)


def enough(numbers: dict[str, Any], n: int) -> int:
    """The dimension from which on the laws are apart by less than a tenth of the bound of n angles."""
    dims, gaps = np.log(numbers["dims"]), np.log(numbers["distance"])
    return int(np.ceil(np.exp(np.interp(np.log(bound(n) / 10), gaps[::-1], dims[::-1]))))


def verdict(numbers: dict[str, Any]) -> Verdict:
    dims, gaps = np.array(numbers["dims"]), np.array(numbers["distance"])
    power = float(np.polyfit(np.log(dims[dims >= 10]), np.log(gaps[dims >= 10]), 1)[0])
    rejected = {
        law: {d: sum(gap > bound(N_ANGLES) for gap in each) for d, each in of.items()}
        for law, of in numbers["samples"].items()
    }
    n = sum(map(len, numbers["samples"]["exact"].values()))
    wrong = sum(rejected["exact"].values())
    each = ", ".join(f"{count} at d = {d}" for d, count in rejected["normal"].items() if int(d) <= 100)
    beyond = sum(count for d, count in rejected["normal"].items() if int(d) > 100)
    by = (
        f"distance {gaps[0]:.2g} at d = 2, {gaps[dims == 100][0]:.1e} at 100, falling as d**{power:.3f} (bar "
        f"-0.9); a tenth of the 5 % bound of 1,000 angles at d = {enough(numbers, 1000)}, of a million at "
        f"{enough(numbers, 10**6)}. Of {n // len(DIMS)} samples at each d normality is rejected in {each} "
        f"and {beyond} beyond; the exact law in {wrong} of {n}, where {0.05 * n:.0f} are due"
    )
    return Verdict(bool(power < -0.9) and wrong < 0.05 * n + 3 * (0.05 * 0.95 * n) ** 0.5, by)


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    axes.loglog(numbers["dims"], numbers["distance"], color="black", label="exact law to normal law")
    for i, (law, of) in enumerate(numbers["samples"].items()):
        dims = [int(d) * (0.96, 1.04)[i] for d in of]
        axes.plot(dims, list(of.values()), "ox"[i], color=f"C{i}", markersize=3, alpha=0.6)
        axes.plot([], [], "ox"[i], color=f"C{i}", label=f"{N_ANGLES} angles to {law} law")
    axes.axhline(bound(N_ANGLES), color="grey", linestyle=":", label=f"5 % bound of {N_ANGLES} angles")
    axes.set(xlabel="dimension d", ylabel="Kolmogorov's distance")
    axes.legend(frameon=False)


CLAIM = Claim(
    "random_angles",
    "Angles theta between random directions: sqrt(d) (theta - pi/2) becomes standard normal as d grows.",
    "Kolmogorov's distance of the exact law from the normal one, d = 2 to 100,000, which is to fall as 1/d; "
    f"and samples of {N_ANGLES} angles of pairs of random vectors, against both laws at level 5 %.",
    measure,
    verdict,
    plot,
)
