"""Small problems that hurt optimisers, and random convex ones: in plain NumPy, float64.

A problem's generator makes the problem first and then its minibatches, so that a seed stands for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from contests import Array, Problem
from scipy.sparse import csr_array

# -- problems that hurt


def quadratic(rng: np.random.Generator, spectrum: Array, noise: float) -> Problem:
    """Rotated, with additive noise."""
    d = spectrum.size
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    H = (rotation * spectrum) @ rotation.T
    return Problem(
        x0=rng.normal(size=d),
        draw=lambda: rng.normal(size=d),
        gradient=lambda x, sample: H @ x + noise * sample,
        figures=lambda x: (float(x @ H @ x / 2),),
    )


LINEAR: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]] = {
    "absolute": (lambda z, y: np.sign(z - y), lambda z, y: np.abs(z - y)),
    "hinge": (lambda z, y: -y * (y * z < 1), lambda z, y: np.maximum(0, 1 - y * z)),
    "squares": (lambda z, y: z - y, lambda z, y: (z - y) ** 2 / 2),
    "huber": (
        lambda z, y: np.clip(z - y, -1, 1),
        lambda z, y: np.where(np.abs(z - y) < 1, (z - y) ** 2 / 2, np.abs(z - y) - 0.5),
    ),
    "logistic": (
        lambda z, y: -y / (1 + np.exp(np.clip(y * z, -500, 500))),
        lambda z, y: np.logaddexp(0, -y * z),
    ),
}  # slopes and losses by the score z


def linear(
    rng: np.random.Generator, loss: str, X: Array, y: Array, x0: Array, n: int, judge: str | None = None
) -> Problem:
    """A linear model on rows drawn with replacement, judged by its loss or another."""
    slopes, losses = LINEAR[loss][0], LINEAR[judge or loss][1]
    return Problem(
        x0=x0,
        draw=lambda: rng.integers(0, len(y), n),
        gradient=lambda x, rows: X[rows].T @ slopes(X[rows] @ x, y[rows]) / n,
        figures=lambda x: (float(np.mean(losses(X @ x, y))),),
    )


def scaled_rows(
    rng: np.random.Generator, loss: str, is_heavy: bool = False, judge: str | None = None
) -> Problem:
    """Features whose scales differ; noise is normal or of Student's t with 1.5 degrees of freedom."""
    d, n_rows = 50, 4000
    coef = rng.normal(size=d)
    scales = np.exp(rng.normal(size=d))
    X = rng.normal(size=(n_rows, d)) * scales
    noise = rng.standard_t(1.5, n_rows) if is_heavy else rng.normal(size=n_rows)
    y = X @ (coef / scales) + 0.1 * noise
    return linear(rng, loss, X, np.sign(y) if loss == "hinge" else y, np.zeros(d), 10, judge)


def jumps(rng: np.random.Generator, curvatures: tuple[float, ...]) -> Problem:
    """The optimum jumps twice, after 700 minibatches each, and the curvature with it."""
    d, count = 20, 0
    targets = 0.0, 5.0, -5.0

    def draw() -> Array:
        nonlocal count
        count += 1
        return 0.5 * rng.normal(size=d)

    def phase() -> tuple[float, float]:
        now = min((count - 1) // 700, 2) if count else 0
        return curvatures[now], targets[now]

    def gradient(x: Array, sample: Array) -> Array:
        h, target = phase()
        return h * (x - target - sample)

    def figures(x: Array) -> tuple[float]:
        h, target = phase()
        return (h * float(np.sum((x - target) ** 2)) / 2,)

    return Problem(3 * np.ones(d), draw, gradient, figures)


def rare_words(rng: np.random.Generator) -> Problem:
    """Logistic regression on one text at a time: thirty words by Zipf's law, of 5,000."""
    d, n_rows = 5000, 4000
    frequencies = 1 / np.arange(1, d + 1)
    frequencies /= frequencies.sum()
    coef = 2 * rng.normal(size=d)
    words = [np.unique(rng.choice(d, 30, p=frequencies)) for _ in range(n_rows)]
    scores = np.array([coef[row].sum() for row in words])
    y = 2 * (rng.random(n_rows) < 1 / (1 + np.exp(-scores))) - 1
    ends = np.cumsum([0, *map(len, words)])
    X = csr_array((np.ones(ends[-1]), np.concatenate(words), ends), shape=(n_rows, d))

    def gradient(x: Array, row: int) -> Array:
        g = np.zeros(d)
        g[words[row]] = -y[row] / (1 + np.exp(np.clip(y[row] * x[words[row]].sum(), -500, 500)))
        return g

    return Problem(
        x0=np.zeros(d),
        draw=lambda: int(rng.integers(0, n_rows)),
        gradient=gradient,
        figures=lambda x: (float(np.mean(np.logaddexp(0, -y * (X @ x)))),),
    )


def rosenbrock(rng: np.random.Generator) -> Problem:
    """Ten pairs of parameters, with noise of deviation 1."""

    def gradient(x: Array, sample: Array) -> Array:
        a, b = x[::2], x[1::2]
        g = np.empty(20)
        g[::2] = -400 * a * (b - a * a) - 2 * (1 - a)
        g[1::2] = 200 * (b - a * a)
        return g + sample

    return Problem(
        x0=np.tile([-1.2, 1.0], 10),
        draw=lambda: rng.normal(size=20),
        gradient=gradient,
        figures=lambda x: (float(np.sum(100 * (x[1::2] - x[::2] ** 2) ** 2 + (1 - x[::2]) ** 2)),),
    )


def wild_gradients(rng: np.random.Generator) -> Problem:
    """One minibatch in a hundred is a thousand times as noisy."""
    return Problem(
        x0=3 * np.ones(20),
        draw=lambda: rng.normal(size=20) * (1000 if rng.random() < 0.01 else 1),
        gradient=lambda x, sample: x - sample,
        figures=lambda x: (float(x @ x / 2),),
    )


def late_features(rng: np.random.Generator) -> Problem:
    """Half of the parameters have no gradient in the first thousand minibatches."""
    count = 0

    def draw() -> tuple[Array, Array]:
        nonlocal count
        is_there = (np.arange(10) < 5) | (count > 1000)
        count += 1
        return is_there, 0.3 * rng.normal(size=10)

    return Problem(
        x0=np.ones(10),
        draw=draw,
        gradient=lambda x, batch: batch[0] * 50 * (x - batch[1]),
        figures=lambda x: (float(x @ x) * 25,),
    )


ILL = np.logspace(-4, 0, 100)
STRESS: dict[str, Callable[[np.random.Generator], Problem]] = {
    "noisy quadratic, condition 1e4": lambda rng: quadratic(rng, ILL, 0.1),
    "quadratic without noise, condition 1e4": lambda rng: quadratic(rng, ILL, 0.0),
    "noisy quadratic, condition 1": lambda rng: quadratic(rng, np.ones(100), 0.1),
    "least absolute deviations": lambda rng: scaled_rows(rng, "absolute"),
    "hinge": lambda rng: scaled_rows(rng, "hinge"),
    "least squares": lambda rng: scaled_rows(rng, "squares"),
    "least squares, t(1.5) noise": lambda rng: scaled_rows(rng, "squares", is_heavy=True, judge="absolute"),
    "optimum jumps": lambda rng: jumps(rng, (1.0, 1.0, 1.0)),
    "curvature × 100 and back": lambda rng: jumps(rng, (1.0, 100.0, 1.0)),
    "sparse, one sample": rare_words,
    "Rosenbrock with noise": rosenbrock,
    "1 % of gradients × 1,000": wild_gradients,
    "features that appear late": late_features,
}


def stress(name: str, seed: int) -> Problem:
    return STRESS[name](np.random.default_rng(seed))


# -- random convex problems


def n_per_minibatch(seed: int) -> int:
    """The size of minibatches of `convex`: 1 to 64."""
    rng = np.random.default_rng(seed)
    rng.uniform(0, 3)
    return int(2 ** rng.uniform(0, 6))


def convex(seed: int) -> Problem:
    """A linear model of 1 to 1,000 parameters; scales, rotation, noise, loss and start are random."""
    rng = np.random.default_rng(seed)
    d, n = int(10 ** rng.uniform(0, 3)), int(2 ** rng.uniform(0, 6))
    n_rows = min(4000, max(200, 4 * d))
    loss = ["squares", "absolute", "huber", "logistic", "hinge"][rng.integers(5)]
    scales = 10 ** rng.uniform(-1, 1, d) * 10 ** rng.uniform(-2, 2)
    condition = 10 ** rng.uniform(0, 4)
    X: Any = rng.normal(size=(n_rows, d))
    if rng.random() < 0.5:
        X = X * np.logspace(0, -np.log10(condition), d)
        if d < 400:
            X = X @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    if rng.random() < 0.5:
        X = X * scales
    sizes = np.maximum(np.abs(X).mean(axis=0), 1e-12) * np.sqrt(d)
    coef = rng.normal(size=d) / sizes
    scores = X @ coef
    is_far = rng.random() < 0.4
    noise = rng.standard_cauchy(n_rows) if rng.random() < 0.3 else rng.normal(size=n_rows)
    y = scores + 0.1 * noise
    if loss in ("logistic", "hinge"):
        y = np.where(scores + 0.3 * rng.normal(size=n_rows) > 0, 1.0, -1.0)
    x0 = np.zeros(d)
    if is_far:
        x0 = coef + 10 ** rng.uniform(0, 2) * rng.normal(size=d) / sizes
    return linear(rng, loss, X, y, x0, n)
