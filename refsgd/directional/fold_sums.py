r"""Sums over directions, kept by fold, which merge exactly and lose no digits where directions nearly agree.

With a reference direction c, such as the first one, and ``t = u - c``, they are, for each fold,

    S = sum w t,    Q = sum w |t|**2,    W = sum w,    W2 = sum w**2.

The resultant is ``sum w u = S + W c``. Summed over folds, ``W**2 (1 - r**2) = W Q - |S|**2``: nothing cancels
when all directions are nearly equal, so 1 - r, and with it a large concentration, is known to full relative
accuracy, whereas ``sum w u`` alone loses it below 1e-10. Directions are dealt to the k folds in turn,
direction i to fold i mod k; the folds are what the jackknife and the sign-flip test work with.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..kernels.contract import FoldArrays
from ._series import Floats

Parts = list[Floats]  # a long vector


class FoldSums(FoldArrays):
    """`sums` S, `sq_distance` Q, `weight` W and `weight2` W2 of each fold, about `reference` c."""

    __slots__ = ()

    @classmethod
    def zeros(cls, n_folds: int, reference: Floats) -> FoldSums:
        """The sums before the first direction, about an array that several sums may share."""
        return cls(reference, np.zeros((n_folds, reference.size)), *np.zeros((3, n_folds)))

    def folds_from(self, first_fold: int) -> list[int]:
        """All folds in turn, beginning with `first_fold`."""
        k = len(self.weight)
        return [(first_fold + b) % k for b in range(k)]

    def merge(self, other: FoldSums, first_fold: int) -> None:
        """Add the sums of `other`, its first fold to the own `first_fold`."""
        to = self.folds_from(first_fold)
        self.add_moved(other, first_fold, other.weight)
        self.weight[to] += other.weight
        self.weight2[to] += other.weight2

    def add_moved(self, other: FoldSums, first_fold: int, weight: Floats) -> None:
        """Add S and Q of `other`, whose ``sum w`` is `weight`, moved from its reference c' to the own c.

        There they are ``S + W (c' - c)`` and ``Q + 2 (c' - c) @ S + W |c' - c|**2``.
        """
        shift = other.reference - self.reference
        square = shift @ shift
        for b, to in enumerate(self.folds_from(first_fold)):
            w, s = weight[b], other.sums[b]
            self.sq_distance[to] += other.sq_distance[b] + 2.0 * (shift @ s) + w * square
            self.sums[to] += s
            self.sums[to] += w * shift

    def resultant(self) -> Floats:
        """``sum w u`` over all folds, (d,)."""
        resultant: Floats = self.sums.sum(axis=0)
        resultant += self.weight.sum() * self.reference
        return resultant

    def mean_resultant_length(self) -> float:
        """r, in [0, 1]."""
        return min(float(np.linalg.norm(self.resultant()) / self.weight.sum()), 1.0)

    def one_minus_r(self) -> float:
        """1 - r to full relative accuracy."""
        total = self.sums.sum(axis=0)
        weight, sq_distance = float(self.weight.sum()), float(self.sq_distance.sum())
        return complement(weight, sq_distance, float(total @ total), self.mean_resultant_length())

    def gram(self) -> Floats:
        """Inner products of the S of all folds, (k, k)."""
        return self.sums @ self.sums.T

    def along(self) -> Floats:
        """``S @ c`` of each fold, (k,)."""
        return self.sums @ self.reference

    def summary(self, offset: Floats | None = None) -> FoldSummary:
        """What the folds say about directions of weight 1; ``S + offset c`` are their centred sums."""
        gram, along = self.gram(), self.along()
        centred = gram if offset is None else shifted(gram, along, offset)
        full, resultant = shifted(gram, along, self.weight), [self.resultant()]
        return FoldSummary(self.reference.size, self.weight, self.sq_distance, centred, full, resultant)


class FoldSummary(NamedTuple):
    """All that estimators, intervals and tests need to know about directions of weight 1, by fold.

    Inner products are sums over parameters, so the summary of a long vector is the sum of those of its parts.
    """

    dim: int
    weight: Floats  #: directions in each fold
    sq_distance: Floats
    centred: Floats  #: Gram matrix of the folds' sum t
    full: Floats  #: Gram matrix of the folds' sum u
    resultant: Parts  #: sum u, in parts

    @classmethod
    def nothing(cls, weight: Floats) -> FoldSummary:
        """A summary of dimension 0, to which parts can be added."""
        zeros = np.zeros((len(weight),) * 2)
        return cls(0, weight, zeros[0], zeros, zeros, [])

    def __add__(self, other: FoldSummary) -> FoldSummary:  # type: ignore[override]
        """Append the parameters of `other`; both describe parts of the same directions."""
        return self._replace(
            dim=self.dim + other.dim,
            sq_distance=self.sq_distance + other.sq_distance,
            centred=self.centred + other.centred,
            full=self.full + other.full,
            resultant=self.resultant + other.resultant,
        )

    def lengths(self) -> tuple[float, float]:
        """r and 1 - r."""
        n = int(self.weight.sum())
        r = min(norm(self.resultant) / n, 1.0)
        return r, complement(n, float(self.sq_distance.sum()), float(self.centred.sum()), r)

    def mean_direction(self) -> Parts:
        """Unit vector along the resultant, in parts; zeros where the directions cancel exactly."""
        total = norm(self.resultant)
        return [part / total if total else part for part in self.resultant]


def complement(weight: float, sq_distance: float, square: float, r: float) -> float:
    """1 - r from ``W**2 (1 - r**2) = W Q - |S|**2``."""
    return min(max(weight * sq_distance - square, 0.0) / weight**2, 1.0) / (1.0 + r)


def shifted(gram: Floats, along: Floats, weight: Floats) -> Floats:
    """Gram matrix of ``S + weight c``, from that of S and ``along = S @ c``, c being a unit vector."""
    return gram + np.outer(along, weight) + np.outer(weight, along) + np.outer(weight, weight)


def norm(parts: Parts) -> float:
    """Length of a vector that is given in parts."""
    return math.sqrt(sum(float(part @ part) for part in parts))


def angle(one: Parts, other: Parts) -> float:
    """Angle in radians between unit vectors in parts, to full relative accuracy near 0 and pi (Kahan)."""
    apart = [a - b for a, b in zip(one, other, strict=True)]
    together = [a + b for a, b in zip(one, other, strict=True)]
    return 2.0 * math.atan2(norm(apart), norm(together))
