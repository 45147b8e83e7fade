"""Linear regression without a learning rate, as a scikit-learn estimator.

The rule is in `refsgd.sgd.linear`, the course of epochs in `refsgd.adapters.epochs`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from .._errors import message
from .._validation import choice
from ..kernels.contract import MAX_LOG_MEAN
from ..sgd import linear_losses
from ..sgd.linear import LOSSES, MARGIN_LOSSES
from .epochs import Array, LinearEstimator, Task

REGRESSION_LOSSES = tuple(loss for loss in LOSSES if loss not in (*MARGIN_LOSSES, "multinomial"))


class VSGDRegressor(RegressorMixin, LinearEstimator):
    """Linear regression learnt by stochastic gradient descent that sets its own rates.

    As `VSGDClassifier`, for numbers: least squares, robust regression, medians, and counts.

    Parameters
    ----------
    loss : {"squared_error", "huber", "epsilon_insensitive", "absolute_error", "poisson"}
        Loss of the residual ``score - y``, or minus the log-likelihood of counts y with mean ``exp(score)``.
    epsilon : float
        Where the Huber loss turns linear, and how far the insensitive one is 0, in units of y.
    alpha : float
        Strength of the penalty ``alpha / 2 * sum(coef_**2)`` beside the mean loss. Not on the intercept.
    fit_intercept : bool
        Whether there is a constant beside the features.
    batch_size : int
        Samples a step. 1 is fastest to learn.
    max_iter : int
        Most epochs of `fit`.
    tol : float or None
        Share of the best constant's loss by which an epoch of `fit` must get on; see Notes. None: `max_iter`
        epochs, come what may.
    n_iter_no_change : int
        Epochs in a row without getting on after which `fit` ends.
    early_stopping : bool
        Whether to set rows aside and watch the loss on them; the coefficients that were best there are kept.
    validation_fraction : float
        Share of the rows to set aside.
    average : bool
        Whether `coef_` and `intercept_` are averages over the steps.
    random_state : None, int or numpy.random.RandomState
        Source of the order of samples in each epoch of `fit`, and of the split.
    warm_start : bool
        Whether `fit` goes on from where the estimator is, coefficients and rates.
    verbose : bool
        Show a bar of epochs, on a terminal.
    backend : {"c", "numba", "numpy", "auto"} or None
        As in `refsgd.use_backend`; None is its choice.

    Attributes
    ----------
    coef_ : (n_features,) ndarray
        Coefficients. float32 where X is, as everything else learnt, else float64.
    intercept_ : (1,) ndarray
        Constant of the score.
    rates_ : (n_features,) ndarray
        Rates at the end, in units of ``coef_**2 / loss``; NaN of a feature that was 0 throughout.
    n_iter_ : int
        Epochs taken; 1 after `partial_fit`.
    loss_curve_ : (n_epochs,) ndarray of float64
        Mean loss of each epoch, every sample's taken before its step.
    validation_loss_curve_ : (n_epochs,) ndarray of float64
        The same of the rows set aside, after each epoch.
    validation_score_ : float
        R**2 on the rows set aside of the coefficients that were kept; NaN of a single row.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features, where X has any.

    See Also
    --------
    VSGDClassifier : the same for classes.

    Notes
    -----
    `fit` ends when for `n_iter_no_change` epochs in a row the loss has not been below the least so far minus
    `tol` times the loss of the best constant, above that of a perfect prediction. So the units of y do not
    matter.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) * [1.0, 1000.0]
    >>> regressor = VSGDRegressor(random_state=0).fit(X, X @ [3.0, 0.001] + 7.0)
    >>> regressor.predict([[1.0, 2000.0]]).round(1)
    array([12.])
    """

    _KEPT = (*LinearEstimator._KEPT, "epsilon")

    def __init__(
        self,
        loss: str = "squared_error",
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
        backend: str | None = None,
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
        return super()._learnt(name)[0]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> VSGDRegressor:
        """Learn from the samples, in random order, epoch after epoch.

        Ctrl-C ends it: the estimator is what it has learnt until then.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            Samples. CSR and C-contiguous arrays of float32 or float64 are taken as they are.
        y : (n_samples,) array_like
            Targets; not negative with ``loss="poisson"``.
        sample_weight : (n_samples,) array_like, optional
            Not negative. A sample of weight 0 is as good as left out.

        Returns
        -------
        VSGDRegressor
            This one, fitted.

        Raises
        ------
        TypeError, ValueError
            If a parameter, an entry of X or y, or a weight is out of its range.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the loss still falls after `max_iter` epochs, or at Ctrl-C.
        """
        is_new = not (self.warm_start and hasattr(self, "_models"))
        task, y = self._task(X, y, sample_weight, is_new=is_new)
        self._check_any_weight(task.weights)
        unit = linear_losses.excess_of_constant(self.loss, y, task.weights, self.epsilon)
        self._begin(lambda: [self._model(self.loss)], task.X.dtype, is_new=is_new)
        self._learn_epochs(task._replace(unit=unit))
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> VSGDRegressor:
        """Learn from the samples once, as they come: cutting a stream elsewhere changes nothing.

        What rules the epochs of `fit` (`max_iter`, `tol`, `early_stopping`, `random_state`) has no say here.
        Where it raises, the estimator is as it was before; after Ctrl-C it has learnt a part of the samples.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        VSGDRegressor
            This one.

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
        """Targets (n_samples,); means with ``loss="poisson"``."""
        return self._mean_of(self._scores(X))

    def _mean_of(self, z: Array) -> Array:
        return np.exp(np.minimum(z, MAX_LOG_MEAN)) if self.loss == "poisson" else z

    def _score_of(self, task: Task, rows: Any) -> float:
        if len(rows) < 2:
            return np.nan
        predicted = self._mean_of(self._scores_of(task.X[rows]))
        return float(r2_score(task.target(0)[rows], predicted, sample_weight=task.weights[rows]))

    def _task(self, X: Any, y: Any, sample_weight: Any, *, is_new: bool) -> tuple[Task, Array]:
        self._check_parameters()
        choice("loss", self.loss, REGRESSION_LOSSES)
        X, rows, y = self._checked_to_learn(X, y, reset=is_new, y_numeric=True)
        y = y.astype(X.dtype)
        if self.loss == "poisson" and (y < 0).any():
            got, remedy = f"{np.count_nonzero(y < 0)} of {y.size} below 0", "counts are not"
            raise ValueError(message('y with loss="poisson"', "be 0 or more", got, remedy))
        return Task(X, rows, lambda _: y, self._checked_weights(sample_weight, X)), y
