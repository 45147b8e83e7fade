"""Statistics of directions that are streamed in and merged: concentration, interval, test."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _checkpoint, kernels
from .._config import backend_name
from .._errors import message
from .._validation import choice, float_array, integer
from ..kernels.contract import MAX_FOLDS, DirectionBatch
from . import estimators
from ._series import Floats
from .directions import LEAST, MOST, Directions, chunk_rows, entry_rows, is_sparse, refuse, unit_directions
from .fold_sums import FoldSums, shifted

MANY = 8  # directions per fold from which on a copy of the sums is small beside the directions
# Lengths that `assume_unit` accepts as 1: rounding in the dtype of the rows, in many dimensions.
UNIT_TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}
MAX_WEIGHT = 1e100  # its square can still be summed
VERSION = 2

Estimator = Literal["mle", "banerjee", "unbiased", "marginal"]
IntervalMethod = Literal["jackknife", "score"]
UniformityTest = Literal["signflip", "isotropic"]
ZeroRows = Literal["raise", "drop"]


class DirectionStats:
    """Mergeable statistics of unit vectors, given as rows of any length but zero.

    It accumulates in float64 and holds ``8 (n_folds + 1) dim`` bytes, whatever the number of rows: a
    reference direction, and the sums of each fold, which `refsgd.directional.fold_sums` defines.

    Parameters
    ----------
    dim : int
        Dimension of the space, at least 2.
    n_folds : int
        Folds to which directions are dealt in turn, 1 to 20. The jackknife needs 3, the sign-flip test 2.

    Attributes
    ----------
    n : int
        Directions added.
    n_zero : int
        Rows dropped because they are zero.

    See Also
    --------
    refsgd.DirectionMonitor : the same for minibatch gradients, whole or layer by layer.
    refsgd.VonMisesFisher.fit : a distribution to score with or to draw from.
    refsgd.vmf : functions of kappa and of the mean resultant length.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows = rng.normal(size=(1000, 3)) + [2.0, 0.0, 0.0]
    >>> stats = DirectionStats(3)
    >>> stats.update(rows)
    >>> round(stats.mean_resultant_length, 3)
    0.751
    >>> round(stats.concentration("unbiased"), 2)
    4.01
    >>> half, other = DirectionStats(3), DirectionStats(3)
    >>> half.update(rows[:500])
    >>> other.update(rows[500:])
    >>> bool(np.isclose((half + other).one_minus_r, stats.one_minus_r, rtol=1e-13))
    True
    >>> stats
    <DirectionStats of 1000 directions, dim=3, n_folds=16, mean_resultant_length=0.751>
    """

    def __init__(self, dim: int, n_folds: int = 16) -> None:
        self.dim = integer("dim", dim, 2)
        self.n_folds = checked_folds(n_folds)
        self.n = 0
        self.n_zero = 0
        self._sums = FoldSums.zeros(self.n_folds, np.zeros(self.dim))

    def __repr__(self) -> str:
        zero = f" ({self.n_zero} zero rows dropped)" if self.n_zero else ""
        r = f", mean_resultant_length={self.mean_resultant_length:.3g}" if self.n else ""
        return f"<DirectionStats of {self.n} directions{zero}, dim={self.dim}, n_folds={self.n_folds}{r}>"

    def update(
        self,
        rows: Any,
        weights: ArrayLike | None = None,
        zero: ZeroRows = "raise",
        *,
        assume_unit: bool = False,
    ) -> None:
        """Add the directions of rows.

        Rows are read from memory once if a few of them fit into cache, else twice. It takes fewer operations
        while the directions so far are spread out than when all are close to the first.

        Parameters
        ----------
        rows : (n, dim) or (dim,) array_like of float32 or float64, or (n, dim) scipy.sparse matrix or array
            One direction per row, or one direction, in any units. Sparse rows are not made dense.
        weights : (n,) array_like of float32 or float64, optional
            Positive weights of the rows; 1 by default.
        zero : {"raise", "drop"}
            Whether to refuse rows that are zero, and so have no direction, or to drop and count them.
        assume_unit : bool
            Rows are unit vectors up to rounding: 1e-12 in float64, 1e-5 in float32. This is checked, and they
            are not divided by their lengths.

        Raises
        ------
        TypeError
            If a dtype is neither float32 nor float64.
        ValueError
            If a shape does not fit, an entry is not finite, a weight is not positive, a row is zero and
            ``zero="raise"``, or its length is not 1 with `assume_unit`. Then nothing has been added.

        See Also
        --------
        merge : add the directions of other statistics.

        Examples
        --------
        >>> stats = DirectionStats(2)
        >>> stats.update([[3.0, 4.0], [0.0, 0.0], [-1.0, 0.0]], weights=[2.0, 1.0, 1.0], zero="drop")
        >>> stats.n, stats.n_zero
        (2, 1)
        """
        choice("zero", zero, get_args(ZeroRows))
        given = Directions.of(rows if is_sparse(rows) else np.atleast_2d(rows), self.dim)
        w = None if weights is None else checked_weights(weights, len(given))
        if given.is_sparse or not self._add_in_chunks(given.vectors, w, assume_unit):
            self._add_checked(given, w, zero, assume_unit)

    def _add_in_chunks(self, rows: NDArray[Any], w: Floats | None, is_unit: bool) -> bool:
        """Add many rows in one pass; False, and nothing changed, if they are few or one does not fit."""
        chunk = chunk_rows(rows.itemsize * self.dim, self.n_folds)
        if len(rows) <= chunk or len(rows) < MANY * self.n_folds:
            return False
        n, before, tolerance = self.n, [array.copy() for array in self._sums], UNIT_TOLERANCE[rows.dtype]
        least, most = ((1.0 - tolerance) ** 2, (1.0 + tolerance) ** 2) if is_unit else (LEAST, MOST)
        square, fold = np.empty(len(rows)), self.n % self.n_folds
        if self._add(DirectionBatch(rows, w, square, least, most, is_unit, chunk, fold)):
            return True
        self.n = n
        for array, old in zip(self._sums, before, strict=True):
            array[...] = old
        return False

    def _add_checked(self, given: Directions, w: Floats | None, zero: ZeroRows, is_unit: bool) -> None:
        """Add rows after checking all of them."""
        n, is_kept, are_fit = len(given), None, not given.out_of_range.any()
        if not are_fit:
            size = given.largest
            if not np.isfinite(size).all():
                refuse("rows", "be finite", ~np.isfinite(size), "remove them")
            if zero == "drop":
                is_kept = size > 0.0
            elif not (is_unit or size.all()):
                refuse("rows", "have a direction", size == 0.0, 'remove zero rows or pass zero="drop"')
        if is_unit:
            tolerance = UNIT_TOLERANCE[given.vectors.dtype]
            given.check_unit(tolerance, "drop them or leave out assume_unit", which=is_kept)
        if is_kept is not None:
            given, w = given.select(is_kept), None if w is None else w[is_kept]
        if given.is_sparse:
            self._add_sparse(given.vectors, w, is_unit)
        elif len(given):
            given = given if are_fit or is_unit else given.within_range()
            # The first direction of each fold lets the kernel add the others in fewer operations.
            cut = self.n_folds if self.n == 0 else len(given)
            for part in (slice(cut), slice(cut, None)):
                rows, weights, fold = (
                    given.vectors[part],
                    None if w is None else w[part],
                    self.n % self.n_folds,
                )
                if len(rows):
                    square = given.squares[part]
                    self._add(DirectionBatch(rows, weights, square, 0.0, np.inf, is_unit, 0, fold))
        self.n_zero += n - len(given)

    def _add(self, batch: DirectionBatch) -> bool:
        """Add a batch by the kernel; False, with some of it added, if a square is out of bounds."""
        if self.n == 0:
            first = batch.rows[:1]
            with np.errstate(divide="ignore", invalid="ignore"):
                scale = 1.0 if batch.is_unit else 1.0 / np.sqrt(Directions(first).squares)
                self._sums.reference[:] = first[0] * scale
        is_fit = kernels.load(backend_name()).directions(batch, self._sums)
        self.n += len(batch.rows)
        return is_fit

    def _add_sparse(self, rows: Any, w: Floats | None, is_unit: bool) -> None:
        """Add CSR rows. Where an entry is not stored, ``u - c`` is ``-c``, added once for all such rows.

        Weights are added in the same order with and without entries, so their difference is exactly 0 in
        columns that all rows store.
        """
        rows = rows.astype(np.float64)
        if not is_unit:
            rows, _ = unit_directions(rows)
        n, k, sums = rows.shape[0], self.n_folds, self._sums
        if self.n == 0:
            sums.reference[:] = rows[:1].sum(axis=0)
        w, c = np.ones(n) if w is None else w, sums.reference
        for j, fold in enumerate(sums.folds_from(self.n % k)[:n]):
            weight, members = w[j::k], rows[j::k]
            of_entries, columns = weight[entry_rows(members)], members.indices
            added = np.add.accumulate(weight)[-1]
            off = members.data - c[columns]
            absent = added - np.bincount(columns, of_entries, self.dim)
            sums.sums[fold] += np.bincount(columns, of_entries * off, self.dim) - absent * c
            sums.sq_distance[fold] += of_entries @ (off * off) + absent @ (c * c)
            sums.weight[fold] += added
            sums.weight2[fold] += weight @ weight
        self.n += n

    def merge(self, other: DirectionStats) -> None:
        """Add the directions of `other`, as if they had been streamed in after those already here.

        Parameters
        ----------
        other : DirectionStats
            Statistics with the same `dim` and `n_folds`; they are not changed.

        Raises
        ------
        TypeError
            If `other` is something else.
        ValueError
            If `other` has another `dim` or `n_folds`.

        See Also
        --------
        update : add directions given as rows.

        Examples
        --------
        >>> stats, other = DirectionStats(2), DirectionStats(2)
        >>> other.update([0.0, 1.0])
        >>> stats.merge(other)
        >>> stats.n
        1
        """
        if not isinstance(other, DirectionStats):
            got = type(other).__name__
            raise TypeError(message("other", "be a DirectionStats", got, "update with rows instead"))
        for name in ("dim", "n_folds"):
            own, its = getattr(self, name), getattr(other, name)
            if own != its:
                raise ValueError(
                    message(f"other.{name}", f"be {own}", its, "merge statistics of the same kind")
                )
        if other is self:
            other = copy.deepcopy(other)
        if self.n == 0:
            self._sums.reference[:] = other._sums.reference
        self._sums.merge(other._sums, self.n % self.n_folds)
        self.n += other.n
        self.n_zero += other.n_zero

    def __add__(self, other: DirectionStats) -> DirectionStats:
        total = copy.deepcopy(self)
        total.merge(other)
        return total

    @property
    def effective_n(self) -> float:
        """``sum(w)**2 / sum(w**2)``, which is n for equal weights."""
        self._need(1)
        return float(self._sums.weight.sum() ** 2 / self._sums.weight2.sum())

    @property
    def mean_direction(self) -> Floats:
        """Unit vector (dim,) along the mean direction; NaN where the directions cancel exactly."""
        self._need(1)
        resultant = self._sums.resultant()
        with np.errstate(invalid="ignore"):
            return resultant / np.linalg.norm(resultant)

    @property
    def mean_resultant_length(self) -> float:
        """r, the length of the mean of the unit vectors, in [0, 1]."""
        self._need(1)
        return self._sums.mean_resultant_length()

    @property
    def one_minus_r(self) -> float:
        """1 - r to full relative accuracy, down to the rounding of the rows."""
        self._need(1)
        return self._sums.one_minus_r()

    def concentration(self, estimator: Estimator = "mle") -> float:
        """Estimate the concentration kappa of the von Mises-Fisher distribution.

        Parameters
        ----------
        estimator : {"mle", "banerjee", "unbiased", "marginal"}
            See :mod:`refsgd.directional.estimators`. With fewer directions than dimensions, the first two
            mostly measure the number of directions; the last two do not.

        Returns
        -------
        float
            kappa, in [0, inf]; inf if all directions are equal.

        Raises
        ------
        ValueError
            If there are fewer than 2 directions.

        See Also
        --------
        interval : how accurate it is.

        Examples
        --------
        >>> stats = DirectionStats(3)
        >>> stats.update(np.eye(3))
        >>> round(stats.concentration(), 3), stats.concentration("unbiased")
        (2.246, 0.0)
        """
        choice("estimator", estimator, get_args(Estimator))
        self._need(2)
        r, b = self.mean_resultant_length, self.one_minus_r
        if estimator in ("mle", "banerjee"):
            return float(getattr(estimators, estimator)(r, self.dim, b))
        return float(getattr(estimators, estimator)(r, self.dim, self.effective_n, b))

    def interval(self, level: float = 0.95, method: IntervalMethod = "jackknife") -> tuple[float, float]:
        """Confidence interval of the concentration, about its unbiased estimate.

        Parameters
        ----------
        level : float
            Intended coverage, between 0 and 1.
        method : {"jackknife", "score"}
            The jackknife over folds holds for directions of any law and needs 3 of them; the score interval
            is shorter, needs 2, and holds only for directions that are isotropic about their mean.

        Returns
        -------
        low, high : float

        Raises
        ------
        ValueError
            If there are too few directions or folds, or `level` is not between 0 and 1.

        See Also
        --------
        concentration : the estimate; ``"unbiased"`` belongs to this interval.

        Examples
        --------
        >>> stats = DirectionStats(3)
        >>> stats.update(np.random.default_rng(0).normal(size=(100, 3)) + [2.0, 0.0, 0.0])
        >>> [round(end, 2) for end in stats.interval()]
        [2.88, 4.88]
        """
        if choice("method", method, get_args(IntervalMethod)) == "score":
            self._need(2)
            r, b = self.mean_resultant_length, self.one_minus_r
            return estimators.score_interval(r, self.dim, self.effective_n, level, b)
        self._need(3)
        _, _, weight, weight2, sq_distance = self._sums
        gram = self._sums.gram()
        return estimators.jackknife_interval(gram, weight, weight2, sq_distance, self.dim, level)

    def uniformity_pvalue(self, method: UniformityTest = "signflip") -> float:
        """P-value of the hypothesis that the directions have no mean.

        Parameters
        ----------
        method : {"signflip", "isotropic"}
            Flipping the signs of the folds' sums holds for any covariance and needs 2 directions; the
            isotropic test has more power, needs 3, and holds only where no mean implies uniform directions.

        Returns
        -------
        float
            In (0, 1]; small if there is a mean direction.

        Raises
        ------
        ValueError
            If there are too few directions or folds.

        See Also
        --------
        refsgd.directional.estimators.signflip_uniformity, refsgd.directional.estimators.isotropic_uniformity

        Examples
        --------
        >>> stats = DirectionStats(3)
        >>> stats.update(np.random.default_rng(0).normal(size=(100, 3)))
        >>> stats.uniformity_pvalue() > 0.05
        True
        """
        if choice("method", method, get_args(UniformityTest)) == "isotropic":
            self._need(3)
            return estimators.isotropic_uniformity(self.mean_resultant_length, self.dim, self.effective_n)
        self._need(2)
        sums = self._sums
        return estimators.signflip_uniformity(shifted(sums.gram(), sums.along(), sums.weight))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copy of the complete state as plain arrays.

        Returns
        -------
        dict of str to ndarray
            For example for ``np.savez``.

        See Also
        --------
        load_state_dict : continue from it.

        Examples
        --------
        >>> sorted(DirectionStats(3).state_dict())
        ['n', 'n_zero', 'reference', 'sq_distance', 'sums', 'version', 'weight', 'weight2']
        """
        counters = {"version": np.array(VERSION), "n": np.array(self.n), "n_zero": np.array(self.n_zero)}
        return counters | {name: array.copy() for name, array in self._sums._asdict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the state by one with the same `dim` and `n_folds`.

        Parameters
        ----------
        state : mapping of str to array
            What `state_dict` returned.

        Raises
        ------
        ValueError
            If `state` is of another version, incomplete, of other shapes, or impossible. The statistics then
            stay as they were.

        See Also
        --------
        state_dict : save the state.

        Examples
        --------
        >>> stats, other = DirectionStats(3), DirectionStats(3)
        >>> stats.update(np.eye(3))
        >>> other.load_state_dict(stats.state_dict())
        >>> other.n
        3
        """
        arrays = _checkpoint.load(state, self.state_dict(), ())
        for name in ("n", "n_zero", "weight", "weight2", "sq_distance"):
            if (arrays[name] < 0).any():
                remedy = "pass what state_dict() returned"
                raise ValueError(
                    message(f"{name} of state", "be 0 or more", f"{arrays[name].min():g}", remedy)
                )
        for name, own in self._sums._asdict().items():
            float_array(f"{name} of state", arrays[name], own.shape)
        for name, own in self._sums._asdict().items():
            own[...] = arrays[name]
        self.n, self.n_zero = int(arrays["n"]), int(arrays["n_zero"])

    def _need(self, least: int) -> None:
        if self.n < least:
            raise ValueError(message("n", f"be at least {least}", self.n, "update with more rows"))


def checked_folds(n_folds: int) -> int:
    """`n_folds` from 1 to `MAX_FOLDS`."""
    n_folds = integer("n_folds", n_folds, 1)
    if n_folds > MAX_FOLDS:
        raise ValueError(message("n_folds", f"be at most {MAX_FOLDS}", n_folds, "use fewer folds"))
    return n_folds


def checked_weights(weights: ArrayLike, n: int) -> Floats:
    """`weights` (n,) as positive float64 whose squares can be summed."""
    w = float_array("weights", np.atleast_1d(weights), (n,)).astype(np.float64, copy=False)
    if (w <= 0.0).any():
        refuse("weights", "be positive", w <= 0.0, "leave out the rows that should not count")
    if (bad := (w < 1.0 / MAX_WEIGHT) | (w > MAX_WEIGHT)).any():
        refuse("weights", f"be within {1.0 / MAX_WEIGHT:g} and {MAX_WEIGHT:g}", bad, "rescale them all")
    return w
