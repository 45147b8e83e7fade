"""What a comparison of optimisers needs: a problem, what begins a run on it, a loop that counts gradients.

Optimisers are compared at equal numbers of GRADIENT EVALUATIONS. A second gradient of the same minibatch
counts like any other. With one seed all begin at the same point and see the same minibatches in order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

import refsgd
from refsgd.baselines import Adam

Array = NDArray[Any]
Start = Callable[[Array], Any]

#: {row: {number of gradients: figures}}; a row is an optimiser, or its averaged iterate.
Scores = dict[str, dict[int, tuple[float, ...]]]


class Problem(NamedTuple):
    """A stochastic function: the mean gradient (d,) of a minibatch that was drawn, and figures of merit."""

    x0: Array
    draw: Callable[[], Any]
    gradient: Callable[[Array, Any], Array]
    figures: Callable[[Array], tuple[float, ...]]


class Contest(NamedTuple):
    """Problems, one per seed, and after how many gradients they are looked at."""

    make: Callable[[int], Problem]
    marks: Sequence[int]
    seeds: Sequence[int]
    titles: tuple[str, ...]  # of the figures


OURS = "refsgd"
OPTIMISERS: dict[str, Start] = {
    OURS: refsgd.VSGD(average=True).start,
    "Adam 1e-3": Adam().start,
    "Adam 1e-2": Adam(1e-2).start,
}
SPARSE = "refsgd, sparse form"
SPARSE_FORM: dict[str, Start] = {SPARSE: refsgd.VSGD(weighting="sparse").start}


def train(problem: Problem, name: str, start: Start, marks: Sequence[int]) -> Scores:
    """The figures at the start, 0, and at each mark; NaN from where a gradient was not finite."""
    run = start(problem.x0)
    averages = name == OURS
    scores: Scores = {row: {} for row in ([name, f"{name}, averaged"] if averages else [name])}
    batch = None
    for n in range(max(marks) + 1):
        if n:
            batch = batch if run.is_open else problem.draw()
            try:
                run.tell(problem.gradient(run.ask(), batch))
            except FloatingPointError:  # it has diverged
                nan = (math.nan,) * len(problem.figures(problem.x0))
                return {row: dict.fromkeys([0, *marks], nan) | found for row, found in scores.items()}
        if n == 0 or n in marks:
            scores[name][n] = problem.figures(run.x)
            if averages:
                scores[f"{name}, averaged"][n] = problem.figures(run.x_avg)
    return scores


class Store:
    """Results in a file, written whole after each addition, so that an interrupted comparison goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """What is stored under ``key``; if there is nothing, it is measured."""
        if key not in self.results:
            self.results[key] = measure()
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps(self.results, separators=(",", ":")))
            new.replace(self.path)
        return self.results[key]


def digits_of(value: float) -> str:
    """Two or three digits, without an exponent where that is shorter."""
    if not math.isfinite(value):
        return "diverged"
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        decimals = (
            0 if abs(value) >= 100 else 3 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        )
        return f"{value:.{min(decimals, 5)}f}"
    return f"{value:.1e}"
