"""Draw how time and memory grow: shown, not claimed.

    python asv_bench/growth.py                          some minutes, up to 1e8 parameters where memory allows
    python asv_bench/growth.py --largest 1e7            a minute or two
    python asv_bench/growth.py --only dense directions  some of the pictures

One thread. Each time is the least of some rounds, as other programs only add to it. Memory is what Python's
`tracemalloc` saw NumPy ask for, not what a formula says. Writes a picture each into docs/images.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import BACKENDS, DTYPES, Problem, backend
from benchmarks.bench_directions import DirectionsProblem
from benchmarks.bench_linear import LinearProblem
from benchmarks.bench_moments import MomentsProblem
from benchmarks.bench_sparse import SparseStep

# isort: split
import matplotlib.pyplot as plt
import numpy as np

import refsgd
from refsgd.linear.model import LinearModel

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
DIMS = [round(10**power) for power in np.arange(2, 8.1, 0.5)]
NAMES = {"c": "C", "numba": "Numba", "numpy": "NumPy"}
COLORS = {name: f"C{i}" for i, name in enumerate([*BACKENDS, "roof", "plain"])}
MIB = 2**20


def least_seconds(function: Callable[[], Any], limit: float = 0.3) -> float:
    """Least time of a call, over as many calls as go into ``limit`` seconds, at least three."""
    function()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - began < limit:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def traced_bytes(function: Callable[[], Any]) -> tuple[int, int]:
    """Bytes that the result of a call holds, and the most that were held during the call.

    It is the second call that is watched, as the first may load modules and compile.
    """
    function()
    gc.collect()
    tracemalloc.start()
    result = function()
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return held, most


def fits(n_bytes: float) -> bool:
    """Whether that leaves a fifth of the free memory."""
    return n_bytes <= 0.8 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def panels(title: str, *labels: tuple[str, str]) -> tuple[Any, Any]:
    """A figure of two columns, with logarithmic axes labelled (x, y)."""
    rows = len(labels) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(10, 4.6 * rows), layout="constrained")
    for ax, (x, y) in zip(axes.flat, labels, strict=True):
        ax.set(xlabel=x, ylabel=y, xscale="log", yscale="log")
        ax.grid(alpha=0.3)
    figure.suptitle(title)
    return figure, axes.flat


def curve(ax: Any, x: Sequence[float], y: Sequence[float], label: str, color: str, line: str = "-") -> None:
    """Dashed where ``line`` says so, with the marker of that line."""
    ax.plot(x, y, line, marker={"-": "o", "--": "s"}[line], markersize=4, color=color, label=label)


def save(figure: Any, name: str) -> None:
    """With legends below the axes, where they hide no curve; handles long enough to show dashes."""
    for ax in figure.axes:
        ax.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16), handlelength=4)
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / name, dpi=110)
    plt.close(figure)
    print(f"docs/images/{name}", flush=True)


def begun_run(d: int, dtype: str, **rule: Any) -> refsgd.Run:
    """A run that had a minibatch with a second gradient, from when on it holds all that it ever holds."""
    run = refsgd.VSGD(**rule).start(np.zeros(d, dtype))
    while run.n_gradients == run.n_steps:
        run.tell(np.ones(d, dtype))
    run.close()
    return run


def dense(largest: float) -> None:
    figure, (times, memory) = panels(
        "Dense step, one thread", ("parameters", "ns per parameter"), ("parameters", "bytes per parameter")
    )
    for dtype, line in zip(DTYPES, ("-", "--"), strict=True):
        size = np.dtype(dtype).itemsize
        dims = [d for d in DIMS if d <= largest and fits(12 * size * d)]
        spent = {name: np.full(len(dims), np.nan) for name in (*BACKENDS, "roof")}
        for i, d in enumerate(dims):
            problem = Problem(d, dtype).with_roof()
            for name in BACKENDS:
                if name != "numpy" or fits(14 * size * d):  # of temporary arrays
                    table = backend(name)
                    spent[name][i] = least_seconds(lambda p=problem, t=table: p.step(t)) / d
            spent["roof"][i] = least_seconds(problem.twin) / d
        for name, seconds in spent.items():
            label = f"{NAMES.get(name, 'memory roof')}, {dtype}"
            curve(times, dims, 1e9 * seconds, label, COLORS[name], line)
        runs = [traced_bytes(lambda d=d, t=dtype: begun_run(d, t))[0] / d for d in dims]
        states = [sum(row.nbytes for row in begun_run(d, dtype).state) / d for d in dims]
        curve(memory, dims, runs, f"all a run holds, {dtype}: {runs[-1]:.0f}", "C0", line)
        curve(memory, dims, states, f"its state, {dtype}: {states[-1]:.0f}", "C1", line)
    memory.set_ylim(10, 300)
    save(figure, "growth_dense.png")


def sparse(largest: float) -> None:
    figure, (times, memory) = panels(
        "Sparse step of one sample, one thread",
        ("parameters", "µs per sample, float32"),
        ("parameters", "bytes per parameter"),
    )
    dims = [d for d in DIMS if 10_000 <= d <= largest and fits(80 * d)]
    for nnz, line in ((75, "-"), (7_500, "--")):
        for name in BACKENDS:
            spent = []
            for d in dims:
                problem = SparseStep()
                problem.setup(name, d, "float32", nnz)
                spent.append(1e6 * least_seconds(problem.time_step))
            curve(times, dims, spent, f"{NAMES[name]}, {nnz:,} non-zeros", COLORS[name], line)
    n = 10_000
    spent = [1e6 * least_seconds(LinearProblem("c", d, "float32", n).learn) / n for d in dims]
    curve(times, dims, spent, "C, linear model, 75 non-zeros", "C4")
    for dtype, line in zip(DTYPES, ("-", "--"), strict=True):
        holders: dict[str, Callable[[int], Any]] = {
            "a sparse run": lambda d, t=dtype: begun_run(d, t, weighting="sparse"),
            "a linear model": lambda d, t=dtype: LinearModel(d, "log_loss", dtype=t),
        }
        for color, (name, make) in enumerate(holders.items()):
            held = [traced_bytes(lambda d=d, m=make: m(d))[0] / d for d in dims]
            curve(memory, dims, held, f"{name}, {dtype}: {held[-1]:.0f}", f"C{3 + color}", line)
    memory.set(yscale="linear", ylim=(0, 100))
    save(figure, "growth_sparse.png")


def moments(largest: float) -> None:
    d = 10_000
    figure, (times, memory) = panels(
        f"Mean and mean square of rows of {d:,} numbers, float32, one thread",
        ("rows", "ns per number"),
        ("rows", "MiB beside the rows"),
    )
    counts = [n for n in (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000) if n * d <= largest]
    spent: dict[str, list[float]] = {name: [] for name in (*BACKENDS, "roof", "plain")}
    most: dict[str, list[float]] = {"here": [], "plain NumPy": []}
    for n in counts:
        problem = MomentsProblem(d, "float32")
        problem.rows = rows = np.random.default_rng(0).standard_normal((n, d), np.float32)
        tables = {name: backend(name) for name in BACKENDS}
        functions = {name: lambda p=problem, t=table: p.moments(t) for name, table in tables.items()}
        functions |= {"roof": problem.read, "plain": problem.plain}
        for name, function in functions.items():
            spent[name].append(1e9 * least_seconds(function) / (n * d))
        most["here"].append(traced_bytes(lambda r=rows: refsgd.Moments.from_rows(r))[1] / MIB)
        most["plain NumPy"].append(traced_bytes(problem.plain)[1] / MIB)
    labels = NAMES | {"roof": "reading by BLAS", "plain": "plain NumPy"}
    for name, values in spent.items():
        curve(times, counts, values, labels[name], COLORS[name], "--" if name == "roof" else "-")
    for (name, values), color in zip(most.items(), (COLORS["c"], COLORS["plain"]), strict=True):
        curve(memory, counts, values, name, color)
    save(figure, "growth_moments.png")


def directions(largest: float) -> None:
    d, n = 1_000, 256
    figure, axes = panels(
        "DirectionStats of float32 rows, one thread",
        (f"rows of {d:,} dimensions", "ms per update"),
        (f"rows of {d:,} dimensions", "MiB beside the rows"),
        (f"dimensions of {n} rows", "ms per update"),
        (f"dimensions of {n} rows", "bytes per dimension beside the rows"),
    )
    counts = [round(10**power) for power in np.arange(1, 5.1, 0.5) if 10**power * d <= largest]
    dims = [round(10**power) for power in np.arange(1, 6.1, 0.5) if 10**power * n <= largest]
    sizes = [(k, d) for k in counts], [(n, k) for k in dims]
    for (times, memory), shapes, x in zip((axes[:2], axes[2:]), sizes, (counts, dims), strict=True):
        spent: dict[str, list[float]] = {name: [] for name in (*BACKENDS, "roof", "plain")}
        held: dict[str, list[float]] = {"held": [], "most within update": [], "most within plain NumPy": []}
        for rows, dim in shapes:
            problem = DirectionsProblem(dim, "float32", n=rows)
            for name in BACKENDS:
                backend(name)
                refsgd.use_backend(name)
                spent[name].append(1e3 * least_seconds(problem.update))
            refsgd.use_backend(None)
            spent["roof"].append(1e3 * least_seconds(problem.read))
            spent["plain"].append(1e3 * least_seconds(problem.plain))
            unit = MIB if times is axes[0] else dim
            found = *traced_bytes(lambda p=problem: p.fresh()), traced_bytes(problem.plain)[1]
            for name, value in zip(held, found, strict=True):
                held[name].append(value / unit)
        labels = NAMES | {"roof": "X.sum()", "plain": "plain NumPy"}
        for name, values in spent.items():
            curve(times, x, values, labels[name], COLORS[name], "--" if name == "roof" else "-")
        for name, color, line in zip(held, ("C0", "C0", "C4"), ("-", "--", "-"), strict=True):
            end = "" if times is axes[0] else f": {held[name][-1]:,.0f}"
            curve(memory, x, held[name], name + end, color, line)
    axes[3].set_ylim(100, 10_000)
    save(figure, "growth_directions.png")


PICTURES: dict[str, Callable[[float], None]] = {
    "dense": dense,
    "sparse": sparse,
    "moments": moments,
    "directions": directions,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--largest", type=float, default=1e8, help="most parameters, or numbers in rows")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=[*PICTURES], help="pictures to draw")
    args = parser.parse_args()
    for name in args.only:
        PICTURES[name](args.largest)


if __name__ == "__main__":
    main()
