"""Linear models learnt online, with the curvature that a linear model has in closed form.

For a loss ``l(x @ theta, y)`` the Hessian of a sample is ``l'' x x^T``. Its diagonal is no safe curvature
when many coordinates move at once, but its row sums are: for any positive scales s, the matrix
``diag(sum_k |H_ik| s_i/s_k)`` is at least H. With s the root mean square of each feature's entries, the
model does not depend on the units of any feature, and no probe is needed. For losses of a residual the
intercept starts at the first target, so the origin of y does not matter either. Each parameter has one record
of 8 numbers. One step is `refsgd.kernels.linear_numpy.linear`, an equation a line; docs/linear.md derives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .. import _checkpoint, kernels
from .._config import BackendName, backend_name
from .._errors import message
from .._memory import aligned_zeros
from .._validation import choice, float_array, has_rising_indptr, integer
from ..kernels import contract, linear_numpy
from ..kernels.contract import Csr, LinearRule, LinearState
from .losses import LOSSES, LossName

CHUNK = 2**21  # entries learnt between two checks for Ctrl-C: some tens of milliseconds
VERSION = 1


class Samples(NamedTuple):
    """Samples that have been checked: what :meth:`LinearModel.checked` returns."""

    shape: tuple[int, int]
    csr: Csr
    is_canonical: bool  #: whether the columns rise in each row


def checked_samples(X: Any, dim: int, dtype: np.dtype[Any], backend: str) -> Samples:
    """:meth:`LinearModel.checked` for models that need not exist yet."""
    if isinstance(X, Samples | sparse.csr_array | sparse.csr_matrix) and X.shape[1] != dim:
        remedy = "pass as many features as the model has, or let it grow"
        raise ValueError(message("X", f"have shape (n, {dim})", X.shape, remedy))
    if isinstance(X, Samples):
        if X.csr.data.dtype != dtype:
            raise TypeError(message("X", f"be samples checked in {dtype}", X.csr.data.dtype, "check X again"))
        return X
    indptr = indices = None
    if isinstance(X, sparse.csr_array | sparse.csr_matrix):
        index_type = X.indices.dtype if X.indices.dtype in (np.int32, np.int64) else np.int64
        indices = np.ascontiguousarray(X.indices, index_type)
        indptr = np.ascontiguousarray(X.indptr, np.int64)
        data = np.ascontiguousarray(X.data, dtype)
        if not has_rising_indptr(X.shape[0], indptr, min(indices.size, data.size)):
            got = f"indptr from {indptr[0]} to {indptr[-1]}, {indices.size} indices, {data.size} entries"
            raise ValueError(message("X", "have a rising indptr that ends at its entries", got, "rebuild X"))
    elif sparse.issparse(X):
        raise TypeError(message("X", "be CSR or an array", type(X).__name__, "call X.tocsr()"))
    else:
        X = float_array("X", np.asarray(X, dtype), ("n", dim), finite=False)
        data = X.ravel()
    csr, bound = Csr(indptr, indices, data), 2.0 ** -contract.SMALLEST_ENTRY_EXPONENT[dtype.name]
    flaws = kernels.load(backend).row_flaws(csr, dim, bound)
    if indices is not None and flaws & contract.INDEX_OUTSIDE:
        got = f"{indices.min()} to {indices.max()}"
        raise ValueError(message("X", f"have indices from 0 to {dim - 1}", got, "rebuild X"))
    if flaws & contract.ENTRY_BEYOND:
        largest = max(data.max(), -data.min())
        remedy = "remove what is not finite; scale the features or use float64 otherwise"
        raise ValueError(message("X", f"be within ±{bound:.0e} in {dtype}", largest, remedy))
    return Samples(X.shape, csr, not flaws & contract.INDEX_FALLS)


class LinearModel:
    """``loss(x @ coef + intercept, y)``, learnt sample by sample without a learning rate.

    Parameters
    ----------
    n_features : int
    loss : str
        A name in `refsgd.linear.losses.LOSSES`.
    n_outputs : int
        Number of classes of the multinomial loss; 1 for the others.
    alpha : float
        Strength of the penalty ``alpha / 2 * sum(coef**2)`` on top of the mean loss.
    epsilon : float
        Residual from which the Huber loss is linear and up to which the insensitive one is 0, in units of y.
    fit_intercept : bool
    average : bool
        Whether `coef` and `intercept` are means over the latest half to three quarters of all samples,
        instead of the last values.
    batch_size : int
        Samples per step. 1 learns most from each sample: the rates adapt to every one.
    dtype : dtype
        float32 or float64: 32 or 64 bytes per parameter, 16 more with a penalty, 24 more with an average.
    backend : str, optional
        As in :func:`refsgd.use_backend`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> model = LinearModel(2, "log_loss")
    >>> X = np.array([[1.0, 0.0], [0.0, 1000.0]])
    >>> for _ in range(20):
    ...     _ = model.learn(X, [1.0, -1.0])
    >>> model.decision_function(X) > 0
    array([ True, False])
    """

    def __init__(
        self,
        n_features: int,
        loss: LossName,
        *,
        n_outputs: int = 1,
        alpha: float = 0.0,
        epsilon: float = 0.1,
        fit_intercept: bool = True,
        average: bool = False,
        batch_size: int = 1,
        dtype: Any = np.float64,
        backend: BackendName | None = None,
    ) -> None:
        self.loss = choice("loss", loss, LOSSES)
        for name, value in {"alpha": alpha, "epsilon": epsilon}.items():
            if not 0.0 <= value < np.inf:
                raise ValueError(message(name, "be at least 0 and finite", value, f"pass {name}=0 or more"))
        if n_outputs > 1 and loss != "multinomial":
            remedy = 'use "multinomial", or a model for each output'
            raise ValueError(message("n_outputs", f"be 1 with loss={loss!r}", n_outputs, remedy))
        self.alpha = float(alpha)
        self.epsilon = 0.0 if loss == "absolute_error" else float(epsilon)
        self.fit_intercept = bool(fit_intercept)
        self.batch_size = integer("batch_size", batch_size, 1)
        self.backend = backend
        shape = integer("n_features", n_features, 1) + 1, integer("n_outputs", n_outputs, 1)
        self._records = aligned_zeros((*shape, 8), np.dtype(dtype))
        self._lazy = np.zeros((*shape, 2)) if average or alpha > 0 else None
        # Sum of the parameters over the previous window of samples; lengths of the current and this window.
        self._before = np.zeros(shape) if average else None
        self._windows = np.zeros(2)
        self._totals = np.zeros(3)

    def learn(
        self,
        X: Any,
        y: ArrayLike,
        weights: ArrayLike | None = None,
        order: NDArray[np.int64] | None = None,
    ) -> float:
        """Take one step per minibatch, and return the mean loss; each sample's is computed before its step.

        Parameters
        ----------
        X : (n, n_features) csr_array, csr_matrix, ndarray or Samples
            Finite. CSR has 32- or 64-bit indices and no duplicate entries. Samples that are learnt repeatedly
            are best checked once, by `checked`.
        y : (n,) array_like
            -1 and 1 for the loss of a margin, 0 to n_outputs - 1 for the multinomial, counts for Poisson.
        weights : (n,) array_like, optional
            Not negative; 1 by default.
        order : (k,) ndarray of int64, optional
            Numbers of the samples to learn, in order; by default all as they come.

        Raises
        ------
        TypeError, ValueError
            If an array has the wrong shape or values. The model is then unchanged.
        KeyboardInterrupt
            Within a fraction of a second of Ctrl-C. The model has then learnt from some of the samples.
        """
        (n, _), csr, _ = self.checked(X)
        dtype = self._records.dtype
        y = self._targets(float_array("y", np.asarray(y, dtype), (n,)))
        w = np.ones(n, dtype) if weights is None else float_array("weights", np.asarray(weights, dtype), (n,))
        if weights is not None and (w < 0).any():
            got = f"{np.count_nonzero(w < 0)} negative ones"
            remedy = "leave out samples that should not count"
            raise ValueError(message("weights", "be 0 or more", got, remedy))
        numbers = np.arange(n) if order is None else np.ascontiguousarray(order, np.int64)
        if order is not None and numbers.size and not 0 <= numbers.min() <= numbers.max() < n:
            got = f"{numbers.min()} to {numbers.max()}"
            raise ValueError(message("order", f"hold rows 0 to {n - 1}", got, "pass numbers of rows"))
        loss = LOSSES[self.loss]
        if loss.targets == "numbers" and self.fit_intercept and self._totals[0] == 0 and numbers.size:
            self._records[-1, :, 0] = y[numbers[0]]  # so that an offset of y changes nothing
        if self.alpha > 0 and self._lazy is None:
            self._lazy = np.zeros((*self._records.shape[:2], 2))
        rule = LinearRule(loss.number, self.epsilon, self.alpha, self.batch_size, self.fit_intercept)
        kernel = kernels.load(backend_name(self.backend)).linear
        chunk = max(1, CHUNK * n // max(csr.data.size, 1) // self.batch_size) * self.batch_size
        before, begin = self._totals[2], 0
        while begin < numbers.size:
            end = begin + (chunk if self._before is None else min(chunk, self._window_left()))
            part = numbers[begin:end]
            kernel(LinearState(self._records, self._lazy, self._totals), csr, y, w, part, rule)
            self._windows[0] += len(part)
            begin = end
        total = float(w[numbers].sum(dtype=float))
        return (self._totals[2] - before) / total if total > 0.0 else 0.0

    def checked(self, X: Any) -> Samples:
        """X as samples that any model with as many features and this dtype can `learn` without a check.

        Raises
        ------
        TypeError, ValueError
            If X is not of the kind that `learn` takes.
        """
        return checked_samples(X, len(self._records) - 1, self._records.dtype, backend_name(self.backend))

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Scores (n,), or (n, n_outputs) with the multinomial loss."""
        return np.asarray(X @ self.coef.T + self.intercept)

    @property
    def coef(self) -> NDArray[Any]:
        """Coefficients (n_features,), or (n_outputs, n_features) with the multinomial loss."""
        return self._public(self._parameters()[:-1])

    @property
    def intercept(self) -> Any:
        """A float, or (n_outputs,) with the multinomial loss."""
        last = self._parameters()[-1]
        return last.copy() if self.loss == "multinomial" else float(last[0])

    @property
    def rates(self) -> NDArray[Any]:
        """Rates in units of ``coef**2 / loss``, of the shape of `coef`; NaN for a feature never seen."""
        records = self._records[:-1]
        ridge = self.alpha * self._totals[0] / np.maximum(records[..., 6], 1)
        rates, _ = linear_numpy.rates(records, ridge.astype(records.dtype), 0, 1)
        return self._public(np.where(records[..., 4] > 0, rates, np.nan))

    def grow(self, n_features: int) -> None:
        """Add features after the known ones, as if all samples so far had zeros there."""
        dim = len(self._records) - 1
        extra = integer("n_features", n_features, dim) - dim
        for name in ("_records", "_lazy", "_before"):
            if (old := getattr(self, name)) is not None:
                new = aligned_zeros((dim + extra + 1, *old.shape[1:]), old.dtype)
                new[:dim], new[-1] = old[:-1], old[-1]
                setattr(self, name, new)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything learnt, as copies of plain arrays."""
        arrays = {
            name: getattr(self, f"_{name}") for name in ("records", "windows", "totals", "lazy", "before")
        }
        learnt = {name: array.copy() for name, array in arrays.items() if array is not None}
        return {"version": np.array(VERSION), **learnt}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` of a model with the same parameters returned.

        Raises
        ------
        ValueError
            If an array is missing or does not fit. The model is then unchanged.
        """
        arrays = _checkpoint.load(state, self.state_dict(), ())
        for name in arrays.keys() - {"version"}:
            getattr(self, f"_{name}")[:] = arrays[name]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        records = aligned_zeros(self._records.shape, self._records.dtype)
        records[:] = self._records
        self._records = records

    def _parameters(self) -> NDArray[Any]:
        """(n_features + 1, n_outputs)"""
        if self._lazy is None or self._before is None or not self._windows.any():
            return self._records[:, :, 0]
        mean: NDArray[Any] = (self._lazy[:, :, 0] + self._before) / self._windows.sum()
        return mean.astype(self._records.dtype)

    def _public(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(values.T) if self.loss == "multinomial" else values[:, 0].copy()

    def _window_left(self) -> int:
        """Samples until the window is as long as all before it; starts a new window where it already is."""
        assert self._lazy is not None
        seen, length = int(self._totals[0]), int(self._windows[0])
        if length > 0 and length >= seen - length:
            self._before, self._windows[:] = self._lazy[:, :, 0].copy(), (0, length)
            self._lazy[:, :, 0] = 0.0
            length = 0
        left = max(seen - length, 1) - length
        return -(-left // self.batch_size) * self.batch_size

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        n_outputs = self._records.shape[1]
        match LOSSES[self.loss].targets:
            case "signs":
                is_legal, must = np.abs(y) == 1.0, "be -1 or 1"
            case "classes":
                is_legal = (y >= 0) & (y < n_outputs) & (y == np.floor(y))
                must = f"be 0, 1, ... {n_outputs - 1}"
            case "counts":
                is_legal, must = y >= 0, "be 0 or more"
            case "numbers":
                return y
        if not is_legal.all():
            at, remedy = int(is_legal.argmin()), "encode the labels first"
            raise ValueError(message("y", f"{must} with loss={self.loss!r}", f"{y[at]} in row {at}", remedy))
        return y
