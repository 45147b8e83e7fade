r"""What a monitor keeps of the gradients of one group of parameters: sums of O(d) numbers, mergeable.

Write g for the gradient of the group, u = g / |g| for its direction, c for the first one, the reference, and
t = u - c. Everything is a sum of w t with three weights, and of scalars:

- w = 1, by block: the directions of the group. With ``S = sum t`` and ``Q = sum |t|**2`` their resultant is
  ``S + n c``, and ``n**2 (1 - r**2) = n Q - |S|**2`` without cancellation, as in `refsgd.DirectionStats`.
- w = |g| / |G|, by block, G being the gradient of all groups: the group's part of the direction of G, as
  ``G / |G|`` has the parts w u. About w0 c, w0 being the first share, they are ``w t + (w - w0) c``, of
  squared length ``(w - w0)**2 + w w0 |t|**2``. Inner products over all parameters are sums over groups.
- w = |g|: the mean gradient, ``m c + P/n`` with ``P = sum |g| t`` and m the mean length; and, as u and c are
  unit vectors, ``sum |g - mean|**2 = sum (|g| - m)**2 + m sum |g| |t|**2 - |P|**2/n``.

So each gradient is read twice, for its length and for its sums, and no difference of large sums is taken.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from .._validation import float_array
from . import estimators
from ._series import Floats
from .gradients import CHUNK, Part, Shape, chunks


class Lengths:
    """Mean and scatter ``sum (l - mean)**2`` of n lengths (Chan, Golub and LeVeque 1983)."""

    def __init__(self, n: int = 0, mean: float = 0.0, scatter: float = 0.0) -> None:
        self.n, self.mean, self.scatter = n, mean, scatter

    def add(self, other: Lengths) -> None:
        total = self.n + other.n
        if total == 0:
            return
        shift = other.mean - self.mean
        self.scatter += other.scatter + self.n * (other.n / total) * shift * shift
        self.mean += shift * (other.n / total)
        self.n = total

    def state(self) -> tuple[int, float, float]:
        return self.n, self.mean, self.scatter

    @classmethod
    def from_state(cls, state: NDArray[Any]) -> Lengths:
        n, mean, scatter = map(float, state)
        return cls(int(n), mean, scatter)


class Directions(NamedTuple):
    """What is known of n directions by block: all that estimators, intervals and tests need."""

    dim: int
    weight: Floats  # directions of each block
    spread: Floats  # sum |t|**2 of each block
    centred: Floats  # Gram matrix of the blocks' sum t
    gram: Floats  # Gram matrix of the blocks' sum u
    resultant: list[Floats]  # sum u, in parts
    previous: list[Floats]  # an earlier mean direction, likewise, or zeros

    @classmethod
    def nothing(cls, weight: Floats) -> Directions:
        """What parts add up from."""
        zeros = np.zeros((len(weight),) * 2)
        return cls(0, weight, zeros[0], zeros, zeros, [], [])

    def __add__(self, other: Directions) -> Directions:  # type: ignore[override]
        """Those of a longer vector, of which each has parts; the weight is that of the whole."""
        return Directions(
            self.dim + other.dim,
            self.weight,
            self.spread + other.spread,
            self.centred + other.centred,
            self.gram + other.gram,
            self.resultant + other.resultant,
            self.previous + other.previous,
        )

    def numbers(self) -> dict[str, Any]:
        """The fields of a report that are about directions; nothing if there are fewer than 2."""
        n = int(self.weight.sum())
        if n < 2 or self.dim < 2:
            return {}
        r = min(norm(self.resultant) / n, 1.0)
        complement = max(n * float(self.spread.sum()) - float(self.centred.sum()), 0.0) / n**2
        b = min(complement, 1.0) / (1.0 + r)
        n_held = np.count_nonzero(self.weight)
        found: dict[str, Any] = {
            "mean_resultant_length": r,
            "kappa": float(estimators.banerjee(r, self.dim, b)),
            "kappa_unbiased": estimators.unbiased(r, self.dim, n, b),
            "mean_pairwise_cosine": estimators.mean_pairwise_cosine(r, n, b)[0],
        }
        if n_held >= 2:
            found["uniformity_pvalue"] = estimators.signflip_uniformity(self.gram)
        if n_held >= 3:
            found["kappa_interval"] = estimators.jackknife_interval(
                self.centred, self.weight, self.weight, self.spread, self.dim
            )
        if norm(self.previous) and norm(self.resultant):
            found["angle"] = angle(self.mean_direction(), self.previous)
        return found

    def mean_direction(self) -> list[Floats]:
        """Unit vector along the resultant, in parts; zeros where the directions cancel exactly."""
        total = norm(self.resultant)
        return [part / total if total else part for part in self.resultant]


class Group:
    """The sums of one group, as the module says.

    Attributes
    ----------
    lengths : Lengths
        Of all gradients, those that are zero or missing included.
    n_zero : int
        Gradients that are zero or missing.
    shape : tuple or None
        Of a gradient, None before the first one.
    """

    SCALARS = ("n_zero", "length_spread", "share", "has_reference")
    BLOCKS = ("weight", "spread", "excess", "excess2", "share_spread")
    ARRAYS = ("reference", "total", "sums", "share_sums", "previous", "share_previous")

    def __init__(self, n_blocks: int, is_part: bool, shape: Shape | None = None) -> None:
        self.is_part = is_part
        self.lengths = Lengths()
        self.n_zero = 0
        self.shape: Shape | None = None
        self.length_spread = 0.0  # sum |g| |t|**2
        self.share = 0.0  # w0
        self.has_reference = False
        self.weight, self.spread = np.zeros((2, n_blocks))
        self.excess, self.excess2 = np.zeros((2, n_blocks))  # sum (w - w0), and of its square
        self.share_spread = np.zeros(n_blocks)  # sum w |t|**2
        self.previous: Floats | None = None  # mean direction at the last record
        self.share_previous: Floats | None = None
        self.allocate(shape)

    def allocate(self, shape: Shape | None) -> None:
        self.shape = shape
        self.reference, self.total = np.zeros((2, self.dim))
        self.sums = np.zeros((len(self.weight), self.dim))
        self.share_sums = np.zeros((len(self.weight) if self.is_part else 0, self.dim))

    @property
    def dim(self) -> int:
        return 0 if self.shape is None else math.prod(self.shape)

    def restarted(self, mean: Floats | None, share_mean: Floats | None) -> Group:
        """The same group before its first gradient, with the mean directions that angles are taken to."""
        fresh = Group(len(self.weight), self.is_part, self.shape)
        if self.shape is not None:
            fresh.previous, fresh.share_previous = mean, share_mean
        return fresh

    def add(self, part: Part, whole: float, block: int, is_first: bool) -> None:
        """Take in a gradient; `whole` is the length of that of all groups, `is_first` if it is the first."""
        if part.shape is not None and self.shape is None:
            self.allocate(part.shape)
        self.lengths.add(Lengths(1, part.length))
        share = part.length / whole if whole else 0.0
        if part.flat is None or part.length == 0.0:
            self.n_zero += 1
        else:
            q = self._add_direction(part.flat, part.length, share, block)
            self.weight[block] += 1.0
            self.spread[block] += q
            self.share_spread[block] += share * q
            self.length_spread += part.length * q
        if whole:
            if is_first:
                self.share = share
            self.excess[block] += share - self.share
            self.excess2[block] += (share - self.share) ** 2

    def _add_direction(self, x: NDArray[Any], length: float, share: float, block: int) -> float:
        """Add t = x/|x| - c to the three sums, in one pass; return ``|t|**2``."""
        scale, scale_up = 1.0 / length, 1.0
        if length < 1e-290:  # has no inverse
            scale, scale_up = 2.0**900, 1.0 / (2.0**900 * length)
        q, room = 0.0, np.empty((2, min(x.size, CHUNK)))
        for chunk in chunks(x.size):
            t, weighted = room[:, : len(x[chunk])]
            t[:] = x[chunk]
            t *= scale
            if scale_up != 1.0:
                t *= scale_up
            if not self.has_reference:
                self.reference[chunk] = t
            t -= self.reference[chunk]
            q += float(t @ t)
            self.sums[block, chunk] += t
            if self.is_part:
                self.share_sums[block, chunk] += np.multiply(t, share, out=weighted)
            t *= length
            self.total[chunk] += t
        self.has_reference = True
        return q

    def merge(self, other: Group, n_of_blocks: Floats, n_directions: int) -> None:
        """Take in the sums of `other`, whose blocks hold `n_of_blocks` directions of the whole gradient.

        Here there are `n_directions` of them, so the first block of `other` is the next in turn. About the
        own reference a sum ``S`` of weight W becomes ``S + W (c' - c)``, its spread
        ``Q + 2 (c' - c) @ S + W |c' - c|**2``.
        """
        k = len(self.weight)
        own = (n_directions + np.arange(k)) % k
        if self.shape is None and other.shape is not None:
            self.allocate(other.shape)
        if other.has_reference:
            if not self.has_reference:
                self.reference[:] = other.reference
                self.has_reference = True
            shift = other.reference - self.reference
            shift2 = float(shift @ shift)
            shares = other.shares(n_of_blocks)
            for b, to in enumerate(own):
                self.sums[to] += other.sums[b]
                self.sums[to] += other.weight[b] * shift
                if self.is_part:
                    self.share_sums[to] += other.share_sums[b]
                    self.share_sums[to] += shares[b] * shift
            self.spread[own] += other.spread + 2.0 * (other.sums @ shift) + other.weight * shift2
            if self.is_part:
                moved = 2.0 * (other.share_sums @ shift) + shares * shift2
                self.share_spread[own] += other.share_spread + moved
            sum_of_lengths = other.lengths.n * other.lengths.mean
            self.length_spread += other.length_spread
            self.length_spread += 2.0 * float(other.total @ shift) + sum_of_lengths * shift2
            self.total += other.total
            self.total += sum_of_lengths * shift
        if n_directions == 0:
            self.share = other.share
        more = other.share - self.share
        self.excess2[own] += other.excess2 + 2.0 * more * other.excess + n_of_blocks * more**2
        self.excess[own] += other.excess + n_of_blocks * more
        self.weight[own] += other.weight
        self.n_zero += other.n_zero
        self.lengths.add(other.lengths)

    def shares(self, n_of_blocks: Floats) -> Floats:
        """``sum w`` of each block for ``w = |g| / |G|``."""
        return self.excess + n_of_blocks * self.share

    @np.errstate(over="ignore", invalid="ignore")
    def moments(self) -> tuple[float, float]:
        """``|mean|**2`` and the scatter ``sum |g - mean|**2``."""
        n, m = self.lengths.n, self.lengths.mean
        if n == 0:
            return 0.0, 0.0
        mean = self.total / n
        rest = float(mean @ mean) * n
        mean += m * self.reference
        return float(mean @ mean), max(self.lengths.scatter + m * self.length_spread - rest, 0.0)

    def directions(self) -> Directions:
        """Those of the group."""
        return self._directions(
            self.weight, self.spread, self.sums, np.zeros_like(self.weight), self.weight, self.previous
        )

    def part_of_directions(self, n_of_blocks: Floats) -> Directions:
        """The group's part of the directions of the whole gradient, of which the blocks have so many."""
        spread = self.excess2 + self.share * self.share_spread
        shares = self.shares(n_of_blocks)
        return self._directions(
            n_of_blocks, spread, self.share_sums, self.excess, shares, self.share_previous
        )

    def _directions(
        self, n: Floats, spread: Floats, sums: Floats, excess: Floats, weight: Floats, previous: Floats | None
    ) -> Directions:
        """From `sums` of w t: with `excess` times c they are centred, with `weight` times c full."""
        gram, along = sums @ sums.T, sums @ self.reference
        resultant = sums.sum(axis=0)
        resultant += weight.sum() * self.reference
        grams = shifted(gram, along, excess), shifted(gram, along, weight)
        earlier = np.zeros(self.dim) if previous is None else previous
        return Directions(self.dim, n, spread, *grams, [resultant], [earlier])

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all sums, as plain arrays."""
        state = {name: np.array(getattr(self, name)) for name in (*self.SCALARS, *self.BLOCKS)}
        state["lengths"] = np.array(self.lengths.state())
        state |= {name: getattr(self, name).copy() for name in self.ARRAYS if getattr(self, name) is not None}
        if self.shape is not None:
            state["shape"] = np.array(self.shape, dtype=np.int64)
        return state

    @classmethod
    def from_state(cls, name: str, state: dict[str, NDArray[Any]], n_blocks: int, is_part: bool) -> Group:
        """The group of a `state_dict`.

        Raises
        ------
        ValueError
            If an entry is missing, or has another shape than the others say.
        """
        if missing := {*cls.SCALARS, *cls.BLOCKS, "lengths"} - set(state):
            must, remedy = "have all entries of a group", "save the whole"
            raise ValueError(message(name, must, f"none of {sorted(missing)}", remedy))
        shape = tuple(map(int, state["shape"])) if "shape" in state else None
        group = cls(n_blocks, is_part, shape)
        group.n_zero, group.has_reference = int(state["n_zero"]), bool(state["has_reference"])
        group.length_spread, group.share = float(state["length_spread"]), float(state["share"])
        group.lengths = Lengths.from_state(state["lengths"])
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(cls.BLOCKS, (n_blocks,))
        shapes |= {key: np.shape(getattr(group, key)) for key in cls.ARRAYS[:4]}
        shapes |= {key: (group.dim,) for key in cls.ARRAYS[4:] if key in state}
        for key, wanted in shapes.items():
            array = float_array(f"{name}.{key}", state.get(key), wanted, finite=False)
            setattr(group, key, array.copy())
        return group


def shifted(gram: Floats, along: Floats, weight: Floats) -> Floats:
    """Gram matrix of sums that have `weight` times a unit vector added; `along` is their part along it."""
    return gram + np.outer(along, weight) + np.outer(weight, along) + np.outer(weight, weight)


def norm(parts: list[Floats]) -> float:
    """Of a vector in parts."""
    return math.sqrt(sum(float(part @ part) for part in parts))


def angle(one: list[Floats], other: list[Floats]) -> float:
    """Between unit vectors in parts, in radians, to full relative accuracy near 0 and near pi (Kahan)."""
    apart = [a - b for a, b in zip(one, other, strict=True)]
    together = [a + b for a, b in zip(one, other, strict=True)]
    return 2.0 * math.atan2(norm(apart), norm(together))
