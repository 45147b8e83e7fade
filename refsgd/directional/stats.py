r"""Sufficient statistics of directions that rows can be streamed into and that merge exactly.

With a reference direction c, the first row, they are ``S = sum w (u - c)`` and ``Q = sum w |u - c|**2``.
Then ``W**2 (1 - r**2) = W Q - |S|**2`` where ``W = sum w``: nothing cancels when all rows are nearly equal,
so 1 - r, and with it a large concentration, is known to full relative accuracy where ``sum w u`` alone has
lost it below 1e-10. All are kept by block, row i in block i mod k, which is what the jackknife and the
sign-flip test are made from.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import kernels
from .._config import backend_name
from .._errors import message
from .._validation import choice, float_array, integer
from . import estimators
from ._series import Floats
from .directions import (
    LEAST,
    MOST,
    check_unit,
    checked_rows,
    chunk_rows,
    entry_rows,
    is_sparse,
    largest,
    refuse,
    squares,
    unit_rows,
    within_range,
)

MAX_BLOCKS = 20  # the sign-flip test tries 2**(n_blocks - 1) sign vectors
MANY = 8  # rows of each block from which on a copy of the sums is small beside the rows
# Lengths that `assume_unit` takes for 1: what is rounded in the dtype of the rows, in many dimensions.
UNIT_TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}
MAX_WEIGHT = 1e100  # whose square can be summed
VERSION = 1

Estimator = Literal["mle", "banerjee", "unbiased", "marginal"]


class DirectionStats:
    """Mergeable statistics of unit vectors, given as rows of any length that is not zero.

    Everything is accumulated in float64. ``8 (n_blocks + 1) dim`` bytes are held whatever the number of
    rows (the reference direction and the block sums).

    Parameters
    ----------
    dim : int
        Dimension of the space, at least 2.
    n_blocks : int
        Blocks that rows are dealt to in turn, 1 to 20. Intervals by jackknife need 3, the sign-flip test 2.

    Attributes
    ----------
    n : int
        Rows taken in.
    n_zero : int
        Rows dropped as they had no direction.

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
    """

    def __init__(self, dim: int, n_blocks: int = 16) -> None:
        self.dim = integer("dim", dim, 2)
        self.n_blocks = integer("n_blocks", n_blocks, 1)
        if n_blocks > MAX_BLOCKS:
            raise ValueError(message("n_blocks", f"be at most {MAX_BLOCKS}", n_blocks, "use fewer blocks"))
        self.n = 0
        self.n_zero = 0
        self._reference = np.zeros(self.dim)
        self._sums = np.zeros((self.n_blocks, self.dim))
        self._weight, self._weight2, self._spread = np.zeros((3, self.n_blocks))

    def update(
        self,
        rows: Any,
        weights: ArrayLike | None = None,
        zero: Literal["raise", "drop"] = "raise",
        *,
        assume_unit: bool = False,
    ) -> None:
        """Take in rows.

        Rows are read once from memory while a few of them fit into cache, else twice. Where the rows so far
        are spread out sums take fewer operations than where all are close to the first.

        Parameters
        ----------
        rows : (n, dim) or (dim,) array_like of float32 or float64, or (n, dim) scipy.sparse matrix or array
            One direction a row, or one direction, in any units. Sparse rows are not made dense.
        weights : (n,) array_like of float32 or float64, optional
            Positive weights of the rows; 1 by default.
        zero : {"raise", "drop"}
            What to do about rows that are zero and so have no direction: refuse them, or drop and count them.
        assume_unit : bool
            Rows are unit vectors but for rounding, 1e-12 in float64 and 1e-5 in float32. That is checked, and
            they are not divided by their lengths.

        Raises
        ------
        TypeError
            If a dtype is neither float32 nor float64.
        ValueError
            If a shape does not fit, an entry is not finite, a weight is not positive, a row is zero under
            ``zero="raise"``, or of another length than 1 under `assume_unit`. Nothing has been taken in then.
        """
        choice("zero", zero, ("raise", "drop"))
        if not is_sparse(rows):
            rows = np.atleast_2d(rows)
        rows = checked_rows("rows", rows, self.dim)
        n = rows.shape[0]
        if weights is not None:
            weights = float_array("weights", np.atleast_1d(weights), (n,)).astype(np.float64, copy=False)
            if (weights <= 0.0).any():
                refuse("weights", "be positive", weights <= 0.0, "leave out the rows that should not count")
            if (bad := (weights < 1.0 / MAX_WEIGHT) | (weights > MAX_WEIGHT)).any():
                refuse(
                    "weights", f"be within {1.0 / MAX_WEIGHT:g} and {MAX_WEIGHT:g}", bad, "rescale them all"
                )
        if is_sparse(rows) or not self._take_in_chunks(rows, weights, assume_unit):
            self._take_in_checked(rows, weights, zero, assume_unit)

    def _take_in_chunks(self, rows: NDArray[Any], w: Floats | None, is_unit: bool) -> bool:
        """Add many rows in one pass; False if these are few or one does not fit, and nothing has changed."""
        chunk = chunk_rows(rows.itemsize * self.dim, self.n_blocks)
        if len(rows) <= chunk or len(rows) < MANY * self.n_blocks:
            return False
        before, tolerance = self.state_dict(), UNIT_TOLERANCE[rows.dtype]
        bounds = ((1.0 - tolerance) ** 2, (1.0 + tolerance) ** 2) if is_unit else (LEAST, MOST)
        if self._add(rows, np.empty(len(rows)), w, is_unit, chunk, bounds):
            return True
        self.load_state_dict(before)
        return False

    def _take_in_checked(
        self, rows: Any, w: Floats | None, zero: Literal["raise", "drop"], is_unit: bool
    ) -> None:
        """Add rows after all have been looked at."""
        square = squares(rows)
        is_kept = np.ones(len(square), bool)
        if not ((square >= LEAST) & (square <= MOST)).all():
            size = largest(rows)
            if not np.isfinite(size).all():
                refuse("rows", "be finite", ~np.isfinite(size), "remove them")
            if zero == "drop":
                is_kept = size > 0.0
            elif not (is_unit or size.all()):
                refuse("rows", "have a direction", size == 0.0, 'remove zero rows or pass zero="drop"')
        if is_unit:
            remedy = "drop them or leave out assume_unit"
            check_unit("rows", np.where(is_kept, square, 1.0), UNIT_TOLERANCE[rows.dtype], remedy)
        if not is_kept.all():
            rows, w, square = rows[is_kept], None if w is None else w[is_kept], square[is_kept]
        if is_sparse(rows):
            self._add_sparse(rows, w, is_unit)
        elif len(rows):
            if not is_unit:
                rows, square = within_range(rows, square)
            cut = self.n_blocks if self.n == 0 else 0  # these let the kernel be quick with the rest
            for part in (slice(cut), slice(cut, None)):
                if len(rows[part]):
                    self._add(rows[part], square[part], None if w is None else w[part], is_unit)
        self.n_zero += len(is_kept) - rows.shape[0]

    def _add(
        self,
        rows: NDArray[Any],
        square: Floats,
        w: Floats | None,
        is_unit: bool,
        chunk: int = 0,
        bounds: tuple[float, float] = (0.0, np.inf),
    ) -> bool:
        """Add rows by the kernel; False if a square is out of bounds, and the state is half way then."""
        if self.n == 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                self._reference[:] = rows[0] * (1.0 if is_unit else 1.0 / np.sqrt(squares(rows[:1])))
        directions = kernels.load(backend_name()).directions
        totals = self._reference, self._sums, self._weight, self._weight2, self._spread
        do_fit = directions(rows, w, square, *bounds, is_unit, chunk, self.n % self.n_blocks, *totals)
        self.n += len(rows)
        return do_fit

    def _add_sparse(self, rows: Any, w: Floats | None, is_unit: bool) -> None:
        """Add CSR rows: where an entry is not held, ``u - c`` is ``-c``, once for all rows without it.

        Weights are added in the same order with and without entries, so that their difference is exactly 0
        in columns that all rows hold.
        """
        rows = rows.astype(np.float64)
        if not is_unit:
            rows, _ = unit_rows(rows)
        n, k = rows.shape[0], self.n_blocks
        if self.n == 0:
            self._reference[:] = rows[:1].sum(axis=0)
        w = np.ones(n) if w is None else w
        for j in range(min(n, k)):
            block, of_rows = (self.n + j) % k, rows[j::k]
            weight, c = w[j::k], self._reference
            of_entries, columns = weight[entry_rows(of_rows)], of_rows.indices
            added = np.add.accumulate(weight)[-1]
            off = of_rows.data - c[columns]
            absent = added - np.bincount(columns, of_entries, self.dim)
            self._sums[block] += np.bincount(columns, of_entries * off, self.dim) - absent * c
            self._spread[block] += of_entries @ (off * off) + absent @ (c * c)
            self._weight[block] += added
            self._weight2[block] += weight @ weight
        self.n += n

    def merge(self, other: DirectionStats) -> None:
        """Take in the rows of `other`, as if they had been streamed after the own ones.

        About the own reference a, block sums about b become ``S + W (b - a)`` and their spread
        ``Q + 2 (b - a) @ S + W |b - a|**2``.

        Raises
        ------
        TypeError
            If `other` is something else.
        ValueError
            If `other` has another `dim` or `n_blocks`.
        """
        if not isinstance(other, DirectionStats):
            got = type(other).__name__
            raise TypeError(message("other", "be a DirectionStats", got, "update with rows instead"))
        for name in ("dim", "n_blocks"):
            own, its = getattr(self, name), getattr(other, name)
            if own != its:
                raise ValueError(
                    message(f"other.{name}", f"be {own}", its, "merge statistics of the same kind")
                )
        if other is self:
            other = copy.deepcopy(other)
        if self.n == 0:
            self._reference[:] = other._reference
        shift = other._reference - self._reference
        for b in range(self.n_blocks):
            own, w = (self.n + b) % self.n_blocks, other._weight[b]
            self._spread[own] += other._spread[b] + 2.0 * (shift @ other._sums[b]) + w * (shift @ shift)
            self._sums[own] += other._sums[b]
            self._sums[own] += w * shift
            self._weight[own] += w
            self._weight2[own] += other._weight2[b]
        self.n += other.n
        self.n_zero += other.n_zero

    def __add__(self, other: DirectionStats) -> DirectionStats:
        total = copy.deepcopy(self)
        total.merge(other)
        return total

    @property
    def effective_n(self) -> float:
        """``sum(w)**2 / sum(w**2)``, which is n for equal weights."""
        self._need_rows(1)
        return float(self._weight.sum() ** 2 / self._weight2.sum())

    @property
    def mean_direction(self) -> Floats:
        """Unit vector (dim,) along the mean of the rows; NaN where they cancel exactly."""
        self._need_rows(1)
        resultant = self._resultant()
        with np.errstate(invalid="ignore"):
            return resultant / np.linalg.norm(resultant)

    @property
    def mean_resultant_length(self) -> float:
        """r = length of the mean of the unit rows, in [0, 1]."""
        self._need_rows(1)
        return float(np.minimum(np.linalg.norm(self._resultant()) / self._weight.sum(), 1.0))

    @property
    def one_minus_r(self) -> float:
        """1 - r to full relative accuracy, down to the rounding of the rows."""
        self._need_rows(1)
        shifted = self._sums.sum(axis=0)
        w = self._weight.sum()
        one_minus_r2 = np.maximum(w * self._spread.sum() - shifted @ shifted, 0.0) / w**2
        return float(np.minimum(one_minus_r2, 1.0)) / (1.0 + self.mean_resultant_length)

    def concentration(self, estimator: Estimator = "mle") -> float:
        """Estimate of the concentration kappa of the von Mises-Fisher distribution.

        Parameters
        ----------
        estimator : {"mle", "banerjee", "unbiased", "marginal"}
            See :mod:`refsgd.directional.estimators`. With fewer rows than dimensions the first two mostly
            measure the number of rows; the last two do not.

        Raises
        ------
        ValueError
            If there are fewer than 2 rows.
        """
        choice("estimator", estimator, ("mle", "banerjee", "unbiased", "marginal"))
        self._need_rows(2)
        r, b = self.mean_resultant_length, self.one_minus_r
        if estimator in ("mle", "banerjee"):
            return float(getattr(estimators, estimator)(r, self.dim, b))
        return float(getattr(estimators, estimator)(r, self.dim, self.effective_n, b))

    def interval(
        self, level: float = 0.95, method: Literal["jackknife", "score"] = "jackknife"
    ) -> tuple[float, float]:
        """Confidence interval of the concentration, about its unbiased estimate.

        Parameters
        ----------
        level : float
            Coverage aimed at, between 0 and 1.
        method : {"jackknife", "score"}
            The jackknife over blocks holds for directions of any law and needs 3 rows; the score interval is
            shorter, needs 2 rows, and holds only for directions that are isotropic about their mean.

        Raises
        ------
        ValueError
            If there are too few rows or blocks, or `level` is not between 0 and 1.
        """
        if choice("method", method, ("jackknife", "score")) == "score":
            self._need_rows(2)
            r, b = self.mean_resultant_length, self.one_minus_r
            return estimators.score_interval(r, self.dim, self.effective_n, level, b)
        self._need_rows(3)
        gram = self._sums @ self._sums.T
        return estimators.jackknife_interval(gram, self._weight, self._weight2, self._spread, self.dim, level)

    def uniformity_pvalue(self, method: Literal["signflip", "isotropic"] = "signflip") -> float:
        """P-value of the hypothesis that the directions have no mean.

        Parameters
        ----------
        method : {"signflip", "isotropic"}
            Sign flips of block sums hold for any covariance and need 2 rows; the isotropic test has more
            power, needs 3 rows, and holds only where no mean means uniform directions.

        Raises
        ------
        ValueError
            If there are too few rows or blocks.
        """
        if choice("method", method, ("signflip", "isotropic")) == "isotropic":
            self._need_rows(3)
            return estimators.isotropic_uniformity(self.mean_resultant_length, self.dim, self.effective_n)
        self._need_rows(2)
        w, along = self._weight, self._sums @ self._reference
        gram = self._sums @ self._sums.T + np.outer(along, w) + np.outer(w, along) + np.outer(w, w)
        return estimators.signflip_uniformity(gram)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copy of the whole state as plain arrays."""
        return {
            "version": np.array(VERSION),
            "n": np.array(self.n),
            "n_zero": np.array(self.n_zero),
            "reference": self._reference.copy(),
            "sums": self._sums.copy(),
            "weight": self._weight.copy(),
            "weight2": self._weight2.copy(),
            "spread": self._spread.copy(),
        }

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Replace the state by one of the same `dim` and `n_blocks`.

        Raises
        ------
        ValueError
            If an entry is missing, is not what `state_dict` gives, or of another shape or version. The
            statistics stay as they were then.
        """
        if state.get("version") != VERSION:
            raise ValueError(
                message("state", f"have version {VERSION}", state.get("version"), "save it anew")
            )
        if missing := {*self.state_dict()} - {*state}:
            raise ValueError(message("state", "be whole", f"no {sorted(missing)}", "save it anew"))
        n, n_zero = (integer(f'state["{name}"]', np.asarray(state[name])[()], 0) for name in ("n", "n_zero"))
        k = self.n_blocks
        shapes = {
            "reference": (self.dim,),
            "sums": (k, self.dim),
            "weight": (k,),
            "weight2": (k,),
            "spread": (k,),
        }
        arrays = {name: float_array(f'state["{name}"]', state[name], shape) for name, shape in shapes.items()}
        for name in ("weight", "weight2", "spread"):
            if (arrays[name] < 0.0).any():
                got = f"{arrays[name].min():g}"
                raise ValueError(message(f'state["{name}"]', "be 0 or more", got, "save it anew"))
        for name, array in arrays.items():
            getattr(self, f"_{name}")[...] = array
        self.n, self.n_zero = n, n_zero

    def _resultant(self) -> Floats:
        """``sum w u``, of shape (dim,)."""
        return self._sums.sum(axis=0) + self._weight.sum() * self._reference

    def _need_rows(self, least: int) -> None:
        if self.n < least:
            raise ValueError(message("n", f"be at least {least}", self.n, "update with more rows"))
