"""The options of the default rule, which its runs read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .._errors import message
from .._validation import choice

Weighting = Literal["dense", "sparse", "orthogonal"]
WEIGHTINGS: tuple[Weighting, ...] = ("dense", "sparse", "orthogonal")


@dataclass(frozen=True)
class Rule:
    """How a minibatch counts, and whether x is averaged: see `refsgd.VSGD`."""

    weighting: Weighting = "dense"
    average: bool = False

    def __post_init__(self) -> None:
        choice("weighting", self.weighting, WEIGHTINGS)
        if not isinstance(self.average, bool):
            raise TypeError(message("average", "be True or False", repr(self.average), "pass average=True"))
        if self.average and self.weighting == "sparse":
            remedy = "an average of x would make a step cost as much as a dense one: leave it out"
            raise ValueError(message("average", "be False with weighting='sparse'", True, remedy))

    @property
    def requires(self) -> tuple[str, ...]:
        """What a run needs beside mean gradients: ``"rows"`` (per-sample gradients), or nothing."""
        return ("rows",) if self.weighting == "orthogonal" else ()
