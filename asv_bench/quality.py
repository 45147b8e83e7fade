"""Compare optimisers on networks at equal numbers of GRADIENT EVALUATIONS: tables, bars, and a picture.

    python asv_bench/quality.py --data DIR                        all, half an hour on one core
    python asv_bench/quality.py --data DIR --quick                some seconds
    python asv_bench/quality.py --data DIR --only "tanh n=10"     some of the networks
    python asv_bench/quality.py --data DIR --plot picture.png     draws what is measured, too

DIR holds MNIST's IDX files; with only the 10,000 test images there, 8,000 of them train and 2,000 test.
Networks are looked at after so many gradients of minibatches as make up 1, 5 and 10 epochs. A second gradient
of the same minibatch counts like any other. With one seed all optimisers begin at the same weights and see
the same minibatches in the same order. Peers are at the defaults of their packages. SGD and Adam are also run
at rates a third of a decade apart, for 5 epochs.

Peers that are not installed are named and skipped: ``pip install -e ".[bench]"`` brings them.

Results go to a file as they come, `quality.json`; what is there already is not measured again, so that a run
that was interrupted goes on, and tables and picture can be made anew in no time. Delete the file to begin
afresh.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # NumPy reads it when it is imported

# isort: split
import numpy as np
from networks import TASKS, Task
from optimisers import ADAM, DEFAULTS, OURS, RATES, Start, grid, on_grid

from refsgd.datasets import Dataset, load_mnist
from refsgd.progress import bar

#: {task: {optimiser: {seed: {mark: {row: [train loss, test error in %]}}}}}; loss None after a divergence.
Results = dict[str, dict[str, dict[str, dict[str, dict[str, list[float | None]]]]]]

AVERAGED = f"{OURS}, averaged"
ROWS = [
    *(OURS, AVERAGED, ADAM, "AdamW", "Prodigy", "ScheduleFree", "ScheduleFree, train mode"),
    *("DoG", "DoG, averaged", "MoMo", "MoMo-Adam", "D-Adaptation", "published"),
]
#: More marks have to be won than lost against each, at the point that its authors take for the result.
PEERS = ("Prodigy", "ScheduleFree", "DoG, averaged", "MoMo")
GRID_MARK = 5


class Run(NamedTuple):
    """One training: what `quality.json` has an entry for."""

    task: Task
    optimiser: str
    start: Start
    seed: int
    marks: tuple[int, ...]


def train(run: Run, data: Dataset) -> dict[str, dict[str, list[float | None]]]:
    """The scores at each mark, of each iterate that the optimiser offers."""
    task = run.task
    course = run.start(task.model.init(run.seed, np.float32))
    batches = task.batches(data, run.seed)
    marks = {mark * task.steps(data): mark for mark in run.marks}
    scores = {}
    for n_gradients in range(1, max(marks) + 1):
        if not course.is_open:
            batch = next(batches)
        try:
            course.evaluate(task, *batch)
        except FloatingPointError:  # this run has diverged
            left = [str(mark) for n, mark in marks.items() if n >= n_gradients]
            return scores | {mark: {name: [None, 90.0] for name in course.iterates()} for mark in left}
        if n_gradients in marks:
            rows = {name: task.score(x, data) for name, x in course.iterates().items()}
            scores[str(marks[n_gradients])] = {
                name: [loss if math.isfinite(loss) else None, error] for name, (loss, error) in rows.items()
            }
    return scores


class Store:
    """Results in a file, written whole after each run so that it can be interrupted at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: Results = json.loads(path.read_text()) if path.exists() else {}

    def has(self, run: Run) -> bool:
        found = self.results.get(run.task.name, {}).get(run.optimiser, {}).get(str(run.seed), {})
        return all(str(mark) in found for mark in run.marks)

    def add(self, run: Run, scores: dict[str, dict[str, list[float | None]]]) -> None:
        self.results.setdefault(run.task.name, {}).setdefault(run.optimiser, {})[str(run.seed)] = scores
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.results, separators=(",", ":")))
        new.replace(self.path)


class Score(NamedTuple):
    """Means over seeds, and standard deviations."""

    loss: float
    error: float
    loss_sd: float = 0.0
    error_sd: float = 0.0
    losses: tuple[float, ...] = ()


class Table:
    """Results, asked for by row and mark."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def score(self, task: str, row: str, mark: int) -> Score | None:
        """None where it was not measured. A run that diverged has an infinite loss."""
        optimiser = row.split(",")[0]
        seeds = self.results.get(task, {}).get(optimiser, {}).values()
        found = [scores[str(mark)][row] for scores in seeds if row in scores.get(str(mark), {})]
        if not found:
            return None
        losses, errors = np.array([[math.inf if v is None else v for v in pair] for pair in found]).T
        if not np.isfinite(losses).all():
            return Score(math.inf, float(errors.mean()), losses=tuple(losses))
        spread = [float(np.std(values, ddof=1)) if len(found) > 1 else 0.0 for values in (losses, errors)]
        return Score(float(losses.mean()), float(errors.mean()), *spread, tuple(losses))

    def marks(self) -> Iterator[tuple[Task, int]]:
        """All that there could be."""
        return ((task, mark) for task in TASKS.values() for mark in task.marks)

    def pairs(self, row: str, other: str) -> Iterator[tuple[Task, int, Score, Score]]:
        """The scores of two rows wherever both were measured."""
        for task, mark in self.marks():
            mine, theirs = self.score(task.name, row, mark), self.score(task.name, other, mark)
            if mine and theirs:
                yield task, mark, mine, theirs


def digits(value: float) -> int:
    """Decimals that show a loss to two or three digits."""
    return 3 if value >= 0.0995 or not 0 < value < math.inf else 1 - math.floor(math.log10(value))


def number(value: float) -> str:
    return f"{value:.{digits(value)}f}" if math.isfinite(value) else "diverged"


def cell(score: Score | None) -> str:
    if score is None:
        return "-"
    if not math.isfinite(score.loss):
        return "diverged"
    loss, error = number(score.loss), f"{score.error:.1f}"
    if len(score.losses) > 1:
        loss, error = f"{loss} ±{score.loss_sd:.{digits(score.loss)}f}", f"{error} ±{score.error_sd:.1f}"
    return f"{loss:>14s} /{error:>9s}"


def print_scores(table: Table) -> None:
    print("Train loss / test error in %: means over seeds ± standard deviations")
    for task in TASKS.values():
        shown = {row: [table.score(task.name, row, mark) for mark in task.marks] for row in ROWS}
        if any(any(scores) for scores in shown.values()):
            widths = "-".join(map(str, task.widths))
            heads = (f"{mark} epoch{'s'[: mark > 1]}" for mark in task.marks)
            print(f"\n{f'{task.name}, {widths}':32s}" + "".join(f"{head:>29s}" for head in heads))
        for row, scores in shown.items():
            if any(scores):
                print(f"  {row:24s}" + "".join(f"{cell(score):>29s}" for score in scores))


def wins(table: Table, row: str, peer: str, what: Literal["loss", "error"]) -> tuple[int, int]:
    """Marks won and lost; the rest are equal."""
    pairs = [(getattr(mine, what), getattr(theirs, what)) for *_, mine, theirs in table.pairs(row, peer)]
    return sum(mine < theirs for mine, theirs in pairs), sum(mine > theirs for mine, theirs in pairs)


def print_wins(table: Table) -> None:
    print("\nMarks won : lost, by means over seeds; the rest are equal")
    rows = (OURS, AVERAGED)
    print(f"  {'':24s}" + "".join(f"{row + ': train loss':>30s}{'test error':>14s}" for row in rows))
    for peer in ROWS:
        if peer not in rows and any(table.pairs(OURS, peer)):
            counts = [wins(table, row, peer, what) for row in rows for what in ("loss", "error")]
            cells = (f"{won} : {lost}" for won, lost in counts)
            print(f"  {peer:24s}" + "{:>30s}{:>14s}{:>30s}{:>14s}".format(*cells))


def print_bars(table: Table) -> None:
    print("\nBars")
    pairs = list(table.pairs(OURS, ADAM))
    counted = [pair for pair in pairs if pair[0].name != "softmax n=1"]
    above = [
        f"{task.name} at {mark}: {number(mine.loss)} for {number(theirs.loss)}"
        for task, mark, mine, theirs in counted
        if not mine.loss < theirs.loss
    ]
    verdict("train loss below Adam 1e-3 at every mark but those of softmax n=1", above, len(counted))
    worse = [
        f"{task.name} at {mark}: {mine.error:.1f} for {theirs.error:.1f}"
        for task, mark, mine, theirs in pairs
        if mine.error > theirs.error + (2.0 if "softmax" in task.name else 0.5)
    ]
    verdict("test error at most 0.5 points above Adam's, 2 on softmax", worse, len(pairs))
    for peer in PEERS:
        for what in ("loss", "error"):
            won, lost = wins(table, OURS, peer, what)
            missed = [] if won > lost else [f"{won} won, {lost} lost"]
            bar_ = f"more marks won than lost against {peer}, {'train' if what == 'loss' else 'test'} {what}"
            verdict(bar_, missed, won + lost)


def verdict(bar_: str, missed: list[str], measured: int) -> None:
    word = "not measured" if not measured else "NOT met" if missed else "met"
    why = f" ({'; '.join(missed)})" if measured and missed else ""
    print(f"  {word:12s} {bar_}{why}")


def best_of_grid(table: Table, task: str, family: str) -> tuple[float, Score] | None:
    """The rate of the least train loss, and the scores there."""
    scores = {rate: table.score(task, on_grid(family, rate), GRID_MARK) for rate in RATES[family]}
    found = {rate: score for rate, score in scores.items() if score}
    rate = min(found, key=lambda rate: found[rate].loss, default=None)
    return None if rate is None else (rate, found[rate])


def print_grid(table: Table) -> None:
    print(f"\nThe best of rates a third of a decade apart: train loss and test error at {GRID_MARK} epochs")
    titles = ["SGD: rate", "loss", "error", "Adam: rate", "loss", "error", f"{OURS}:", "error"]
    titles += ["/ best SGD", "/ best Adam"]
    print(f"  {'':14s}" + "".join(f"{title:>12s}" for title in titles))
    for task in TASKS:
        ours, cells, ratios = table.score(task, OURS, GRID_MARK), [], []
        for family in RATES:
            if (best := best_of_grid(table, task, family)) and ours:
                rate, score = best
                cells += [f"{rate:.2g}", number(score.loss), f"{score.error:.1f}"]
                ratios.append(f"{ours.loss / score.loss:.2f}")
        if ours and len(ratios) == len(RATES):
            cells += [number(ours.loss), f"{ours.error:.1f}", *ratios]
            print(f"  {task:14s}" + "".join(f"{c:>12s}" for c in cells))


def runs(options: argparse.Namespace) -> Iterator[Run]:
    """All that has to be measured: the defaults first."""
    for name in options.only:
        task = TASKS[name]
        marks = tuple(mark for mark in task.marks if mark <= (1 if options.quick else 10))
        for optimiser in options.optimisers:
            for seed in range(options.seeds):
                yield Run(task, optimiser, DEFAULTS[optimiser], seed, marks)
    for name in options.only:
        marks = (1,) if options.quick else (1, GRID_MARK)
        for family in RATES:
            for optimiser, start in grid(family, step=3 if options.quick else 1).items():
                for seed in range(options.grid_seeds):
                    yield Run(TASKS[name], optimiser, start, seed, marks)


def measure(options: argparse.Namespace, store: Store) -> None:
    data = load_mnist(options.data)
    wanted = list(runs(options))
    missing = [run for run in wanted if not store.has(run)]
    if len(missing) < len(wanted):
        print(f"{len(wanted) - len(missing)} of {len(wanted)} trainings are in {store.path} already\n")
    began, absent = time.perf_counter(), {}
    with bar(len(missing), "trainings") as progress, np.errstate(all="ignore"):
        for run in missing:
            progress.set_postfix_str(f"{run.task.name}, {run.optimiser}, seed {run.seed}")
            if run.optimiser not in absent:
                try:
                    store.add(run, train(run, data))
                except ImportError as error:
                    absent[run.optimiser] = error
            progress.update()
    for optimiser, error in absent.items():
        print(f"skipped, {error}: {optimiser}")
    if missing:
        print(f"{len(missing)} trainings in {(time.perf_counter() - began) / 60:.1f} minutes\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    names: dict[str, Any] = {"nargs": "+", "metavar": "NAME"}
    parser.add_argument("--data", required=True, help="folder of MNIST's IDX files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--grid-seeds", type=int, default=3, help="seeds at each rate; 0 for no rates")
    parser.add_argument("--only", choices=TASKS, default=list(TASKS), help="networks", **names)
    parser.add_argument("--optimisers", choices=DEFAULTS, default=list(DEFAULTS), help="at defaults", **names)
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, n=100, 5 rates")
    parser.add_argument("--out", type=Path, default=Path("quality.json"), help="file of the results")
    parser.add_argument("--plot", type=Path, help="draw the train loss over the rate into this file")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.grid_seeds = 1, min(options.grid_seeds, 1)
        options.only = [name for name in options.only if name.endswith("n=100")]
    return options


def main() -> int:
    options = arguments()
    store = Store(options.out)
    try:
        measure(options, store)
    except KeyboardInterrupt:
        print(f"interrupted; what is measured is in {store.path}, the same command goes on", file=sys.stderr)
        return 130
    table = Table(store.results)
    print_scores(table)
    print_wins(table)
    print_bars(table)
    if options.grid_seeds and not options.quick:
        print_grid(table)
    if options.plot:
        from quality_picture import draw

        draw(table, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
