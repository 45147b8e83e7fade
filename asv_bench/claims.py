"""A claim about speed, with its bar: what the programs here print and `table.py` collects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from ratios import interleaved

LAYOUT = "{:66s} {:>9s} {:>9s} {:>7s}  {:>8s}  {}"


class Claim(NamedTuple):
    """What is claimed, the number it is about, its bar, and the seconds behind a ratio.

    A bar is ``"<= 1.05"``, the most that our time over the other's may be, or ``">= 5"``, the least of the
    other's over ours; without a number the row is for information.
    """

    text: str
    value: float = np.nan
    bar: str = "<="
    ours: float = np.nan
    other: float = np.nan

    def is_met(self) -> bool | None:
        """None without a bar."""
        relation, *bar = self.bar.split()
        if not bar:
            return None
        return self.value <= float(bar[0]) if relation == "<=" else self.value >= float(bar[0])


def ratio(text: str, ours: float, other: float, bar: str = "<=") -> Claim:
    """A claim about two times."""
    return Claim(text, other / ours if bar.startswith(">=") else ours / other, bar, ours, other)


def versus(text: str, ours: Callable[[], Any], other: Callable[[], Any], bar: str = "<=") -> Claim:
    """A claim about two functions, measured in turns; the ratio is a median of rounds."""
    times = interleaved({"ours": ours, "other": other})
    ours_over = float(np.median(times["ours"] / times["other"]))
    seconds = float(np.median(times["ours"])), float(np.median(times["other"]))
    return Claim(text, 1 / ours_over if bar.startswith(">=") else ours_over, bar, *seconds)


def seconds(value: float) -> str:
    """In the unit that gives one to three digits before the point."""
    if np.isnan(value):
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= 0.9995 * scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def size(number: float) -> str:
    """1e5 for 100000."""
    return f"{number:.0e}".replace("e+0", "e")


def print_claims(claims: Iterable[Claim]) -> None:
    """Print them as they are measured, and how many bars are met."""
    print(LAYOUT.format("claim (: the other)", "ours", "other", "value", "bar", "met"))
    verdicts = []
    for claim in claims:
        verdicts.append(claim.is_met())
        value = "-" if np.isnan(claim.value) else f"{claim.value:.3g}"
        word = {True: "yes", False: "NO", None: ""}[verdicts[-1]]
        ours, other = seconds(claim.ours), seconds(claim.other)
        bar = "-" if verdicts[-1] is None else claim.bar
        print(LAYOUT.format(claim.text, ours, other, value, bar, word).rstrip(), flush=True)
    print(f"\n{verdicts.count(True)} of {len(verdicts) - verdicts.count(None)} bars met")
