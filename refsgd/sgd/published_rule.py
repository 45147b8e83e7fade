"""The options of the published rules, which their runs read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .._errors import message
from .._validation import choice
from ..kernels.contract import BBPROP, FD
from .rule import WEIGHTINGS, Weighting

Curvature = Literal["fd", "bbprop"]
Sharing = Literal["element", "global", "blocks"]
CURVATURES: tuple[Curvature, ...] = ("fd", "bbprop")
SHARINGS: tuple[Sharing, ...] = ("element", "global", "blocks")


@dataclass(frozen=True)
class PublishedRule:
    """Which curvature, whose rate, which weighting: see `refsgd.PublishedVSGD`."""

    curvature: Curvature = "fd"
    sharing: Sharing = "element"
    weighting: Weighting = "dense"
    outliers: float | None = 2.0

    def __post_init__(self) -> None:
        choice("curvature", self.curvature, CURVATURES)
        choice("sharing", self.sharing, SHARINGS)
        choice("weighting", self.weighting, WEIGHTINGS)
        if self.outliers is not None and not (math.isfinite(self.outliers) and self.outliers > 0):
            raise ValueError(
                message(
                    "outliers",
                    "be a positive number of standard deviations, or None",
                    self.outliers,
                    "keep the published 2.0, or pass None to switch detection off",
                )
            )
        if self.sharing != "element" and self.weighting == "sparse":
            remedy = "shared rates would make a step cost as much as a dense one: weight densely"
            raise ValueError(message("sharing", "be 'element' with weighting='sparse'", self.sharing, remedy))
        if self.sharing != "element" and self.curvature == "fd":
            remedy = "no paper shares rates with curvature='fd': pass curvature='bbprop'"
            raise ValueError(message("sharing", "be 'element'", self.sharing, remedy))

    @property
    def requires(self) -> tuple[str, ...]:
        """What a run needs beside gradients, of ``"diag_hess"``, ``"blocks"`` and ``"rows"`` (per sample)."""
        needs = {
            "diag_hess": self.curvature == "bbprop",
            "blocks": self.sharing == "blocks",
            "rows": self.weighting != "dense",
        }
        return tuple(name for name, is_needed in needs.items() if is_needed)

    @property
    def variant(self) -> int:
        """How curvature becomes a rate, as `refsgd.kernels.contract` numbers it."""
        return FD if self.curvature == "fd" else BBPROP

    @property
    def limit(self) -> float:
        """What a variance is multiplied with to give the square of a distance beyond which is an outlier."""
        return math.inf if self.outliers is None else self.outliers**2
