r"""What a monitor keeps about the gradients of one group of parameters: O(d) numbers, mergeable.

Write g for the gradient of the group, u = g / |g| for its direction, c for the first direction, and t = u -
c. Three `FoldSums` about c, with three weights, hold everything:

- w = 1: the directions of the group.
- w = |g| / |G|, where G is the gradient of all groups: the group's part of the direction of G, because
  ``G / |G|`` has the parts w u. About w0 c, where w0 is the first w, they are ``w t + (w - w0) c``, of
  squared length ``(w - w0)**2 + w w0 |t|**2``. Inner products over all parameters are sums over groups.
- w = |g|, in one fold: the mean gradient, ``m c + S/n`` with the mean length m; and, as u and c are unit
  vectors, ``sum |g - mean|**2 = sum (|g| - m)**2 + m Q - |S|**2/n``.

So each gradient is read twice, for its length and for its sums, and large sums are never subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._series import Floats
from .fold_sums import FoldSummary, FoldSums
from .gradients import CHUNK, Part, Shape, chunks

Moments = tuple[float, float]  # |mean|**2 and the scatter sum |g - mean|**2

SCALARS = ("n_zero", "first_share", "has_reference")


class Lengths:
    """Mean and scatter ``sum (l - mean)**2`` of n lengths (Chan, Golub and LeVeque 1983)."""

    __slots__ = ("mean", "n", "scatter")

    def __init__(self, n: float = 0, mean: float = 0.0, scatter: float = 0.0) -> None:
        self.n, self.mean, self.scatter = int(n), mean, scatter

    def __iter__(self) -> Iterator[float]:
        return iter((self.n, self.mean, self.scatter))

    def add(self, n: float, mean: float, scatter: float = 0.0) -> None:
        """Add a sample; one length is its own mean."""
        total = self.n + int(n)
        if total == 0:
            return
        shift = mean - self.mean
        self.scatter += scatter + self.n * (n / total) * shift * shift
        self.mean += shift * (n / total)
        self.n = total


class Group:
    """The sums of one group, as defined at the top of this module.

    Attributes
    ----------
    in_groups : bool
        Whether there are other groups, and so shares of the whole gradient.
    shape : tuple or None
        Shape of a gradient, None before the first one.
    lengths : Lengths
        Lengths of all gradients, including zero and missing ones.
    n_zero : int
        Gradients that are zero or missing.
    first_share : float
        w0.
    directions, shares, total : FoldSums
        The sums with w = 1, ``|g| / |G|`` and ``|g|``. The weights of `shares` are ``w - w0``; without other
        groups it has no folds. What follows from other numbers is not summed: W2 of `directions`, which is W,
        and W of `total`, which is n m.
    mean, share_mean : ndarray or None
        Mean direction at the last record, and the group's part of that of G.
    """

    def __init__(self, n_folds: int, in_groups: bool, shape: Shape | None = None) -> None:
        self.in_groups = in_groups
        self.lengths = Lengths()
        self.n_zero = 0
        self.first_share = 0.0
        self.has_reference = False
        self.mean: Floats | None = None
        self.share_mean: Floats | None = None
        counts = n_folds, n_folds if in_groups else 0, 1
        self.directions, self.shares, self.total = (FoldSums.zeros(k, np.zeros(0)) for k in counts)
        self.allocate(shape)

    @classmethod
    def like(cls, state: Mapping[str, Any], prefix: str, n_folds: int, in_groups: bool) -> Group:
        """A group whose state has the names and shapes of a saved one, which it neither checks nor loads."""
        shape = state.get(f"{prefix}shape")
        group = cls(n_folds, in_groups, None if shape is None else tuple(np.atleast_1d(shape).tolist()))
        group.mean = np.zeros(group.dim) if f"{prefix}mean" in state else None
        group.share_mean = np.zeros(group.dim) if f"{prefix}share_mean" in state else None
        return group

    def allocate(self, shape: Shape | None) -> None:
        """Make room for gradients of this shape; the weights so far remain."""
        self.shape = shape
        reference = np.zeros(self.dim)
        self.directions, self.shares, self.total = (
            sums._replace(reference=reference, sums=np.zeros((len(sums.weight), self.dim)))
            for sums in (self.directions, self.shares, self.total)
        )

    @property
    def dim(self) -> int:
        return 0 if self.shape is None else math.prod(self.shape)

    def restarted(self, mean: Floats, share_mean: Floats | None) -> Group:
        """The same group before its first gradient; angles are measured from the given mean directions."""
        fresh = Group(len(self.directions.weight), self.in_groups, self.shape)
        if self.shape is not None:
            fresh.mean, fresh.share_mean = mean, share_mean
        return fresh

    def add(self, part: Part, whole: float, fold: int, is_first: bool) -> None:
        """Add a gradient; `whole` is its length over all groups, `is_first` says if none came before."""
        if part.shape is not None and self.shape is None:
            self.allocate(part.shape)
        self.lengths.add(1, part.length)
        share = part.length / whole if whole else 0.0
        if part.flat is None or part.length == 0.0:
            self.n_zero += 1
        else:
            self._add_direction(part.flat, part.length, share, fold)
        if whole and self.in_groups:
            if is_first:
                self.first_share = share
            self.shares.weight[fold] += share - self.first_share
            self.shares.weight2[fold] += (share - self.first_share) ** 2

    def _add_direction(self, x: NDArray[Any], length: float, share: float, fold: int) -> None:
        """Add t = x/|x| - c to the three sums, in one pass."""
        scale, scale_up = 1.0 / length, 1.0
        if length < 1e-290:  # its inverse would overflow
            scale, scale_up = 2.0**900, 1.0 / (2.0**900 * length)
        reference, sums, share_sums = self.directions.reference, self.directions.sums, self.shares.sums
        total = self.total.sums[0]
        q, room = 0.0, np.empty((2, min(x.size, CHUNK)))
        for chunk in chunks(x.size):
            t, weighted = room[:, : len(x[chunk])]
            t[:] = x[chunk]
            t *= scale
            if scale_up != 1.0:
                t *= scale_up
            if not self.has_reference:
                reference[chunk] = t
            t -= reference[chunk]
            q += float(t @ t)
            sums[fold, chunk] += t
            if self.in_groups:
                share_sums[fold, chunk] += np.multiply(t, share, out=weighted)
            t *= length
            total[chunk] += t
        self.has_reference = True
        self.directions.weight[fold] += 1.0
        self.directions.sq_distance[fold] += q
        self.total.sq_distance[0] += length * q
        if self.in_groups:
            self.shares.sq_distance[fold] += share * q

    def merge(self, other: Group, n_of_folds: Floats, n_directions: int) -> None:
        """Add the sums of `other`, whose folds hold `n_of_folds` directions of the whole gradient.

        This group has seen `n_directions` of them, so the first fold of `other` goes to the next in turn.
        """
        if self.shape is None and other.shape is not None:
            self.allocate(other.shape)
        first_fold = n_directions % len(self.directions.weight)
        if other.has_reference:
            if not self.has_reference:
                self.directions.reference[:] = other.directions.reference
                self.has_reference = True
            self.directions.merge(other.directions, first_fold)
            self.total.add_moved(other.total, 0, np.array([other.lengths.n * other.lengths.mean]))
            if self.in_groups:
                self.shares.add_moved(other.shares, first_fold, other.share_weights(n_of_folds))
        if n_directions == 0:
            self.first_share = other.first_share
        if self.in_groups:
            more, to = other.first_share - self.first_share, self.shares.folds_from(first_fold)
            excess = other.shares.weight
            self.shares.weight2[to] += other.shares.weight2 + 2.0 * more * excess + n_of_folds * more**2
            self.shares.weight[to] += excess + n_of_folds * more
        self.n_zero += other.n_zero
        self.lengths.add(*other.lengths)

    def share_weights(self, n_of_folds: Floats) -> Floats:
        """``sum w`` over each fold for ``w = |g| / |G|``."""
        return self.shares.weight + n_of_folds * self.first_share

    @np.errstate(over="ignore", invalid="ignore")
    def moments(self) -> Moments:
        """``|mean|**2`` and the scatter ``sum |g - mean|**2``."""
        n, m = self.lengths.n, self.lengths.mean
        if n == 0:
            return 0.0, 0.0
        mean = self.total.sums[0] / n
        rest = float(mean @ mean) * n
        mean += m * self.total.reference
        scatter = self.lengths.scatter + m * float(self.total.sq_distance[0]) - rest
        return float(mean @ mean), max(scatter, 0.0)

    def summary(self) -> FoldSummary:
        """What the folds say about the directions of the group."""
        return self.directions.summary()

    def share_summary(self, n_of_folds: Floats) -> FoldSummary:
        """The group's part of the directions of the whole gradient, whose folds hold `n_of_folds` of them."""
        offset, sq_distance = self.shares.weight, self.first_share * self.shares.sq_distance
        about = self.shares._replace(
            weight=self.share_weights(n_of_folds), sq_distance=self.shares.weight2 + sq_distance
        )
        return about.summary(offset)._replace(weight=n_of_folds)

    def previous(self, mean: Floats | None) -> Floats:
        """A mean direction at the last record, or zeros."""
        return np.zeros(self.dim) if mean is None else mean

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all sums as plain arrays; `shape`, `mean` and `share_mean` only where there are any."""
        state = {name: np.array(getattr(self, name)) for name in SCALARS}
        shape = None if self.shape is None else np.array(self.shape, np.int64)
        optional = {"shape": shape, "mean": self.mean, "share_mean": self.share_mean}
        arrays = optional | {"lengths": np.array([*self.lengths])} | self._arrays()
        return state | {name: array.copy() for name, array in arrays.items() if array is not None}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over a state with the names and shapes of the own one."""
        self.lengths = Lengths(*arrays["lengths"].tolist())
        for name in SCALARS:
            setattr(self, name, arrays[name].item())
        for name in ("mean", "share_mean"):
            setattr(self, name, arrays[name].copy() if name in arrays else None)
        for name, own in self._arrays().items():
            own[...] = arrays[name]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """All sums by name; the reference, which they share, once."""
        found = self.directions._asdict()
        for prefix, sums in (("share_", self.shares), ("length_", self.total)):
            found |= {prefix + name: array for name, array in zip(sums._fields[1:], sums[1:], strict=True)}
        return found
