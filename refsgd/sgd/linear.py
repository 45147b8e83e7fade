"""Linear models learnt online, with the curvature that a linear model has in closed form.

For a loss ``l(x @ theta, y)`` the Hessian of a sample is ``l'' x x^T``. Its diagonal is no safe curvature
when many coordinates move at once; the row sum is: for any positive scales s, ``diag(sum_k |H_ik| s_i/s_k)``
is at least H. With s the root mean square of a feature's entries the model does not depend on the units of
any feature, and no probe is needed. Of losses of a residual the intercept starts as the first target, so
that the origin of y does not matter either. Everything about a parameter lies in one record of 8 numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .. import kernels
from .._config import backend_name
from .._errors import message
from .._validation import choice, float_array, integer
from ..kernels import contract, reference_linear
from .aligned import aligned_zeros
from .csr import has_rising_indptr

#: name -> number, as in the kernels
LOSSES = {
    "log_loss": contract.LOG,
    "hinge": contract.HINGE,
    "squared_hinge": contract.SQUARED_HINGE,
    "modified_huber": contract.MODIFIED_HUBER,
    "squared_error": contract.SQUARED,
    "huber": contract.HUBER,
    "epsilon_insensitive": contract.INSENSITIVE,
    "absolute_error": contract.INSENSITIVE,  # with epsilon = 0
    "poisson": contract.POISSON,
    "multinomial": contract.MULTINOMIAL,
}
MARGIN_LOSSES = ("log_loss", "hinge", "squared_hinge", "modified_huber")
RESIDUAL_LOSSES = ("squared_error", "huber", "epsilon_insensitive", "absolute_error")
CHUNK = 2**21  # entries learnt between two looks at Ctrl-C: some tens of milliseconds
VERSION = 1


class Rows(NamedTuple):
    """Rows that have been checked: what :meth:`LinearModel.rows` returns. Dense ones have only entries."""

    shape: tuple[int, int]
    indptr: NDArray[np.int64] | None
    indices: NDArray[Any] | None
    data: NDArray[Any]
    is_canonical: bool  #: whether columns rise in each row


def checked_rows(X: Any, dim: int, dtype: np.dtype[Any], backend: str) -> Rows:
    """:meth:`LinearModel.rows` of models that need not be there yet."""
    if isinstance(X, Rows | sparse.csr_array | sparse.csr_matrix) and X.shape[1] != dim:
        remedy = "pass as many features as the model has, or let it grow"
        raise ValueError(message("X", f"have shape (n, {dim})", X.shape, remedy))
    if isinstance(X, Rows):
        if X.data.dtype != dtype:
            raise TypeError(message("X", f"be rows checked in {dtype}", X.data.dtype, "check them anew"))
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
    bound = 2.0 ** -contract.SMALLEST_ENTRY_EXPONENT[dtype.name]
    flags = kernels.load(backend).look(indptr, indices, dim, data, bound)
    if indices is not None and flags & contract.INDEX_OUTSIDE:
        got = f"{indices.min()} to {indices.max()}"
        raise ValueError(message("X", f"have indices from 0 to {dim - 1}", got, "rebuild X"))
    if flags & contract.ENTRY_BEYOND:
        largest = max(data.max(), -data.min())
        remedy = "remove what is not finite; scale the features or use float64 otherwise"
        raise ValueError(message("X", f"be within ±{bound:.0e} in {dtype}", largest, remedy))
    return Rows(X.shape, indptr, indices, data, not flags & contract.INDEX_FALLS)


class LinearModel:
    """``loss(x @ coef + intercept, y)``, learnt sample by sample without a learning rate.

    Parameters
    ----------
    n_features : int
    loss : str
        One of `LOSSES`.
    n_outputs : int
        Number of classes of the multinomial loss; 1 for the others.
    alpha : float
        Strength of the penalty ``alpha / 2 * sum(coef**2)`` beside the mean loss.
    epsilon : float
        Where the Huber loss turns linear, and half the width of the insensitive one, in units of y.
    fit_intercept : bool
    average : bool
        Coefficients are the mean over the latest half to three quarters of all samples, not the last ones.
    batch_size : int
        Samples a step. As a coordinate's rate grows with the number of samples that touch it, 1 learns most
        from each.
    dtype : dtype
        float32 or float64; 32 or 64 bytes a parameter, 16 more with a penalty, 24 with an average.
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
        loss: str,
        *,
        n_outputs: int = 1,
        alpha: float = 0.0,
        epsilon: float = 0.1,
        fit_intercept: bool = True,
        average: bool = False,
        batch_size: int = 1,
        dtype: Any = np.float64,
        backend: str | None = None,
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
        # sum of parameters over the window of samples before the one that is under way; samples of both
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
        """Take one step for each minibatch, and return the mean loss, each sample's taken before its step.

        Parameters
        ----------
        X : (n, n_features) csr_array, csr_matrix, ndarray or Rows
            Finite. CSR without duplicate entries; 32 or 64-bit indices. What is learnt more than once is best
            checked once, by `rows`.
        y : (n,) array_like
            -1 and 1 for a loss of a margin, 0 to n_outputs - 1 for the multinomial, counts for Poisson.
        weights : (n,) array_like, optional
            Not negative; 1 by default.
        order : (k,) ndarray of int64, optional
            Which samples, and in which order; all of them as they come by default.

        Raises
        ------
        TypeError, ValueError
            If an array has the wrong shape or values. Nothing has been learnt then.
        KeyboardInterrupt
            On Ctrl-C, within a fraction of a second; the model has then learnt from the samples so far.
        """
        (n, _), indptr, indices, data, _ = self.rows(X)
        dtype = self._records.dtype
        y = self._targets(float_array("y", np.asarray(y, dtype), (n,)))
        w = np.ones(n, dtype) if weights is None else float_array("weights", np.asarray(weights, dtype), (n,))
        if (w < 0).any():
            got = f"{np.count_nonzero(w < 0)} negative ones"
            raise ValueError(
                message("weights", "be 0 or more", got, "leave out samples that should not count")
            )
        order = np.arange(n) if order is None else np.ascontiguousarray(order, np.int64)
        if order.size and not 0 <= order.min() <= order.max() < n:
            got = f"{order.min()} to {order.max()}"
            raise ValueError(message("order", f"hold rows 0 to {n - 1}", got, "pass numbers of rows"))
        if self.loss in RESIDUAL_LOSSES and self.fit_intercept and self._totals[0] == 0 and order.size:
            self._records[-1, :, 0] = y[order[0]]  # so that an offset of y changes nothing
        if self.alpha > 0 and self._lazy is None:
            self._lazy = np.zeros((*self._records.shape[:2], 2))
        kernel = kernels.load(backend_name(self.backend)).linear
        chunk = max(1, CHUNK * n // max(data.size, 1) // self.batch_size) * self.batch_size
        before, begin = self._totals[2], 0
        while begin < len(order):
            count = min(chunk, len(order) - begin)
            if self._before is not None:
                count = min(count, self._window_left())
            kernel(
                self._records, self._lazy, indptr, indices, data, y, w,
                order[begin : begin + count], self.batch_size, LOSSES[self.loss], self.epsilon, self.alpha,
                self.fit_intercept, self._totals,
            )  # fmt: skip
            self._windows[0] += count
            begin += count
        total = float(w[order].sum(dtype=float))
        return (self._totals[2] - before) / total if total > 0.0 else 0.0

    def rows(self, X: Any) -> Rows:
        """X, checked: `learn` of any model of as many features and this dtype takes it without another look.

        Raises
        ------
        TypeError, ValueError
            If it is not of the kind that `learn` takes.
        """
        return checked_rows(X, len(self._records) - 1, self._records.dtype, backend_name(self.backend))

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Scores (n,), or (n, n_outputs) of the multinomial loss."""
        scores: NDArray[Any] = X @ self.coef.T + self.intercept
        return scores

    @property
    def coef(self) -> NDArray[Any]:
        """Coefficients (n_features,), or (n_outputs, n_features) of the multinomial loss."""
        return self._public(self._parameters()[:-1])

    @property
    def intercept(self) -> Any:
        """A float, or (n_outputs,) of the multinomial loss."""
        last = self._parameters()[-1]
        return last.copy() if self.loss == "multinomial" else float(last[0])

    @property
    def rates(self) -> NDArray[Any]:
        """Rates, in units of ``coef**2 / loss``; as `coef`, NaN for a feature that was never seen."""
        records = self._records[:-1]
        ridge = self.alpha * self._totals[0] / np.maximum(records[..., 6], 1)
        rates, _ = reference_linear.rates(records, ridge.astype(records.dtype), 0, 1)
        return self._public(np.where(records[..., 4] > 0, rates, np.nan))

    def grow(self, n_features: int) -> None:
        """Make room for new features, behind the known ones; samples so far had zeros there."""
        dim = len(self._records) - 1
        extra = integer("n_features", n_features, dim) - dim
        for name in ("_records", "_lazy", "_before"):
            if (old := getattr(self, name)) is not None:
                new = aligned_zeros((dim + extra + 1, *old.shape[1:]), old.dtype)
                new[:dim], new[-1] = old[:-1], old[-1]
                setattr(self, name, new)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything learnt, as plain arrays."""
        arrays = {"records": self._records, "windows": self._windows, "totals": self._totals}
        if self._lazy is not None:
            arrays["lazy"] = self._lazy
        if self._before is not None:
            arrays["before"] = self._before
        return {"version": np.array(VERSION), **{name: array.copy() for name, array in arrays.items()}}

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state_dict` gave, of a model made with the same parameters.

        Raises
        ------
        ValueError
            If an array is missing or does not fit. The model stays as it was then.
        """
        own = self.state_dict()
        for name, array in own.items():
            got = "nothing" if name not in state else f"{state[name].dtype} of shape {state[name].shape}"
            if name not in state or state[name].shape != array.shape or state[name].dtype != array.dtype:
                must = f"hold {name} as {array.dtype} of shape {array.shape}"
                raise ValueError(message("state", must, got, "load it into a model of the same parameters"))
        if state["version"] != VERSION:
            raise ValueError(message("state", f"be of version {VERSION}", state["version"], "learn anew"))
        for name in own.keys() - {"version"}:
            getattr(self, f"_{name}")[:] = state[name]

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
        """Samples until the window has doubled the number seen before it; begins another one if need be."""
        assert self._lazy is not None
        seen, here = int(self._totals[0]), int(self._windows[0])
        if here > 0 and here >= seen - here:
            self._before, self._windows[:] = self._lazy[:, :, 0].copy(), (0, here)
            self._lazy[:, :, 0] = 0.0
            here = 0
        left = max(seen - here, 1) - here
        return -(-left // self.batch_size) * self.batch_size

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        if self.loss in MARGIN_LOSSES:
            is_legal, must = np.abs(y) == 1.0, "be -1 or 1"
        elif self.loss == "multinomial":
            n_outputs = self._records.shape[1]
            is_legal, must = (y >= 0) & (y < n_outputs) & (y == np.floor(y)), f"be 0, 1, ... {n_outputs - 1}"
        elif self.loss == "poisson":
            is_legal, must = y >= 0, "be 0 or more"
        else:
            return y
        if not is_legal.all():
            at = int(is_legal.argmin())
            raise ValueError(
                message("y", f"{must} with loss={self.loss!r}", f"{y[at]} in row {at}", "map it")
            )
        return y
