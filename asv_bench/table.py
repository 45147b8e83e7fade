"""Print one table of what refsgd claims about its speed: each claim is a ratio, taken within this one run.

    python asv_bench/table.py            some four minutes
    python asv_bench/table.py --quick    half a minute, up to a million parameters

Times are medians over rounds in which all that is compared takes turns, with one thread unless the claim
says so. "<=" stands before the most that our time over the other's may be, ">=" before the least of the
other's over ours. A row without a bar is for information; a bar in brackets is to be reached later. The twin
of a step moves the same memory with trivial arithmetic: it is the roof. On a busy machine the rows for two
threads say nothing.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks import DTYPES, Problem, backend
from benchmarks.bench_directions import DIMS, DirectionsProblem
from benchmarks.bench_import import import_medians
from benchmarks.bench_moments import MomentsProblem
from ratios import interleaved, medians

# isort: split
import numpy as np

import refsgd
from refsgd import kernels


class Row(NamedTuple):
    """A claim, seconds of ours and of the other or NaN, and a bar: "<= 1.3", or only "<=" for information."""

    claim: str
    ours: float = np.nan
    other: float = np.nan
    bar: str = "<="
    ratio: float = np.nan
    later: str = ""


def versus(
    claim: str,
    ours: Callable[[], Any],
    other: Callable[[], Any],
    bar: str = "<=",
    later: str = "",
) -> Row:
    """Measure both in turns; the ratio is a median of rounds, other over ours if the bar begins with ">="."""
    times = interleaved({"ours": ours, "other": other})
    ratio = float(np.median(times["ours"] / times["other"]))
    if bar.startswith(">="):
        ratio = 1 / ratio
    return Row(claim, float(np.median(times["ours"])), float(np.median(times["other"])), bar, ratio, later)


def is_met(row: Row) -> bool | None:
    """Whether a row meets its bar; None without one."""
    relation, *bar = row.bar.split()
    if not bar:
        return None
    value = row.ours * 1e6 if row.bar.endswith("us") else row.ratio
    return value <= float(bar[0]) if relation == "<=" else value >= float(bar[0])


def size(number: float) -> str:
    """1e5 for 100000."""
    return f"{number:.0e}".replace("e+0", "e")


def seconds(value: float) -> str:
    """In the unit that gives one to three digits before the point."""
    if np.isnan(value):
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= 0.9995 * scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def step_and_roof(dims: list[int]) -> Iterator[Row]:
    table = backend("c")
    later = {("float32", 10_000): "(1.7)", ("float64", 10_000): "(2.0)"}
    for faithful in (False, True):
        for dtype in DTYPES:
            for dim in dims:
                problem = Problem(dim, dtype).with_roof()
                yield versus(
                    f"C step{', faithful' if faithful else ''} {dtype} d={size(dim)}: twin",
                    lambda p=problem, f=faithful: p.step(table, f),
                    problem.twin,
                    "<= 1.3" if dim >= 100_000 else "<=",
                    later.get((dtype, dim), "(1.05)"),
                )


def step_and_oracle(dims: list[int]) -> Iterator[Row]:
    oracle = backend("numpy")
    for name, bar in (("c", ">= 10"), ("numba", ">=")):
        table = backend(name)
        for dtype in DTYPES:
            for dim in dims:
                problem = Problem(dim, dtype)
                yield versus(
                    f"{name.capitalize()} step {dtype} d={size(dim)}: NumPy",
                    lambda p=problem, t=table: p.step(t),
                    lambda p=problem: p.step(oracle),
                    bar,
                )


def two_threads(dims: list[int]) -> Iterator[Row]:
    table = backend("c", threads=2)

    def step(problem: Problem, threads: int) -> None:
        kernels.set_num_threads(threads)
        problem.step(table)

    for dtype in DTYPES:
        for dim in dims:
            problem = Problem(dim, dtype)
            yield versus(
                f"C step, 2 threads {dtype} d={size(dim)}: 1 thread",
                lambda p=problem: step(p, 2),
                lambda p=problem: step(p, 1),
                ">= 1.85",
            )
    kernels.set_num_threads(1)


def moments(dims: list[int]) -> Iterator[Row]:
    table = backend("c")
    for dtype in DTYPES:
        for dim in dims:
            problem = MomentsProblem(dim, dtype)
            run = lambda p=problem: p.moments(table)  # noqa: E731
            name = f"C moments of 64 rows {dtype} d={size(dim)}"
            yield versus(f"{name}: NumPy", run, problem.plain, ">= 5")
            share = ">= 0.95" if dim <= 100_000 else ">= 0.8"  # in the last cache, and in memory
            yield versus(f"{name}: X.sum()", run, problem.read, share)


def overhead() -> Iterator[Row]:
    table = backend("c")
    problem = Problem(10, "float64")
    gradients = [problem.grad[None], problem.probe_grad[None]]
    others = [-gradient for gradient in gradients]
    run = refsgd.VSGD().start(problem.grad, backend="c")
    run.tell(gradients[:1])
    for _ in range(20):
        run.tell(gradients)

    def ask_and_tell() -> None:
        nonlocal gradients, others  # in turns, as in Problem
        gradients, others = others, gradients
        run.ask()
        run.tell(gradients)

    times = medians({"step": lambda: problem.step(table), "tell": ask_and_tell})
    yield Row("C step from Python d=10", times["step"], bar="<= 0.5 us", later="(0.2)")
    yield Row("C ask and tell with all checks d=10", times["tell"])


def imports(rounds: int) -> Iterator[Row]:
    times = import_medians(rounds)
    ratio = times["ours"] / times["peer"]
    yield Row("import refsgd: import numpy, scipy.special", times["ours"], times["peer"], "<= 1.5", ratio)


def directions(dims: list[int]) -> Iterator[Row]:
    for is_unit in (False, True):
        for dtype in DTYPES:
            for dim in dims:
                problem = DirectionsProblem(dim, dtype, is_unit)
                claim = f"DirectionStats{' of unit rows' if is_unit else ''} {dtype} d={size(dim)}: X.sum()"
                bar = 3.0 if dim <= 32 else 1.25 if dim <= 4_000 else 2.0 if dim <= 100_000 else 2.3
                bar = min(bar, 1.3) if is_unit and dim > 32 else bar
                bars = ("<= 3", "") if dim == 32 else ("<=", f"({bar:g})")
                yield versus(claim, problem.update, problem.read, *bars)
    r = np.random.default_rng(0).uniform(size=10_000)
    for dim in (10, 1_000, 1_000_000):
        times = medians({"solve": lambda d=dim: refsgd.vmf.concentration(r, d)})
        yield Row(f"vmf.concentration, one of 10,000, d={size(dim)}", times["solve"] / r.size)


def peers(dims: list[int]) -> Iterator[Row]:
    """Optimisers of PyTorch that a user might pick instead, in float32; what is missing is named."""
    try:
        import torch
    except ImportError:
        raise NotImplementedError("torch is not installed") from None
    torch.set_num_threads(1)
    makers = {
        "torch fused Adam": lambda p: torch.optim.Adam(p, fused=True),
        "Prodigy": lambda p: importlib.import_module("prodigyopt").Prodigy(p),
        "D-Adapt Adam": lambda p: importlib.import_module("dadaptation").DAdaptAdam(p, lr=1.0),
        "DoG": lambda p: importlib.import_module("dog").DoG(p),
        "ScheduleFree AdamW": schedule_free,
    }
    table = backend("c")
    for name, make in makers.items():
        for dim in dims:
            problem = Problem(dim, "float32")
            parameter = torch.nn.Parameter(torch.from_numpy(problem.state.x.copy()))
            parameter.grad = torch.from_numpy(problem.grad.copy())
            try:
                peer = make([parameter])
            except ImportError as error:
                yield Row(f"{name}: skipped, {error}")
                break
            bar = PEER_BARS.get((name, dim), ">=")
            claim = f"C step float32 d={size(dim)}: {name}"
            yield versus(claim, lambda p=problem: p.step(table), peer.step, bar)


def schedule_free(parameters: list[Any]) -> Any:
    peer = importlib.import_module("schedulefree").AdamWScheduleFree(parameters)
    peer.train()
    return peer


PEER_BARS = {
    ("torch fused Adam", 1_000): ">= 20",
    ("torch fused Adam", 10_000): ">= 3.5",
    ("torch fused Adam", 100_000): "<= 1.1",
    ("torch fused Adam", 1_000_000): "<= 1.7",
    ("torch fused Adam", 10_000_000): "<= 1.7",
    ("Prodigy", 100_000): ">= 2.5",
    ("Prodigy", 1_000_000): ">= 3.2",
    ("Prodigy", 10_000_000): ">= 4.5",
    ("D-Adapt Adam", 100_000): ">= 2.7",
    ("D-Adapt Adam", 1_000_000): ">= 3.5",
    ("D-Adapt Adam", 10_000_000): ">= 5.5",
    ("DoG", 100_000): ">= 1.3",
    ("DoG", 1_000_000): ">= 1.35",
    ("DoG", 10_000_000): ">= 2.2",
    ("ScheduleFree AdamW", 100_000): ">= 1.8",
    ("ScheduleFree AdamW", 1_000_000): ">= 2.2",
    ("ScheduleFree AdamW", 10_000_000): ">= 2.5",
}


def rows(quick: bool) -> Iterator[Row]:
    """All of the table, as it is measured; a line in place of what cannot be measured here."""
    large = [] if quick else [10_000_000]
    groups = {
        "C step against its twin": step_and_roof([10_000, 100_000, 1_000_000, *large]),
        "steps against NumPy": step_and_oracle([10_000, 100_000, *([] if quick else [1_000_000]), *large]),
        "2 threads": two_threads([1_000_000, *large]),
        "C moments": moments([100_000] if quick else [100_000, 1_000_000]),
        "overhead": overhead(),
        "import": imports(5 if quick else 9),
        "directions": directions([32, 300, 4_000] if quick else DIMS),
        "peers": peers([1_000, 10_000, 100_000, 1_000_000, *large]),
    }
    for name, group in groups.items():
        try:
            yield from group
        except NotImplementedError as reason:
            yield Row(f"{name}: skipped, {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="half a minute, up to a million parameters")
    quick = parser.parse_args().quick
    refsgd.show_backends()
    layout = "{:62s} {:>9s} {:>9s} {:>7s}  {:>16s}  {}"
    print("\n" + layout.format("claim (: the other)", "ours", "other", "ratio", "bar (later)", "met"))
    verdicts = []
    for row in rows(quick):
        met = is_met(row)
        verdicts.append(met)
        ratio = "-" if np.isnan(row.ratio) else f"{row.ratio:.2f}"
        bar = f"{'-' if met is None else row.bar} {row.later}".strip()
        words = {True: "yes", False: "NO", None: "-"}
        print(
            layout.format(row.claim, seconds(row.ours), seconds(row.other), ratio, bar, words[met]),
            flush=True,
        )
    print(f"\n{verdicts.count(True)} of {len(verdicts) - verdicts.count(None)} bars met")


if __name__ == "__main__":
    main()
