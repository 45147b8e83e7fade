"""Linear regression without a learning rate, as a scikit-learn estimator.

The rule is in `refsgd.linear`, the loop over epochs in `refsgd.adapters.linear_base`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from .._config import BackendName
from .._errors import message
from .._validation import choice
from ..linear.losses import LOSSES, REGRESSION_LOSSES, RegressionLoss, excess_of_constant
from .linear_base import Array, LinearEstimator, Task


class VSGDRegressor(RegressorMixin, LinearEstimator):
    """Linear regression learnt by stochastic gradient descent that sets its own rates.

    Like `VSGDClassifier`, for least squares, robust regression, medians and counts.

    Parameters
    ----------
    loss : {"squared_error", "huber", "epsilon_insensitive", "absolute_error", "poisson"}
        Loss of the residual ``score - y``; "poisson" is the negative log-likelihood of counts y with mean
        ``exp(score)``.
    epsilon : float
        Residual from which the Huber loss is linear and up to which the insensitive one is 0, in units of y.
    alpha : float
        Strength of the penalty ``alpha / 2 * sum(coef_**2)`` added to the mean loss, without the intercept.
    fit_intercept : bool
        Whether to learn a constant.
    batch_size : int
        Samples per step. 1 learns fastest.
    max_iter : int
        Maximum number of epochs of `fit`.
    tol : float or None
        Minimum improvement of the loss per epoch, as a share of the best constant's loss; see Notes. None:
        always run `max_iter` epochs.
    n_iter_no_change : int
        Stop after this many consecutive epochs without that improvement.
    early_stopping : bool
        Whether to set samples aside, watch the loss on them, and keep the coefficients that do best there.
    validation_fraction : float
        Share of the samples to set aside.
    average : bool
        Whether `coef_` and `intercept_` are averages over the latest half to three quarters of the steps.
    random_state : None, int or numpy.random.RandomState
        Source of the split and of the order of samples in each epoch of `fit`.
    warm_start : bool
        Whether `fit` continues from the current coefficients and rates.
    verbose : bool
        Whether to show a progress bar of epochs, on a terminal.
    backend : {"c", "numba", "numpy", "auto"} or None
        Kernels to use; None is the choice of `refsgd.use_backend`.

    Attributes
    ----------
    coef_ : (n_features,) ndarray
        Coefficients. float32 if X is, like everything else learnt, else float64.
    intercept_ : (1,) ndarray
        Constant of the score.
    rates_ : (n_features,) ndarray
        Rates after the last step, in units of ``coef_**2 / loss``; NaN for a feature that was always 0.
    n_iter_ : int
        Number of epochs; 1 after `partial_fit`.
    loss_curve_ : (n_epochs,) ndarray of float64
        Mean loss of each epoch; each sample's is computed before its step.
    validation_loss_curve_ : (n_epochs,) ndarray of float64
        Mean loss on the samples set aside, after each epoch.
    validation_score_ : float
        R**2 of the kept coefficients on the samples set aside; NaN for a single sample.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features, if X has any.

    See Also
    --------
    VSGDClassifier : the same for classification.
    refsgd.minimize : fit any model that has gradients.

    Notes
    -----
    `fit` stops when the loss has not fallen below the smallest so far minus ``tol * scale`` for
    `n_iter_no_change` consecutive epochs. ``scale`` is the loss of the best constant minus that of a perfect
    prediction, so the units of y do not matter.

    One step is `refsgd.kernels.linear_numpy.linear`; docs/linear.md derives it.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) * [1.0, 1000.0]
    >>> regressor = VSGDRegressor(random_state=0).fit(X, X @ [3.0, 0.001] + 7.0)
    >>> regressor.predict([[1.0, 2000.0]]).round(1)
    array([12.])
    """

    _FIXED_WHILE_LEARNING = (*LinearEstimator._FIXED_WHILE_LEARNING, "epsilon")

    def __init__(
        self,
        loss: RegressionLoss = "squared_error",
        *,
        epsilon: float = 0.1,
        alpha: float = 0.0,
        fit_intercept: bool = True,
        batch_size: int = 1,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        n_iter_no_change: int = 5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        average: bool = False,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: bool = False,
        backend: BackendName | None = None,
    ) -> None:
        self.loss = loss
        self.epsilon = epsilon
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.average = average
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.backend = backend

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags

    def _learnt(self, name: str) -> Array:
        return np.asarray(super()._learnt(name)[0])

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> VSGDRegressor:
        """Learn the samples in random order, epoch after epoch.

        Ctrl-C ends `fit`; the estimator keeps what it has learnt.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            Samples. CSR and C-contiguous arrays of float32 or float64 are used without a copy.
        y : (n_samples,) array_like
            Targets; not negative with ``loss="poisson"``.
        sample_weight : (n_samples,) array_like, optional
            Weights, not negative. Samples of weight 0 are ignored.

        Returns
        -------
        VSGDRegressor
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter, an entry of X or y, or a weight is out of its range.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the loss is still falling after `max_iter` epochs, or on Ctrl-C.
        """
        is_new = not (self.warm_start and hasattr(self, "_models"))
        task, y = self._task(X, y, sample_weight, is_new=is_new)
        self._check_any_weight(task.weights)
        unit = excess_of_constant(self.loss, y, task.weights, self.epsilon)
        self._begin(lambda: [self._model(self.loss)], task.X.dtype, is_new=is_new)
        self._learn_epochs(task._replace(unit=unit))
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> VSGDRegressor:
        """Learn the samples once, in the given order. How a stream is cut into calls changes nothing.

        The parameters that control the epochs of `fit` (`max_iter`, `tol`, `early_stopping`, `random_state`)
        are ignored. If a call raises, the estimator is unchanged; after Ctrl-C it has learnt some of the
        samples.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        VSGDRegressor
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As in `fit`.
        """
        is_new = not hasattr(self, "_models")
        task, _ = self._task(X, y, sample_weight, is_new=is_new)
        self._begin(lambda: [self._model(self.loss)], task.X.dtype, is_new=is_new)
        self._learn_once(task)
        return self

    def predict(self, X: Any) -> Array:
        """Predicted targets (n_samples,); with ``loss="poisson"`` their means, at most exp(80)."""
        return LOSSES[self.loss].mean(self._scores(X))

    def _score_of(self, task: Task, chosen: Any) -> float:
        if len(chosen) < 2:
            return np.nan
        predicted = LOSSES[self.loss].mean(self._scores_of(task.X[chosen]))
        return float(r2_score(task.target(0)[chosen], predicted, sample_weight=task.weights[chosen]))

    def _task(self, X: Any, y: Any, sample_weight: Any, *, is_new: bool) -> tuple[Task, Array]:
        self._check_parameters()
        choice("loss", self.loss, REGRESSION_LOSSES)
        X, samples, y = self._checked_to_learn(X, y, reset=is_new, y_numeric=True)
        y = y.astype(X.dtype)
        if self.loss == "poisson" and (y < 0).any():
            got = f"{np.count_nonzero(y < 0)} of {y.size} below 0"
            remedy = "remove or correct negative targets"
            raise ValueError(message('y with loss="poisson"', "be 0 or more", got, remedy))
        return Task(X, samples, lambda _: y, self._checked_weights(sample_weight, X)), y
