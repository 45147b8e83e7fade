"""One protocol for the default rule: all problems that it is judged on, beside Adam, and its bars.

    python asv_bench/protocol.py                         all: half an hour on one core
    python asv_bench/protocol.py --quick                 some minutes: one seed, fewer problems of each kind
    python asv_bench/protocol.py --only networks stress  some of the sections

It was fixed before it was run, and no constant of the rule is fitted to it. All are at their defaults: refsgd
(`refsgd.VSGD()`), its averaged iterate, and Adam at its default rate of 1e-3 and at 1e-2. What is compared is
the state after equal numbers of gradient evaluations, of which a second one of the same minibatch counts like
any other; at a mark in the middle of a minibatch, the state before it.

networks    on the bundled digits: after 1, 5 and 20 epochs' worth of gradients (softmax n = 1: 1 and 5),
            seeds 0 to 2. Figures: train loss, test error in %.
start       the deep network with its initial weights times 0.1, 1, 3 and 10, after 5 and 20 epochs' worth
units       the loss times powers of 2 (the same bits?) and of 10, after 5 epochs' worth
suite       one-dimensional functions: `suite.py`, ten seeds. Figure: mean gain
stress      `stress.STRESS`: 2,000 gradients, seeds 0 to 9, looked at every 100. Figures: loss at the end,
            and the highest on the way
convex      300 random convex problems, seeds 1000 to 1299, 2,000 gradients. Counted: those that end above
            their start
noise       wrong labels, seeds 0 to 2
open        problems picked to hurt the rule (`hard.py`), seeds 0 to 2. Losses to be published, not bars.

Networks on MNIST and more peers are in `quality.py`, those in PyTorch in `protocol_torch.py`, sparse text in
`rcv1.py`. Results go to a file as they come; the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # NumPy reads it when it is imported

# isort: split
import hard
import numpy as np
import stress
import suite
from contests import OPTIMISERS, OURS, SPARSE, SPARSE_FORM, Contest, Start, Store, digits_of, train

import refsgd
from refsgd.progress import bar

LOSS_ERROR = "train loss", "test error %"
STRESS_MARKS = range(100, 2001, 100)
CONVEX_SEEDS = range(1000, 1300)

#: What a plain NumPy form of the rule, written before the library and apart from it, leaves on the stress
#: problems after 2,000 gradients: means over the seeds.
REFERENCE = {
    "noisy quadratic, condition 1e4": 0.22965,
    "quadratic without noise, condition 1e4": 0.0016167,
    "noisy quadratic, condition 1": 0.0026831,
    "least absolute deviations": 0.079759,
    "hinge": 0.046039,
    "least squares": 0.0050373,
    "least squares, t(1.5) noise": 0.2135,
    "optimum jumps": 0.048757,
    "curvature × 100 and back": 758.95,
    "sparse, one sample": 1.8384,
    "Rosenbrock with noise": 0.13511,
    "1 % of gradients × 1,000": 18.975,
    "features that appear late": 0.09597,
}
SPARSE_STRESS = "sparse, one sample"


def epochs(n: int, *counts: int) -> list[int]:
    """Gradients in so many epochs of the digits."""
    return [count * -(-len(hard.DIGITS.y_train) // n) for count in counts]


def on_networks(quick: bool) -> Iterator[tuple[str, Contest]]:
    for name in ("tanh", "relu", "deep", "softmax"):
        for n in (1, 10, 100) if name == "softmax" else (10,) if name == "deep" else (10, 100):
            counts = (1,) if quick else (1, 5) if n == 1 else (1, 5, 20)

            def make(seed: int, name: str = name, n: int = n) -> Any:
                return hard.network(hard.task(name, n), seed)

            yield f"{name} n={n}", Contest(make, epochs(n, *counts), range(3), LOSS_ERROR)


def on_starts(quick: bool) -> Iterator[tuple[str, Contest]]:
    for factor in (0.1, 1.0, 3.0, 10.0):

        def make(seed: int, factor: float = factor) -> Any:
            return hard.scaled_start(seed, factor)

        yield f"weights × {factor:g}", Contest(make, epochs(10, 5, 20), range(3), LOSS_ERROR)


def on_units(quick: bool) -> Iterator[tuple[str, Contest]]:
    for exponent in (-24, -16, -8, 0, 8, 16, 24):

        def make(seed: int, factor: float = 10.0**exponent) -> Any:
            return hard.scaled_loss(seed, factor)

        yield f"loss × 1e{exponent}", Contest(make, epochs(10, 5), range(1), LOSS_ERROR)


def on_stress(quick: bool) -> Iterator[tuple[str, Contest]]:
    for name in stress.STRESS:

        def make(seed: int, name: str = name) -> Any:
            return stress.stress(name, seed)

        yield name, Contest(make, STRESS_MARKS, range(10), ("loss",))


def on_noise(quick: bool) -> Iterator[tuple[str, Contest]]:
    marks = [400, 4000]  # minibatches of 10: 1 and 10 epochs
    yield "20 % of labels wrong", Contest(hard.wrong_labels, marks, range(3), LOSS_ERROR)


def on_open(quick: bool) -> Iterator[tuple[str, Contest]]:
    both = "train loss", "validation loss"
    yield "next word of 2,000", Contest(hard.next_word, [500, 2000], range(3), both)
    yield "noise of 10 gradients", Contest(hard.mostly_noise, epochs(100, 20, 100), range(3), LOSS_ERROR)
    regret = "train regret", "test regret"
    yield "policy gradients", Contest(hard.policy_gradient, [900, 4500], range(3), regret)
    yield "routed experts n=1", Contest(hard.routed_experts, epochs(1, 1, 5), range(3), LOSS_ERROR)
    yield "half of inputs late", Contest(hard.late_inputs, epochs(10, 10, 20), range(3), LOSS_ERROR)
    yield "20 ReLU layers", Contest(hard.twenty_layers, epochs(10, 5, 20), range(3), LOSS_ERROR)
    classes = "loss", "mean of classes"
    yield "0.5 % positives n=1", Contest(hard.rare_class, [2_000, 20_000], range(3), classes)


SECTIONS: dict[str, Callable[[bool], Iterator[tuple[str, Contest]]]] = {
    "networks": on_networks,
    "start": on_starts,
    "units": on_units,
    "stress": on_stress,
    "noise": on_noise,
    "open": on_open,
}
ALL = [*SECTIONS, "suite", "convex"]

#: {row: {mark: [figures of each seed]}}
Rows = dict[str, dict[int, list[list[float]]]]


def verdict(text: str, missed: list[str], measured: bool = True) -> None:
    word = "not measured" if not measured else "NOT met" if missed else "met"
    print(f"  {word:12s} {text}" + (f" ({'; '.join(missed)})" if missed else ""), flush=True)


def contest(store: Store, name: str, contest: Contest, quick: bool, extra: dict[str, Start]) -> Rows:
    """All figures. Optimisers in ``extra`` run beside those of all problems."""
    collected: Rows = {}
    for optimiser, start in (OPTIMISERS | extra).items():
        for seed in contest.seeds[:1] if quick else contest.seeds:

            def measure(seed: int = seed, optimiser: str = optimiser, start: Start = start) -> Any:
                scores = train(contest.make(seed), optimiser, start, contest.marks)
                return {row: {str(n): figures for n, figures in of.items()} for row, of in scores.items()}

            for row, of in store.get(
                f"{name} | {optimiser} | {seed} | {max(contest.marks)}", measure
            ).items():
                for n, figures in of.items():
                    collected.setdefault(row, {}).setdefault(int(n), []).append(figures)
    return collected


def mean(runs: list[list[float]]) -> list[float]:
    """Over seeds, of each figure."""
    return np.mean(np.array(runs, float), axis=0).tolist()  # type: ignore[no-any-return]


def print_rows(name: str, rows: Rows, titles: tuple[str, ...]) -> None:
    marks = [n for n in next(iter(rows.values())) if n]
    print(
        f"\n{name}: {' / '.join(titles)}\n  {'after gradients':24s}"
        + "".join(f"{n:>24d}" for n in (0, *marks))
    )
    for row, of in rows.items():
        cells = (" / ".join(map(digits_of, mean(of[n]))) for n in (0, *marks))
        print(f"  {row:24s}" + "".join(f"{cell:>24s}" for cell in cells), flush=True)


def print_section(store: Store, section: str, quick: bool) -> dict[str, Rows]:
    print(f"\n== {section}")
    found = {}
    for name, entry in SECTIONS[section](quick):
        extra = SPARSE_FORM if name == SPARSE_STRESS else {}
        found[name] = rows = contest(store, name, entry, quick, extra)
        if section != "stress":
            print_rows(name, rows, entry.titles)
    if section == "stress":
        print_stress(found)
    return found


def print_stress(found: dict[str, Rows]) -> None:
    optimisers = list(OPTIMISERS)
    optimisers.insert(1, f"{OURS}, averaged")
    print(
        f"{'mean loss at the end / highest':40s}{'start':>9s}"
        + "".join(f"{name:>20s}" for name in optimisers)
    )
    for name, rows in found.items():
        cells = [f"{digits_of(last(rows[o]))} / {digits_of(peak(rows[o]))}" for o in optimisers]
        first = digits_of(mean(rows[OURS][0])[0])
        print(f"{name:40s}{first:>9s}" + "".join(f"{cell:>20s}" for cell in cells))
        if SPARSE in rows:
            cell = f"{digits_of(last(rows[SPARSE]))} / {digits_of(peak(rows[SPARSE]))}"
            print(f"{'  ' + SPARSE:40s}{first:>9s}{cell:>20s}")


def last(of: dict[int, list[list[float]]]) -> float:
    """The mean over seeds at the last mark."""
    return mean(of[max(of)])[0]


def peak(of: dict[int, list[list[float]]]) -> float:
    """The highest of all seeds and marks."""
    return max(run[0] for runs in of.values() for run in runs)


# -- sections that are not contests of `train`


def cell_gains(start: Start, cell: suite.Cell, n_seeds: int, n_gradients: int) -> list[float]:
    return [suite.gain(start, cell, seed, n_gradients) for seed in range(n_seeds)]


def print_suite(store: Store, quick: bool) -> None:
    print("\n== suite: mean gain, worst cell")
    seeds = range(2 if quick else 10)
    n = suite.N_GRADIENTS
    rules: dict[str, tuple[Callable[[Any], Any], int]] = {
        OURS: (refsgd.VSGD().start, n),
        "published": (refsgd.PublishedVSGD().start, n),
        "published, twice the gradients": (refsgd.PublishedVSGD().start, 2 * n - 1),
        "Adam 1e-2": (OPTIMISERS["Adam 1e-2"], n),
    }
    gains: dict[str, suite.Gains] = {}
    for name, (start, n_gradients) in rules.items():
        gains[name] = {}
        for cell in suite.CELLS:
            measure = partial(cell_gains, start, cell, len(seeds), n_gradients)
            each = store.get(f"suite | {cell} | {name} | {len(seeds)}", measure)
            gains[name][cell] = np.array(each)
        worst = min(g.mean() for g in gains[name].values())
        print(f"  {name:32s}{suite.overall(gains[name]):8.2f}{worst:8.2f}", flush=True)
    ours = gains[OURS]
    overall = suite.overall(ours)
    verdict(f"mean gain at least {suite.MEAN_BAR:g}", [] if overall >= suite.MEAN_BAR else [f"{overall:.2f}"])
    verdict(f"no cell below {suite.CELL_BAR:g}", suite.low(ours))
    for name in ("published", "published, twice the gradients"):
        behind = suite.slow(ours, gains[name])
        verdict(f"nowhere more than {suite.LAG_BAR:g} behind: {name}", behind)


def print_convex(store: Store, quick: bool) -> None:
    """Counts of problems that end above their start."""
    seeds = CONVEX_SEEDS[:30] if quick else CONVEX_SEEDS
    sizes = {seed: stress.n_per_minibatch(seed) for seed in seeds}
    large = [seed for seed in seeds if sizes[seed] >= 4]
    small = [seed for seed in seeds if sizes[seed] < 4]
    print(f"\n== convex: how many end above their start, of {len(large)} with n >= 4 and {len(small)} below")
    rows: dict[str, dict[int, list[float]]] = {}
    with bar(len(seeds) * len(OPTIMISERS), "problems") as progress:
        for optimiser, start in OPTIMISERS.items():
            for seed in seeds:

                def measure(seed: int = seed, name: str = optimiser, start: Start = start) -> Any:
                    scores = train(stress.convex(seed), name, start, [2000])
                    return {row: [of[0][0], of[2000][0]] for row, of in scores.items()}

                for row, pair in store.get(f"convex | {optimiser} | {seed}", measure).items():
                    rows.setdefault(row, {})[seed] = pair
                progress.update()
    print(f"  {'':24s}{'n >= 4':>10s}{'n < 4':>10s}{'diverged':>10s}{'below the others':>20s}")
    for row, of in rows.items():
        above = [sum(not of[s][1] <= of[s][0] for s in group) for group in (large, small)]
        lost = sum(not math.isfinite(of[s][1]) for s in seeds)
        peers = [rows[name] for name in OPTIMISERS if name != row and not row.startswith(name)]
        best = sum(all(of[s][1] < peer[s][1] for peer in peers) for s in seeds)
        print(f"  {row:24s}{above[0]:10d}{above[1]:10d}{lost:10d}{best:20d}")
    ours = rows[OURS]
    worse = {s: f"seed {s}, n = {sizes[s]}: {ours[s][1]:.3g} from {ours[s][0]:.3g}" for s in seeds}
    verdict("all are finite", [worse[s] for s in seeds if not math.isfinite(ours[s][1])])
    verdict(
        "with n of 4 and more none ends above its start", [worse[s] for s in large if ours[s][1] > ours[s][0]]
    )
    above = [worse[s] for s in small if ours[s][1] > ours[s][0]]
    verdict(f"with n below 4 at most {len(small) // 8} do", above if len(above) > len(small) // 8 else [])
    if above:
        print(f"    {len(above)} of {len(small)}: " + "; ".join(above))


# -- bars


def judge(section: str, found: dict[str, Rows]) -> None:
    if section == "stress":
        for name, reference in REFERENCE.items():
            mine = last(found[name][OURS])
            missed = [] if mine <= 1.2 * reference else [f"{digits_of(mine)} for {digits_of(reference)}"]
            verdict(f"within 20 % of the reference: {name}", missed)
        wild = last(found["1 % of gradients × 1,000"][OURS])
        verdict("1 % of gradients × 1,000 ends below .1", [] if wild < 0.1 else [digits_of(wild)])
        sparse = found[SPARSE_STRESS][SPARSE]
        first = mean(sparse[0])[0]
        missed = [] if peak(sparse) <= first else [f"{peak(sparse):.4f} from {first:.4f}"]
        verdict("the sparse form never above its start on sparse data", missed)
    if section == "start":
        for factor in ("0.1", "10"):
            loss = mean(found[f"weights × {factor}"][OURS][epochs(10, 5)[0]])[0]
            verdict(
                f"initial weights × {factor}: .1 at most after 5 epochs",
                [] if loss <= 0.1 else [digits_of(loss)],
            )
    if section == "units":
        one = trajectory(1.0)
        for exponent in (-20, 20):
            same = np.array_equal(one, trajectory(2.0**exponent))
            verdict(f"loss × 2^{exponent}: the same bits", [] if same else ["others"])


def trajectory(factor: float) -> Any:
    """x after 300 minibatches of a network whose loss is multiplied."""
    problem = hard.scaled_loss(0, factor)
    run = refsgd.VSGD().start(problem.x0)
    for _ in range(300):
        batch = problem.draw()
        run.tell(problem.gradient(run.ask(), batch))
        if run.is_open:
            run.tell(problem.gradient(run.ask(), batch))
    return run.x


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, fewer problems of each kind")
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL, metavar="SECTION", help=", ".join(ALL))
    parser.add_argument("--out", type=Path, default=Path("protocol.json"), help="file of the results")
    options = parser.parse_args()
    store, began = Store(options.out), time.process_time()
    try:
        for section in options.only:
            if section == "suite":
                print_suite(store, options.quick)
            elif section == "convex":
                print_convex(store, options.quick)
            else:
                judge(section, print_section(store, section, options.quick))
    except KeyboardInterrupt:
        print(f"interrupted; what is measured is in {store.path}, the same command goes on", file=sys.stderr)
        return 130
    print(f"\n{(time.process_time() - began) / 60:.0f} CPU minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
