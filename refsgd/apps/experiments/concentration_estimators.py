"""Estimators, intervals and tests of a concentration: directions isotropic about their mean, and not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...directional import estimators, vmf
from .claim import Claim, Verdict

N, BLOCKS, LEVEL = 200, 16, 0.95
KAPPA, SIGNAL = 0.1, 0.2  # kappa/d; mean over deviation of each component
ISOTROPIC, SPECTRUM = (2, 10, 100, 1_000, 10_000, 1_000_000), (100, 1_000, 10_000)
LAWS = {
    "uniform": ISOTROPIC,
    "von Mises-Fisher": ISOTROPIC,
    "1/j, no mean": SPECTRUM,
    "1/j, with mean": SPECTRUM,
}
COLUMNS = ("mle", "banerjee", "unbiased", "marginal", "wald", "score", "jackknife", "isotropic", "signflip")
Floats = NDArray[np.float64]


def unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def draw(law: str, dim: int, rng: np.random.Generator) -> Floats:
    """N directions; isotropic ones in the space that they span, which has N + 1 dimensions at most."""
    if law.startswith("1/j"):
        mean = SIGNAL if law == "1/j, with mean" else 0.0
        return unit((mean + rng.normal(size=(N, dim))) * np.arange(1, dim + 1) ** -0.5)
    below, across = vmf.random_heights(truth(law, dim), dim, N, rng)
    m = dim - 1
    normal = rng.normal(size=(N, min(N, m)))
    if m > N:  # Bartlett: an orthogonal basis in which each row adds one axis
        normal = np.tril(normal, -1) + np.diag(np.sqrt(rng.chisquare(m - np.arange(N))))
    return np.column_stack([1.0 - below, across[:, None] * unit(normal)])


def truth(law: str, dim: int) -> float:
    """The kappa whose A is the length of the mean direction."""
    if law != "1/j, with mean":
        return KAPPA * dim if law == "von Mises-Fisher" else 0.0
    # E(x/|x|) as an integral of normal moments, as 1/|x| = 2/sqrt(pi) int exp(-t^2 |x|^2) dt. Trapezoids in
    # log t are as good as exact.
    t = np.exp(np.linspace(-12.0, 6.0, 400))
    variance = 1.0 / np.arange(1, dim + 1)
    shrunk = 1.0 / (1.0 + 2.0 * t[:, None] ** 2 * variance)
    log_mass = 0.5 * np.log(shrunk).sum(1) - (t[:, None] ** 2 * SIGNAL**2 * variance * shrunk).sum(1)
    step = (np.log(t[1]) - np.log(t[0])) * 2.0 / np.sqrt(np.pi)
    mean = SIGNAL * np.sqrt(variance) * (t * np.exp(log_mass) @ shrunk) * step
    return float(vmf.concentration(np.linalg.norm(mean), dim))


def wald(kappa: float, dim: int) -> tuple[float, float]:
    """The textbook interval about the maximum-likelihood estimate."""
    reach = 1.959963984540054 / np.sqrt(N * vmf.mean_resultant_length_derivative(kappa, dim))
    return max(kappa - reach, 0.0), kappa + reach


def look(u: Floats, dim: int, kappa: float) -> list[float]:
    """Four estimates, whether three intervals cover, and whether two tests reject, of one sample."""
    sums = np.array([u[b::BLOCKS].sum(axis=0) for b in range(BLOCKS)])
    weight = np.array([len(u[b::BLOCKS]) for b in range(BLOCKS)], dtype=float)
    gram = sums @ sums.T
    r = min(float(np.sqrt(gram.sum())) / N, 1.0)
    mle = float(estimators.mle(r, dim))
    intervals = (
        wald(mle, dim),
        estimators.score_interval(r, dim, N, LEVEL),
        estimators.jackknife_interval(gram, weight, weight, weight, dim, LEVEL),
    )
    pvalues = estimators.isotropic_uniformity(r, dim, N), estimators.signflip_uniformity(gram)
    return [
        mle,
        float(estimators.banerjee(r, dim)),
        estimators.unbiased(r, dim, N),
        estimators.marginal(r, dim, N),
        *(float(low <= kappa <= high) for low, high in intervals),
        *(float(p <= 1.0 - LEVEL) for p in pvalues),
    ]


def measure(quick: bool) -> dict[str, Any]:
    repeats = 25 if quick else 1000
    numbers: dict[str, Any] = {"repeats": repeats}
    for law, dims in LAWS.items():
        kappas = [truth(law, dim) for dim in dims]
        found = []
        for dim, kappa in zip(dims, kappas, strict=True):
            rngs = (np.random.default_rng([seed, dim]) for seed in range(repeats))
            looks = np.array([look(draw(law, dim, rng), dim, kappa) for rng in rngs])
            found.append([*np.median(looks[:, :4], axis=0), *looks[:, 4:].mean(axis=0)])
        columns = zip(COLUMNS, np.transpose(found).tolist(), strict=True)
        numbers[law] = {"dim": list(dims), "kappa": kappas, **dict(columns)}
    return numbers


def verdict(numbers: dict[str, Any]) -> Verdict:
    uniform, fisher, null, aligned = (numbers[law] for law in LAWS)
    slack = 3.0 * np.sqrt(LEVEL * (1.0 - LEVEL) / numbers["repeats"])  # three standard errors
    few = [i for i, dim in enumerate(uniform["dim"]) if dim > N]
    inflated = min(uniform["mle"][i] / uniform["dim"][i] for i in few)
    bias = max(abs(fisher["unbiased"][i] / fisher["kappa"][i] - 1.0) for i in few)
    wald = max(law["wald"][i] for law in (uniform, fisher) for i in few)
    score = min(uniform["score"] + fisher["score"])
    jackknife = min(k for law in LAWS for k in numbers[law]["jackknife"])
    misled, size = max(aligned["score"]), max(uniform["signflip"] + null["signflip"])
    rejected = float(np.mean(null["isotropic"]))
    by = (
        f"for n < d the likeliest kappa of uniform directions is at least {inflated:.3f} d (bar 0.05), "
        f"{uniform['mle'][-1]:,.0f} at the most, its interval covers at most {wald:.2f} (bar 0.5), and the "
        f"unbiased one is within {bias:.1%} (bar 10 %); the score interval covers at least {score:.3f} (bar "
        f"0.93), but with a 1/j spectrum at most {misled:.2f} (bar 0.8), the jackknife at least "
        f"{jackknife:.3f} in all cases (bar 0.93); with that spectrum the isotropic test rejects "
        f"{rejected:.2f} of true nulls (bar 0.15), and sign flips at most {size:.3f} of all (bar 0.07)"
    )
    fails = inflated > 0.05 and wald < 0.5 and misled < 0.8 and rejected > 0.15
    honest = bias < 0.1 and min(score, jackknife) > 0.93 - slack and size < 0.07 + slack
    return Verdict(bool(fails and honest), by)


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    for law, line in (("von Mises-Fisher", "o-"), ("1/j, with mean", "o--")):
        for i, name in enumerate(("wald", "score", "jackknife")):
            label = f"{'likelihood' if name == 'wald' else name}, {law}"
            axes.plot(numbers[law]["dim"], numbers[law][name], line, color=f"C{i}", label=label)
    axes.axhline(LEVEL, color="grey", linestyle=":")
    axes.set(
        xscale="log", xlabel=f"dimension d of {N} directions", ylabel="coverage of intervals of level 0.95"
    )
    axes.legend(frameon=False)


CLAIM = Claim(
    "concentration_estimators",
    "With fewer directions than dimensions the likeliest concentration measures their number, the unbiased "
    "one does not; where directions are not isotropic only the jackknife and sign flips are honest.",
    f"{N} directions, uniform or von Mises-Fisher of kappa = {KAPPA:g} d with d = 2 to 1e6, or normal "
    f"vectors of variances 1/j and means of 0 or {SIGNAL:g} deviations, normalised, with d = 100 to 1e4. "
    "Coverage of the true kappa by intervals of level 0.95: about the likeliest, by score, and by jackknife "
    f"over {BLOCKS} blocks; rejections at 0.05 without a mean. Three standard errors are allowed where a bar "
    "asks for a coverage of 0.93 or a size of 0.07.",
    measure,
    verdict,
    plot,
)
