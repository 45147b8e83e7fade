"""Pictures of a training run. The only file that imports matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import message

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..directional import DirectionMonitor
    from .experiments.claim import Claim
    from .experiments.demo import EpochReport


def plot_training(history: Sequence[EpochReport], path: str | Path, title: str) -> None:
    """Loss and error, learning rates, and gradient directions over epochs, as three panels of one picture.

    Parameters
    ----------
    history : sequence of EpochReport
        One entry an epoch.
    path : str or Path
        Where to write; the ending says the format.
    title : str
        Heading of the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [report.epoch for report in history]
    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    loss_axes, rate_axes, kappa_axes = figure.subplots(1, 3)

    loss_axes.plot(epochs, [r.train_loss for r in history], color="C0", marker=".", label="train loss")
    loss_axes.set_yscale("log")
    loss_axes.set_ylabel("train loss", color="C0")
    error_axes = loss_axes.twinx()
    error_axes.plot(epochs, [100 * r.test_error for r in history], color="C3", marker=".")
    error_axes.set_ylim(bottom=0)
    error_axes.set_ylabel("test error (%)", color="C3")
    loss_axes.set_title("Loss")

    low, middle, high = np.array([r.rate_quantiles for r in history]).T
    rate_axes.fill_between(epochs, low, high, color="C1", alpha=0.25, label="10 % to 90 % of parameters")
    rate_axes.plot(epochs, middle, color="C1", marker=".", label="median")
    rate_axes.set_yscale("log")
    rate_axes.set_ylabel("rate (x² / loss)")
    rate_axes.set_title("Learning rates that vSGD chose")
    rate_axes.legend(frameon=False)

    directions = [r.directions for r in history]
    bounds = np.array([d.kappa_interval for d in directions])
    floor = np.nanmin([d.kappa for d in directions]) / 10  # an interval may reach 0, which has no logarithm
    kappa_axes.fill_between(
        epochs,
        np.maximum(bounds[:, 0], floor),
        np.maximum(bounds[:, 1], floor),
        color="C2",
        alpha=0.25,
        label="95 % interval (jackknife)",
    )
    kappa_axes.plot(
        epochs,
        [np.nan if d.kappa_unbiased < floor else d.kappa_unbiased for d in directions],
        color="C2",
        marker=".",
        label="κ, unbiased (a gap: 0)",
    )
    kappa_axes.plot(epochs, [d.kappa for d in directions], color="C7", ls="--", label="κ, Banerjee")
    kappa_axes.set_yscale("log")
    kappa_axes.set_ylabel("concentration κ")
    kappa_axes.set_title("Do minibatch gradients agree?")
    kappa_axes.legend(frameon=False, loc="lower left")

    for axes in (loss_axes, rate_axes, kappa_axes):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def plot_monitor(monitor: DirectionMonitor, where: str | Path | Sequence[Axes]) -> None:
    """The history of a monitor as three panels: gradient stochasticity, that of norms, and concentration.

    The whole gradient is a thick line, groups are thin ones from dark (the first) to bright (the last). Bands
    are 95 % intervals, the broken line the concentration by the paper's estimator. What is 0, infinite or
    unknown leaves a gap.

    Parameters
    ----------
    monitor : DirectionMonitor
        Has at least one record.
    where : str, Path or three matplotlib.axes.Axes
        A file to write, whose ending says the format, or where to draw.

    Raises
    ------
    ValueError
        If the history is empty, or `where` does not have three axes.
    """
    from matplotlib import colormaps

    history = monitor.history
    if not history.size:
        raise ValueError(message("monitor", "have a history", "no records", "call record() or pass every="))
    if isinstance(where, str | Path):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(13, 4), layout="constrained")
        FigureCanvasAgg(figure)
        plot_monitor(monitor, list(figure.subplots(1, 3)))
        figure.savefig(where, dpi=120)
        return
    if len(where) != 3:
        raise ValueError(message("where", "have three axes", len(where), "pass figure.subplots(1, 3)"))
    names = list(dict.fromkeys(history["group"]))
    colors = colormaps["viridis"](np.linspace(0, 0.9, len(names)))
    for name, color in zip(reversed(names), reversed(colors), strict=True):  # the whole comes last, on top
        rows = history[history["group"] == name]
        style = {"color": color, "lw": 1.0} if name else {"color": "black", "lw": 2.5}
        style |= {"marker": "."} if len(rows) < 60 else {}
        shown = {
            field: np.where(np.isfinite(rows[field]) & (rows[field] > 0), rows[field], np.nan)
            for field in ("snr", "norm_snr", "kappa", "kappa_unbiased", "kappa_low", "kappa_high")
        }
        fields = ("snr", "norm_snr", "kappa_unbiased")
        for axes, field in zip(where, fields, strict=True):
            axes.plot(rows["step"], shown[field], label=name or "all", **style)
        floor = np.fmin.reduce([*shown["kappa_unbiased"], *shown["kappa"]]) / 10  # as 0 has no logarithm
        low = np.where(rows["kappa_low"] < floor, floor, rows["kappa_low"])
        where[2].fill_between(rows["step"], low, shown["kappa_high"], color=style["color"], alpha=0.15, lw=0)
        if not name:
            where[2].plot(rows["step"], shown["kappa"], color="black", ls="--", lw=1, label="all, Banerjee")
    titles = "Gradient stochasticity", "Gradient norm stochasticity", "Directional uniformity"
    labels = "|mean| / √(tr cov)", "mean / deviation of |g|", "concentration κ"
    for axes, title, label in zip(where, titles, labels, strict=True):
        axes.set_yscale("log")
        axes.set_title(title)
        axes.set_xlabel("gradients")
        axes.set_ylabel(label)
    if len(names) <= 10:
        handles, texts = where[2].get_legend_handles_labels()
        where[2].legend(
            handles[::-1], texts[::-1], frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0)
        )


def plot_claim(claim: Claim, record: dict[str, Any], path: str | Path) -> None:
    """The picture of a claim, with its statement and the verdict of its record."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    claim.plot(axes, record["numbers"])
    says = "Holds" if record["holds"] else "Does not hold"
    text = textwrap.fill(f"{claim.statement} {says}: {record['by']}.", 110)
    axes.set_title(text, fontsize=9, loc="left")
    figure.savefig(path, dpi=110)
