"""Linear models learnt online, with the curvature that a linear model has in closed form.

For a loss ``l(x @ theta, y)`` the Hessian of a sample is ``l'' x x^T``. Its diagonal is no safe curvature
when many coordinates move at once; the row sum is: for any positive scales s, ``diag(sum_k |H_ik| s_i/s_k)`` is at
least H. With s the root mean square of a feature's entries the model does not depend on the units of any
feature, and no probe is needed. Everything about a parameter lies in one record of 8 numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from .. import kernels
from .._errors import message
from .._validation import choice, float_array
from ..kernels import contract

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
}
MARGIN_LOSSES = ("log_loss", "hinge", "squared_hinge", "modified_huber")
CHUNK = 2**21  # entries learnt between two looks at Ctrl-C: some tens of milliseconds


class LinearModel:
    """``loss(x @ coef + intercept, y)`` of one output, learnt sample by sample without a learning rate.

    Parameters
    ----------
    n_features : int
    loss : str
        One of `LOSSES`.
    alpha : float
        Strength of the penalty ``alpha / 2 * sum(coef**2)`` beside the mean loss.
    epsilon : float
        Where the Huber loss turns linear, and half the width of the insensitive one, in units of y.
    fit_intercept : bool
    dtype : dtype
        float32 or float64; 32 or 64 bytes a parameter.
    backend : str, optional
        As in :func:`refsgd.use_backend`.

    Examples
    --------
    >>> model = LinearModel(2, "log_loss")
    >>> X = csr_array(np.array([[1.0, 0.0], [0.0, 1000.0]]))
    >>> for _ in range(20):
    ...     _ = model.learn(X, np.array([1.0, -1.0]))
    >>> model.decision_function(X).round() > 0
    array([ True, False])
    """

    def __init__(
        self,
        n_features: int,
        loss: str,
        *,
        alpha: float = 0.0,
        epsilon: float = 0.1,
        fit_intercept: bool = True,
        dtype: Any = np.float64,
        backend: str = "auto",
    ) -> None:
        self.loss = choice("loss", loss, LOSSES)
        for name, value in {"alpha": alpha, "epsilon": epsilon}.items():
            if not 0.0 <= value < np.inf:
                raise ValueError(message(name, "be at least 0 and finite", value, f"pass {name}=0 or more"))
        self.alpha = float(alpha)
        self.epsilon = 0.0 if loss == "absolute_error" else float(epsilon)
        self.fit_intercept = bool(fit_intercept)
        self.backend = backend
        self._records = np.zeros((n_features + 1, 8), dtype)
        self._totals = np.zeros(3)

    def learn(
        self,
        X: csr_array,
        y: ArrayLike,
        weights: ArrayLike | None = None,
        order: NDArray[np.int64] | None = None,
    ) -> float:
        """Take one step for each sample, and return the mean loss, each sample's taken before its step.

        Parameters
        ----------
        X : (n, n_features) csr_array
            Of the model's dtype, finite, without duplicate entries.
        y : (n,) array_like
            -1 and 1 for a loss of a margin, counts for Poisson.
        weights : (n,) array_like, optional
            Not negative; 1 by default.
        order : (k,) ndarray of int64, optional
            Which samples, and in which order; all of them as they come by default.
        """
        n, dtype = X.shape[0], self._records.dtype
        y = float_array("y", np.asarray(y, dtype), (n,))
        w = np.ones(n, dtype) if weights is None else float_array("weights", np.asarray(weights, dtype), (n,))
        order = np.arange(n) if order is None else order
        indptr, indices = X.indptr.astype(np.int64, copy=False), X.indices
        step = max(1, CHUNK * n // max(X.nnz, 1))
        before = self._totals[2]
        for begin in range(0, len(order), step):
            kernels.load(self.backend).linear(
                self._records, indptr, indices, X.data, y, w, order[begin : begin + step], LOSSES[self.loss],
                self.epsilon, self.alpha, self.fit_intercept, self._totals,
            )  # fmt: skip
        total = float(w[order].sum(dtype=float))
        return (self._totals[2] - before) / total if total > 0.0 else 0.0

    @property
    def coef(self) -> NDArray[Any]:
        """Coefficients (n_features,)."""
        return self._records[:-1, 0].copy()

    @property
    def intercept(self) -> float:
        return float(self._records[-1, 0])

    @property
    def rates(self) -> NDArray[Any]:
        """Rates (n_features,), in units of ``coef**2 / loss``; NaN of a feature that was never seen."""
        _, g_avg, g2_avg, h_avg, tau, *_ = self._records[:-1].T
        with np.errstate(divide="ignore", invalid="ignore"):
            rates: NDArray[Any] = np.sqrt(np.minimum(g_avg**2 / g2_avg, 1.0)) / h_avg
        return np.where(tau > 0, rates, np.nan)

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Scores (n,)."""
        scores: NDArray[Any] = X @ self._records[:-1, 0] + self._records[-1, 0]
        return scores
