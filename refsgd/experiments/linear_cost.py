"""What a step costs as problems grow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..sgd import VSGD
from .claims import Claim, Verdict

NNZ = 1000


def seconds(told: Callable[[], None], repeats: int) -> float:
    """Median time of a step, the start not counted."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        told()
        times.append(time.perf_counter() - began)
    return float(np.median(times[repeats // 3 :]))


def dense(d: int, n: int, repeats: int) -> float:
    rng = np.random.default_rng(0)
    run = VSGD().start(np.ones(d))
    rows = [rng.normal(size=(n, d)) for _ in range(2)]
    return seconds(lambda: run.tell(rows[: len(run.ask())]), repeats)


def sparse(d: int, nnz: int, repeats: int) -> float:
    from scipy.sparse import csr_array

    rng = np.random.default_rng(0)
    run = VSGD(weighting="sparse").start(np.ones(d))
    indices = np.sort(rng.choice(d, nnz, replace=False))
    rows = [csr_array((rng.normal(size=nnz), indices, [0, nnz]), shape=(1, d)) for _ in range(2)]
    return seconds(lambda: run.tell(rows[: len(run.ask())]), repeats)


def measure(quick: bool) -> dict[str, Any]:
    repeats, largest = (31, 10**6) if quick else (61, 3 * 10**6)
    d = [10**5, 3 * 10**5, largest]
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
    "Median time of a step over sizes: parameters d online, samples n at d = 10,000, non-zeros at d = "
    f"2,000,000, and d at {NNZ} non-zeros; the power of growth by a line through the logarithms.",
    measure,
    verdict,
    plot,
)
