"""The rules on one-dimensional stochastic functions, beside the bars that the default must meet.

    python asv_bench/suite.py [--quick] [--seeds 10] [--rules default,faithful] [--cells]

A cell is one of 5 functions, 3 noise levels, 3 curvatures and 2 distances from the optimum at the start. Its
figure is the mean over seeds of log(excess loss at the start / excess loss after 1,000 single samples), with
the excess of the expected loss over its minimum; a run's gain counts as 15 at most, and as -15 at least and
where it diverged. Each cell has samples of its own, the same for
both rules.
"""

from __future__ import annotations

import argparse
import itertools
import math
from typing import NamedTuple

import numpy as np

import refsgd
from refsgd.models.problems import SHAPES, Problem

NOISES = 0.01, 0.1, 1.0
CURVATURES = 0.1, 1.0, 10.0
DISTANCES = 1.0, 10.0
N_SAMPLES = 1000
CAP = 15.0
RULES = {"default": refsgd.VSGD(), "faithful": refsgd.VSGD(faithful=True)}

MEAN_BAR = 8.6  # least mean gain of the default
CELL_BAR = -1.0  # least gain in any cell
LAG_BAR = 1.0  # most by which the default may lag behind the faithful rule ...
WORKS = 1.0  # ... in cells where that gains more than this


class Cell(NamedTuple):
    name: str
    distance: float
    noise: float
    curvature: float

    def __str__(self) -> str:
        return f"{self.name} noise {self.noise:g} curvature {self.curvature:g} distance {self.distance:g}"


CELLS = [Cell(*axes) for axes in itertools.product(SHAPES, DISTANCES, NOISES, CURVATURES)]


def gain(rule: refsgd.VSGD, cell: Cell, seed: int) -> float:
    """What one run makes of one cell."""
    problem = Problem(cell.name, cell.curvature, cell.noise)
    samples = problem.sample(N_SAMPLES, [seed, CELLS.index(cell)])[:, np.newaxis]
    run = rule.start(np.array([problem.optimum + cell.distance]))
    first = problem.expected_loss(run.x)[0] - problem.min_loss
    try:
        for sample in samples:
            run.tell([problem.grad(point, sample) for point in run.ask()])
    except FloatingPointError:
        return -CAP
    last = problem.expected_loss(run.x)[0] - problem.min_loss
    if not math.isfinite(last):
        return -CAP
    # An excess below rounding may come out as 0 or negative.
    return float(np.clip(math.log(first / max(last, 1e-300)), -CAP, CAP))


def report(rule: str, gains: dict[Cell, np.ndarray]) -> None:
    """Mean and worst cell for each function and distance."""
    print(f"\n{rule}\nfunction   distance   mean  worst  in the cell")
    for name, distance in itertools.product(SHAPES, DISTANCES):
        part = {cell: float(g.mean()) for cell, g in gains.items() if cell[:2] == (name, distance)}
        worst = min(part, key=part.__getitem__)
        where = f"noise {worst.noise:g}, curvature {worst.curvature:g}"
        print(f"{name:10s} {distance:8g} {np.mean(list(part.values())):6.2f} {part[worst]:6.2f}  {where}")
    means = [g.mean() for g in gains.values()]
    print(f"all                 {np.mean(means):6.2f} {min(means):6.2f}")


def judge(gains: dict[str, dict[Cell, np.ndarray]]) -> None:
    """The bars of the default rule, and the cells that miss them. After +- stands a standard error."""
    default = gains["default"]
    low = [f"{cell}: {g.mean():.2f} +- {error(g):.2f}" for cell, g in default.items() if g.mean() < CELL_BAR]
    overall = np.mean([g.mean() for g in default.values()])
    print(f"\nmean gain {overall:.2f}, at least {MEAN_BAR:g}: {'met' if overall >= MEAN_BAR else 'MISSED'}")
    print(f"cells below {CELL_BAR:g}: {len(low)}", *low, sep="\n  ")
    slow = []
    for cell, published in gains.get("faithful", {}).items():
        lag = published - default[cell]
        if published.mean() > WORKS and lag.mean() > LAG_BAR:
            behind = f"{lag.mean():.2f} +- {error(lag):.2f}"
            slow.append(
                f"{cell}: {default[cell].mean():.2f} against {published.mean():.2f}, behind by {behind}"
            )
    if "faithful" in gains:
        print(f"cells more than {LAG_BAR:g} behind the faithful rule: {len(slow)}", *slow, sep="\n  ")


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
