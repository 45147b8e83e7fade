"""Draw how time and memory grow: shown, not claimed.

    python asv_bench/growth.py                 some minutes, up to 1e8 parameters where memory allows
    python asv_bench/growth.py --largest 1e6   half a minute

One thread. Each time is the least of some rounds, as other programs only add to it. Writes three pictures
into docs/images: dense step, sparse step, moments.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import BACKENDS, Problem, backend
from benchmarks.bench_moments import MomentsProblem
from benchmarks.bench_sparse import SparseStep

# isort: split
import matplotlib.pyplot as plt
import numpy as np

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
DIMS = [int(10**power) for power in np.arange(2, 8.1, 0.5)]


def least_seconds(function: Callable[[], Any], limit: float = 0.3) -> float:
    """Least time of a call, over as many calls as go into ``limit`` seconds, at least three."""
    function()
    times = []
    began = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < limit:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def free_bytes() -> float:
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def fitting(dims: Iterable[int], bytes_a_parameter: int) -> list[int]:
    """Those that take at most half of the memory that is free."""
    return [d for d in dims if d * bytes_a_parameter <= free_bytes() / 2]


def save(figure: Any, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / name, dpi=110, bbox_inches="tight")
    plt.close(figure)
    print(f"docs/images/{name}", flush=True)


def axes(title: str, x: str, y: str, second: str) -> Any:
    figure, both = plt.subplots(1, 2, figsize=(9.5, 3.6))
    for ax, label in zip(both, (y, second), strict=True):
        ax.set(xlabel=x, ylabel=label, xscale="log", yscale="log")
        ax.grid(alpha=0.3)
    figure.suptitle(title)
    return figure, both


def place_legends(*both: Any) -> None:
    """Below, where they hide no curve."""
    for ax in both:
        ax.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18))


def dense(largest: float) -> None:
    figure, (times, memory) = axes(
        "dense step", "parameters", "ns a parameter", "MiB of state and two gradients"
    )
    for dtype, marker in (("float32", "o"), ("float64", "s")):
        size = np.dtype(dtype).itemsize
        dims = fitting((d for d in DIMS if d <= largest), 30 * size)
        spent: dict[str, list[float]] = {name: [] for name in ("C", "Numba", "NumPy", "memory roof")}
        for d in dims:
            problem = Problem(d, dtype).with_roof()
            for name in ("C", "Numba", "NumPy"):
                table = backend(name.lower())
                spent[name].append(least_seconds(lambda p=problem, t=table: p.step(t)))
            spent["memory roof"].append(least_seconds(problem.twin))
        for color, (name, seconds) in enumerate(spent.items()):
            style = {"color": f"C{color}", "marker": marker, "markersize": 4}
            line = "--" if name == "memory roof" else "-"
            per = 1e9 * np.array(seconds) / dims
            times.plot(dims, per, line, label=f"{name} {dtype}", **style)
        memory.plot(dims, [8 * d * size / 2**20 for d in dims], marker=marker, label=dtype)
    place_legends(times, memory)
    save(figure, "growth_dense.png")


def sparse(largest: float) -> None:
    figure, (times, memory) = axes(
        "sparse step of one sample, float32", "parameters", "µs a step", "MiB of state"
    )
    for nnz, line in ((75, "-"), (7_500, "--")):
        dims = fitting((d for d in DIMS if 10_000 <= d <= largest), 80)
        for color, name in enumerate(BACKENDS):
            spent = []
            for d in dims:
                problem = SparseStep()
                problem.setup(name, d, nnz)
                spent.append(1e6 * least_seconds(problem.time_step))
            times.plot(
                dims,
                spent,
                line,
                marker="o",
                markersize=4,
                color=f"C{color}",
                label=f"{name}, {nnz} non-zeros",
            )
        if nnz == 75:
            memory.plot(dims, [40 * d / 2**20 for d in dims], marker="o")  # six rows, probe, two counts
    place_legends(times)
    save(figure, "growth_sparse.png")


def moments(largest: float) -> None:
    figure, (times, memory) = axes(
        "mean and mean square of rows of 10,000 numbers, float32",
        "rows",
        "ns a number",
        "MiB beside the rows",
    )
    counts = [n for n in (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000) if n * 10_000 <= largest]
    spent: dict[str, list[float]] = {name: [] for name in ("C", "Numba", "NumPy", "plain NumPy", "X.sum()")}
    for n in counts:
        problem = MomentsProblem(10_000, "float32")
        problem.rows = np.random.default_rng(0).standard_normal((n, 10_000), np.float32)
        for name in ("C", "Numba", "NumPy"):
            table = backend(name.lower())
            spent[name].append(least_seconds(lambda p=problem, t=table: p.moments(t)))
        spent["plain NumPy"].append(least_seconds(problem.plain))
        spent["X.sum()"].append(least_seconds(problem.read))
    for name, seconds in spent.items():
        times.plot(counts, 1e9 * np.array(seconds) / (np.array(counts) * 1e4), marker="o", label=name)
    both = 2 * 10_000 * 4 / 2**20
    memory.plot(counts, [both] * len(counts), marker="o", label="here")
    memory.plot(counts, [n * both / 2 + both for n in counts], marker="o", label="plain NumPy")
    place_legends(times, memory)
    save(figure, "growth_moments.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--largest", type=float, default=1e8, help="most parameters, or numbers in rows")
    largest = parser.parse_args().largest
    for draw in (dense, sparse, moments):
        draw(largest)


if __name__ == "__main__":
    main()
