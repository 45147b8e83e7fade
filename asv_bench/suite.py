"""The rules on one-dimensional stochastic functions, beside the bars that the default must meet.

    python asv_bench/suite.py [--quick] [--seeds 10] [--rules default,published] [--cells]

A cell is one of 5 functions, 3 noise levels, 3 curvatures and 2 distances from the optimum at the start. Its
figure is the mean over seeds of log(excess loss at the start / excess loss after 1,000 gradients of single
samples), with the excess of the expected loss over its minimum; a run's gain counts as 15 at most, and as
-15 at least and where it diverged. A second gradient of the same sample counts like any other. Each cell has
samples of its own, the same for all rules.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import refsgd
from refsgd.models.problems import SHAPES, Problem

NOISES = 0.01, 0.1, 1.0
CURVATURES = 0.1, 1.0, 10.0
DISTANCES = 1.0, 10.0
N_GRADIENTS = 1000
CAP = 15.0
RULES: dict[str, Callable[[Any], Any]] = {
    "default": refsgd.VSGD().start,
    "published": refsgd.PublishedVSGD().start,
}

MEAN_BAR = 11.0  # least mean gain of the default
CELL_BAR = -0.5  # least gain in any cell
LAG_BAR = 1.0  # most by which the default may lag behind the published rule ...
WORKS = 1.0  # ... in cells where that gains more than this


class Cell(NamedTuple):
    name: str
    distance: float
    noise: float
    curvature: float

    def __str__(self) -> str:
        return f"{self.name} noise {self.noise:g} curvature {self.curvature:g} distance {self.distance:g}"


CELLS = [Cell(*axes) for axes in itertools.product(SHAPES, DISTANCES, NOISES, CURVATURES)]

#: Gains of each cell's seeds.
Gains = dict[Cell, np.ndarray]


def gain(start: Callable[[Any], Any], cell: Cell, seed: int, n_gradients: int = N_GRADIENTS) -> float:
    """What one run makes of one cell."""
    problem = Problem(cell.name, cell.curvature, cell.noise)
    samples = iter(problem.sample(n_gradients, [seed, CELLS.index(cell)]))
    run = start(np.array([problem.optimum + cell.distance]))
    first = problem.expected_loss(run.x)[0] - problem.min_loss
    sample = np.empty(0)
    try:
        for _ in range(n_gradients):
            sample = sample if run.is_open else next(samples)
            run.tell(problem.grad(run.ask(), sample[np.newaxis])[0])
    except FloatingPointError:
        return -CAP
    last = problem.expected_loss(run.x)[0] - problem.min_loss
    if not math.isfinite(last):
        return -CAP
    # An excess below rounding may come out as 0 or negative.
    return float(np.clip(math.log(first / max(last, 1e-300)), -CAP, CAP))


def report(rule: str, gains: Gains) -> None:
    """Mean and worst cell for each function and distance."""
    print(f"\n{rule}\nfunction   distance   mean  worst  in the cell")
    for name, distance in itertools.product(SHAPES, DISTANCES):
        part = {cell: float(g.mean()) for cell, g in gains.items() if cell[:2] == (name, distance)}
        worst = min(part, key=part.__getitem__)
        where = f"noise {worst.noise:g}, curvature {worst.curvature:g}"
        print(f"{name:10s} {distance:8g} {np.mean(list(part.values())):6.2f} {part[worst]:6.2f}  {where}")
    print(f"all                 {overall(gains):6.2f} {min(g.mean() for g in gains.values()):6.2f}")


def overall(gains: Gains) -> float:
    return float(np.mean([g.mean() for g in gains.values()]))


def low(gains: Gains) -> list[str]:
    """The cells below their bar. After +- stands a standard error."""
    return [f"{cell}: {g.mean():.2f} +- {error(g):.2f}" for cell, g in gains.items() if g.mean() < CELL_BAR]


def slow(gains: Gains, published: Gains) -> list[str]:
    """The cells that lag behind the published rule."""
    cells = []
    for cell, theirs in published.items():
        lag = theirs - gains[cell]
        if theirs.mean() > WORKS and lag.mean() > LAG_BAR:
            behind = f"{lag.mean():.2f} +- {error(lag):.2f}"
            cells.append(f"{cell}: {gains[cell].mean():.2f} for {theirs.mean():.2f}, behind by {behind}")
    return cells


def judge(gains: dict[str, Gains]) -> None:
    """The bars of the default rule, and the cells that miss them."""
    mean, below = overall(gains["default"]), low(gains["default"])
    print(f"\nmean gain {mean:.2f}, at least {MEAN_BAR:g}: {'met' if mean >= MEAN_BAR else 'NOT met'}")
    print(f"cells below {CELL_BAR:g}: {len(below)}", *below, sep="\n  ")
    if "published" in gains:
        behind = slow(gains["default"], gains["published"])
        print(f"cells more than {LAG_BAR:g} behind the published rule: {len(behind)}", *behind, sep="\n  ")


def error(values: np.ndarray) -> float:
    """Standard error of the mean; NaN for a single value."""
    return float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="2 seeds")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--cells", action="store_true", help="print every cell too")
    options = parser.parse_args()
    seeds = range(2 if options.quick else options.seeds)
    gains = {}
    for name in options.rules.split(","):
        gains[name] = {cell: np.array([gain(RULES[name], cell, s) for s in seeds]) for cell in CELLS}
        report(name, gains[name])
        if options.cells:
            print(*(f"{g.mean():7.2f}  {cell}" for cell, g in gains[name].items()), sep="\n")
    if "default" in gains:
        judge(gains)


if __name__ == "__main__":
    main()
