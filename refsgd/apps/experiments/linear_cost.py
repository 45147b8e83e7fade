"""What a step costs as problems grow."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...kernels.contract import N_START
from ...sgd import VSGD, Run
from .claim import Claim, Verdict
from .driving import take_step

NNZ, N_DRAWS, STRETCH = 1000, 3, 12


def seconds(run: Run, draws: Iterable[Any], repeats: int) -> float:
    """Mean time of a step, with its share of second points, in the fastest of some stretches."""
    gradients = itertools.cycle(draws)

    def steps(n: int) -> float:
        began = time.perf_counter()
        for gradient in itertools.islice(gradients, n):
            take_step(run, lambda x, gradient=gradient: gradient)
        return (time.perf_counter() - began) / n

    steps(N_START)
    return min(steps(STRETCH) for _ in range(repeats))


def dense(d: int, n: int, repeats: int) -> float:
    rng = np.random.default_rng(0)
    run = VSGD().start(np.ones(d))
    return seconds(run, rng.normal(size=(N_DRAWS, n, d)), repeats)


def sparse(d: int, nnz: int, repeats: int) -> float:
    from scipy.sparse import csr_array

    rng = np.random.default_rng(0)
    run = VSGD(weighting="sparse").start(np.ones(d))
    indices = np.sort(rng.choice(d, nnz, replace=False))
    entries = rng.normal(size=(N_DRAWS, nnz))
    draws = [csr_array((values, indices, [0, nnz]), shape=(1, d)) for values in entries]
    return seconds(run, draws, repeats)


def measure(quick: bool) -> dict[str, Any]:
    repeats, largest = (3, 3 * 10**6) if quick else (6, 10**7)
    d = [largest // 10, largest // 3, largest]  # more than most caches hold
    n = [10, 30, 100]
    nnz = [10**5, 3 * 10**5, 10**6]
    wide = [10**4, 10**5, 10**6, 10**7]
    return {
        "d": [d, [dense(size, 1, repeats) for size in d]],
        "n": [n, [dense(10_000, size, repeats) for size in n]],
        "nnz": [nnz, [sparse(2 * 10**6, size, repeats) for size in nnz]],
        "d, sparse": [wide, [sparse(size, NNZ, repeats) for size in wide]],
    }


def slope(sizes: list[int], times: list[float]) -> float:
    """The power with which time grows."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def verdict(numbers: dict[str, Any]) -> Verdict:
    slopes = {name: slope(*values) for name, values in numbers.items()}
    linear = all(slopes[name] < 1.25 for name in ("d", "n", "nnz"))
    by = ", ".join(f"{name} {power:.2f}" for name, power in slopes.items())
    return Verdict(
        linear and slopes["d, sparse"] < 0.15,
        f"powers with which time grows: {by} (bars 1.25; the last, with {NNZ} non-zeros, 0.15)",
    )


def plot(axes: Any, numbers: dict[str, Any]) -> None:
    for name, (sizes, times) in numbers.items():
        axes.loglog(sizes, 1e6 * np.array(times), marker="o", label=name)
    axes.set(xlabel="size", ylabel="microseconds a step")
    axes.legend(frameon=False)


CLAIM = Claim(
    "linear_cost",
    "The cost of a step is linear in parameters and samples, and in non-zeros where gradients are sparse.",
    "Mean time of a step, least of some stretches, over sizes: parameters d online, samples n at d = 10,000, "
    f"non-zeros at d = 2,000,000, and d at {NNZ} non-zeros; the power of growth by a line through the "
    "logarithms.",
    measure,
    verdict,
    plot,
)
