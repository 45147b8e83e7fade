"""The picture of `quality.py`: train loss over the learning rate, with what needs none as level lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from networks import TASKS
from optimisers import ADAM, OURS, RATES, on_grid

if TYPE_CHECKING:
    from quality import Table

PICTURED = ("tanh n=10", "ReLU n=100")
MARK = 5
#: Of Okabe and Ito's palette, which colour-blind readers tell apart.
COLORS = {"SGD": "#E69F00", "Adam": "#0072B2", OURS: "#D55E00"}
MARKERS = {"SGD": "s", "Adam": "o"}
LEVELS = {
    "Prodigy": "Prodigy",
    "ScheduleFree": "ScheduleFree",
    "DoG, averaged": "DoG, averaged",
    "MoMo": "MoMo",
    "D-Adaptation": "D-Adaptation",
}


def draw(table: Table, path: Path) -> None:
    figure, axes = plt.subplots(1, len(PICTURED), figsize=(11, 4.6), layout="constrained", sharey=True)
    for ax, task in zip(axes, PICTURED, strict=True):
        panel(ax, table, task)
    axes[0].set_ylabel(f"train loss after {MARK} epochs' worth of gradients")
    figure.suptitle("One default against every rate, at equal gradient evaluations", fontsize=12)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def panel(ax: Any, table: Table, task: str) -> None:
    """One network: two curves over the rate, and levels with their names on the right."""
    highest = 3.0  # a loss of chance is 2.3
    for family, rates in RATES.items():
        scores = [table.score(task, on_grid(family, rate), MARK) for rate in rates]
        found = [(rate, score.losses) for rate, score in zip(rates, scores, strict=True) if score]
        if not found:
            continue
        x = [rate for rate, _ in found]
        losses = np.minimum([losses for _, losses in found], 1e3)
        style = {"color": COLORS[family], "marker": MARKERS[family], "markersize": 4}
        ax.plot(x, losses.mean(axis=1), label=f"{family}, by its rate", zorder=3, **style)
        ax.fill_between(x, losses.min(axis=1), losses.max(axis=1), color=COLORS[family], alpha=0.25, lw=0)
    right = 1.03  # names begin there, in units of the axes' width
    names = []
    for row, name in LEVELS.items():
        if score := table.score(task, row, MARK):
            ax.axhline(score.loss, color="0.55", lw=1, ls=(0, (4, 3)), zorder=1)
            names.append((score.loss, name, {"color": "0.35"}))
    if score := table.score(task, OURS, MARK):
        ax.axhline(score.loss, color=COLORS[OURS], lw=2.5, zorder=4)
        ax.axhspan(min(score.losses), max(score.losses), color=COLORS[OURS], alpha=0.2, lw=0)
        names.append((score.loss, "refsgd, no rate", {"color": COLORS[OURS], "weight": "bold"}))
    if score := table.score(task, ADAM, MARK):
        mark = {"marker": "*", "ms": 13, "mec": "black", "color": COLORS["Adam"], "ls": ""}
        ax.plot([1e-3], [score.loss], zorder=5, label="Adam's default", **mark)
    losses = [loss for loss, *_ in names]
    ax.set(xscale="log", yscale="log", xlabel="learning rate", title=title(task))
    if losses:
        ax.set_ylim(min(*losses, lowest(table, task)) / 1.6, highest)
    for place, (_, name, style) in zip(apart(ax, losses), sorted(names, key=lambda n: n[0]), strict=True):
        ax.text(right, place, name, transform=ax.transAxes, va="center", fontsize=9, clip_on=False, **style)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, fontsize=9, loc="lower left")
