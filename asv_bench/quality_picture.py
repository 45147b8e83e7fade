"""The picture of `quality.py`: train loss over the learning rate, and what needs no rate as level lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from networks import TASKS
from optimisers import ADAM, OURS, RATES, on_grid

if TYPE_CHECKING:
    from quality import Table

PICTURED = ("tanh n=10", "ReLU n=100")
MARK = 5
HIGHEST = 4.0  # by chance the loss is 2.3; what has diverged ends here
#: Of Okabe and Ito's palette, which colour-blind readers tell apart.
COLORS = {"SGD": "#E69F00", "Adam": "#0072B2", OURS: "#D55E00"}
MARKERS = {"SGD": "s", "Adam": "o"}
PEERS = ("Prodigy", "ScheduleFree", "DoG, averaged", "MoMo", "MoMo-Adam", "D-Adaptation")


class Level(NamedTuple):
    """A line across the panel, named at its right end."""

    loss: float
    name: str
    style: dict[str, Any]


def draw(table: Table, path: Path) -> None:
    figure, axes = plt.subplots(1, len(PICTURED), figsize=(12, 5.2), layout="constrained")
    for ax, task in zip(axes, PICTURED, strict=True):
        widths = "-".join(map(str, TASKS[task].widths))
        ax.set_title(
            f"{TASKS[task].name.split()[0]} {widths}, minibatches of {TASKS[task].batch_size}", fontsize=10
        )
        panel(ax, table, task)
    axes[0].set_ylabel(f"train loss after {MARK} epochs of gradients")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    title = "8,000 MNIST images, equal gradient evaluations; means over seeds, bands from least to most"
    figure.suptitle(title, fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def panel(ax: Any, table: Table, task: str) -> None:
    for family in RATES:
        curve(ax, table, task, family)
    if adam := table.score(task, ADAM, MARK):
        style = {"marker": "*", "ms": 15, "mec": "white", "color": COLORS["Adam"], "ls": ""}
        ax.plot([1e-3], [adam.loss], zorder=5, label="Adam's default rate", **style)
    levels = []
    for row in PEERS:
        if score := table.score(task, row, MARK):
            ax.axhline(score.loss, color="0.6", lw=1, ls=(0, (4, 3)), zorder=1)
            levels.append(Level(score.loss, row, {"color": "0.3"}))
    if ours := table.score(task, OURS, MARK):
        ax.axhline(ours.loss, color=COLORS[OURS], lw=2.5, zorder=4)
        ax.axhspan(min(ours.losses), max(ours.losses), color=COLORS[OURS], alpha=0.2, lw=0)
        levels.append(Level(ours.loss, "refsgd, no rate", {"color": COLORS[OURS], "weight": "bold"}))
    ax.set(xscale="log", yscale="log", xlabel="learning rate of SGD and Adam")
    ax.set_ylim(bottom=0.7 * min(ax.dataLim.y0, *(level.loss for level in levels), HIGHEST), top=HIGHEST)
    ax.grid(alpha=0.25)
    name_levels(ax, levels)


def curve(ax: Any, table: Table, task: str, family: str) -> None:
    """Train loss over the rate, with a band from the least to the most."""
    scores = {rate: table.score(task, on_grid(family, rate), MARK) for rate in RATES[family]}
    found = {rate: np.minimum(score.losses, HIGHEST) for rate, score in scores.items() if score}
    if found:
        rates, losses = list(found), list(found.values())
        color, marker = COLORS[family], MARKERS[family]
        means, least, most = zip(*((np.mean(v), np.min(v), np.max(v)) for v in losses), strict=True)
        ax.plot(rates, means, color=color, marker=marker, ms=4, zorder=3, label=family)
        ax.fill_between(rates, least, most, color=color, alpha=0.25, lw=0)


def name_levels(ax: Any, levels: list[Level]) -> None:
    """Names right of the panel, as near to their lines as they can be without lying on each other."""
    apart = 0.055  # of the height
    to_axes = ax.transData + ax.transAxes.inverted()
    levels = sorted(levels)
    places = [float(to_axes.transform((1, min(level.loss, HIGHEST)))[1]) for level in levels]
    spread = list(places)
    for _ in range(200):  # push neighbours apart until none are too near
        for k in range(len(spread) - 1):
            overlap = apart - (spread[k + 1] - spread[k])
            if overlap > 0:
                spread[k] -= overlap / 2
                spread[k + 1] += overlap / 2
    for level, place, name_at in zip(levels, places, spread, strict=True):
        ax.plot([1, 1.03], [place, name_at], color="0.6", lw=0.8, transform=ax.transAxes, clip_on=False)
        ax.text(1.035, name_at, level.name, transform=ax.transAxes, va="center", fontsize=9, **level.style)
