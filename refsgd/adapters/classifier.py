"""Linear classification without a learning rate, as a scikit-learn estimator.

The rule is in `refsgd.linear`, the loop over epochs in `refsgd.adapters.linear_base`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .._config import BackendName
from .._errors import message
from .._validation import choice
from ..linear.losses import MARGIN_LOSSES, WITH_PROBABILITY, MarginLoss, probabilities
from ..linear.model import LinearModel, Samples
from .linear_base import Array, LinearEstimator, Task


def _has_probabilities(classifier: VSGDClassifier) -> bool:
    if classifier.loss not in WITH_PROBABILITY:
        must, remedy = "be 'log_loss' or 'modified_huber' for probabilities", "or use CalibratedClassifierCV"
        raise AttributeError(message("loss", must, repr(classifier.loss), remedy))
    return True


class VSGDClassifier(ClassifierMixin, LinearEstimator):
    """Linear classifier learnt by stochastic gradient descent that sets its own rates.

    It fits logistic regression and support vector machines to dense or sparse samples, in epochs or from a
    stream. Each coefficient has its own rate, computed from averages of its gradient and of the curvature,
    which a linear model has in closed form. There is nothing to tune, and the units of the features do not
    matter.

    Parameters
    ----------
    loss : {"log_loss", "hinge", "squared_hinge", "modified_huber"}
        Loss of the margin. The first and the last allow probabilities.
    multi_class : {"ovr", "softmax"}
        With three or more classes: one binary model per class against the rest, or one multinomial model,
        which needs ``loss="log_loss"``. With two classes: one binary model in either case.
    alpha : float
        Strength of the penalty ``alpha / 2 * sum(coef_**2)`` added to the mean loss, without the intercept.
    fit_intercept : bool
        Whether to learn a constant.
    batch_size : int
        Samples per step. 1 learns fastest.
    max_iter : int
        Maximum number of epochs of `fit`.
    tol : float or None
        Minimum improvement of the loss per epoch; see Notes. None: always run `max_iter` epochs.
    n_iter_no_change : int
        Stop after this many consecutive epochs without that improvement.
    early_stopping : bool
        Whether to set samples aside, watch the loss on them, and keep the coefficients that do best there.
    validation_fraction : float
        Share of the samples to set aside, the same in every class.
    class_weight : dict, "balanced" or None
        Weights of the classes, which multiply those of their samples. "balanced" gives every class the same
        total weight. Classes missing from the dict have weight 1.
    average : bool
        Whether `coef_` and `intercept_` are averages over the latest half to three quarters of the steps.
    n_jobs : int or None
        Threads for the models of one against the rest. None means 1, -1 all cores. No result depends on it.
    random_state : None, int or numpy.random.RandomState
        Source of the split and of the order of samples in each epoch of `fit`, the same for all classes.
    warm_start : bool
        Whether `fit` continues from the current coefficients and rates.
    verbose : bool
        Whether to show a progress bar of epochs, on a terminal.
    backend : {"c", "numba", "numpy", "auto"} or None
        Kernels to use; None is the choice of `refsgd.use_backend`.

    Attributes
    ----------
    classes_ : (K,) ndarray
        Labels of the classes.
    coef_ : (1, n_features) or (K, n_features) ndarray
        Coefficients; one row for two classes. float32 if X is, like everything else learnt, else float64.
    intercept_ : (1,) or (K,) ndarray
        Constants of the scores.
    rates_ : (1, n_features) or (K, n_features) ndarray
        Rates after the last step, in units of ``coef_**2 / loss``; NaN for a feature that was always 0.
    n_iter_ : int
        Number of epochs; 1 after `partial_fit`.
    loss_curve_ : (n_epochs,) ndarray of float64
        Mean loss of each epoch; each sample's is computed before its step. With one against the rest, the
        sum over the classes.
    validation_loss_curve_ : (n_epochs,) ndarray of float64
        Mean loss on the samples set aside, after each epoch.
    validation_score_ : float
        Accuracy of the kept coefficients on the samples set aside.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features, if X has any.

    See Also
    --------
    VSGDRegressor : the same for regression.
    refsgd.minimize : fit any model that has gradients.

    Notes
    -----
    `fit` stops when the loss has not fallen below the smallest so far minus `tol` for `n_iter_no_change`
    consecutive epochs: the loss in `loss_curve_`, or with `early_stopping` that in `validation_loss_curve_`.

    One step is `refsgd.kernels.linear_numpy.linear`; docs/linear.md derives it.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [0.9, 100.0], [0.1, 20.0], [0.0, 80.0]])
    >>> classifier = VSGDClassifier(random_state=0).fit(X, ["yes", "yes", "no", "no"])
    >>> classifier.predict([[0.95, 50.0], [0.05, 50.0]])
    array(['yes', 'no'], dtype='<U3')
    """

    _FIXED_WHILE_LEARNING = (*LinearEstimator._FIXED_WHILE_LEARNING, "multi_class")

    def __init__(
        self,
        loss: MarginLoss = "log_loss",
        *,
        multi_class: Literal["ovr", "softmax"] = "ovr",
        alpha: float = 0.0,
        fit_intercept: bool = True,
        batch_size: int = 1,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        n_iter_no_change: int = 5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: Any = None,
        average: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: bool = False,
        backend: BackendName | None = None,
    ) -> None:
        self.loss = loss
        self.multi_class = multi_class
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.average = average
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.backend = backend

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> VSGDClassifier:
        """Learn the samples in random order, epoch after epoch.

        Ctrl-C ends `fit`; the estimator keeps what it has learnt.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            Samples. CSR and C-contiguous arrays of float32 or float64 are used without a copy.
        y : (n_samples,) array_like
            Labels of at least two classes.
        sample_weight : (n_samples,) array_like, optional
            Weights, not negative. Samples of weight 0 are ignored.

        Returns
        -------
        VSGDClassifier
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter, an entry of X or a weight is out of its range, or y has fewer than two classes.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the loss is still falling after `max_iter` epochs, or on Ctrl-C.
        """
        self._check_parameters()
        is_new = not (self.warm_start and hasattr(self, "_models"))
        X, samples, y = self._checked_to_learn(X, y, reset=is_new)
        check_classification_targets(y)
        classes = np.unique(y) if is_new else self.classes_
        task = self._task(X, samples, y, sample_weight, classes)
        self._check_any_weight(task.weights)
        self._begin_classes(classes, X.dtype, is_new=is_new)
        self._learn_epochs(task)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> VSGDClassifier:
        """Learn the samples once, in the given order. How a stream is cut into calls changes nothing.

        The parameters that control the epochs of `fit` (`max_iter`, `tol`, `early_stopping`, `random_state`)
        are ignored. Shuffle the samples first if their labels are sorted. If a call raises, the estimator is
        unchanged; after Ctrl-C it has learnt some of the samples.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : (K,) array_like
            All labels that will ever occur. Required in the first call.

        Returns
        -------
        VSGDClassifier
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As in `fit`, and if `classes` is missing, changes, or lacks a label of y; with
            ``class_weight="balanced"``, which needs all samples at once.
        """
        self._check_parameters()
        is_new = not hasattr(self, "_models")
        if isinstance(self.class_weight, str):
            must, remedy = "be a dict or None for partial_fit", "pass the weights of the classes"
            raise ValueError(message("class_weight", must, repr(self.class_weight), remedy))
        classes = self._checked_classes(classes, is_new=is_new)
        X, samples, y = self._checked_to_learn(X, y, reset=is_new)
        task = self._task(X, samples, y, sample_weight, classes)
        self._begin_classes(classes, X.dtype, is_new=is_new)
        self._learn_once(task)
        return self

    def decision_function(self, X: Any) -> Array:
        """Scores (n_samples,) of the second of two classes, or (n_samples, K) of K > 2 classes."""
        return self._scores(X)

    def predict(self, X: Any) -> Array:
        """Labels (n_samples,)."""
        codes = self._codes_of(self.decision_function(X))
        return np.asarray(self.classes_[codes])

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """Probability of each class, (n_samples, K).

        With one against the rest, the probabilities of the binary models are divided by their sum. With the
        modified Huber loss, scores from -1 to 1 are mapped to 0 to 1, as in scikit-learn.
        """
        return probabilities(self._fitted()[0].loss, self.decision_function(X))

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of `predict_proba`; with a single log-loss model, exact even where these underflow."""
        if self.loss != "log_loss" or len(self._fitted()) > 1:
            with np.errstate(divide="ignore"):
                return np.asarray(np.log(self.predict_proba(X)))
        z = self.decision_function(X)
        if z.ndim == 2:
            return np.asarray(log_softmax(z, axis=1))
        return np.asarray(log_expit(np.stack([-z, z], axis=1)))

    def _codes_of(self, z: Array) -> Array:
        return np.asarray(z.argmax(axis=1)) if z.ndim == 2 else (z > 0).astype(np.intp)

    def _score_of(self, task: Task, chosen: Any) -> float:
        is_right = self._codes_of(self._scores_of(task.X[chosen])) == task.strata[chosen]
        return float(np.average(is_right, weights=task.weights[chosen]))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        choice("loss", self.loss, MARGIN_LOSSES)
        if choice("multi_class", self.multi_class, ("ovr", "softmax")) == "softmax":
            choice('loss with multi_class="softmax"', self.loss, ("log_loss",))

    def _checked_classes(self, classes: Any, *, is_new: bool) -> Array:
        if classes is None:
            if is_new:
                must, remedy = "be given at the first call of partial_fit", "pass all labels that will come"
                raise ValueError(message("classes", must, None, remedy))
            return np.asarray(self.classes_)
        classes = np.unique(column_or_1d(classes))
        if not is_new and not np.array_equal(classes, self.classes_):
            must, remedy = f"stay {self.classes_}", "fit anew for other classes"
            raise ValueError(message("classes", must, classes, remedy))
        return np.asarray(classes)

    def _task(self, X: Any, samples: Samples, y: Array, sample_weight: Any, classes: Array) -> Task:
        if len(classes) < 2:
            got = f"{len(classes)} class"
            raise ValueError(message("y", "have at least 2 classes", got, "collect samples of another one"))
        codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        if (unknown := classes[codes] != y).any():
            must, got = f"have labels of {classes}", f"{y[unknown][0]!r} (first: row {unknown.argmax()})"
            raise ValueError(message("y", must, got, "pass all labels as classes, or fit anew"))
        weights = self._checked_weights(sample_weight, X)
        weights = weights * self._weight_of_class(classes, y, weights)[codes].astype(X.dtype)
        one = X.dtype.type(1)
        is_many = len(classes) > 2

        def target(k: int) -> Any:
            if is_many and self.multi_class == "softmax":
                return np.asarray(codes, X.dtype)
            return np.where(codes == (k if is_many else 1), one, -one)

        return Task(X, samples, target, weights, codes)

    def _weight_of_class(self, classes: Array, y: Array, weights: Array) -> Array:
        if self.class_weight is None:
            return np.ones(len(classes))
        if isinstance(self.class_weight, str):
            choice("class_weight", self.class_weight, ("balanced",))
            total = np.array([weights[y == label].sum(dtype=float) for label in classes])
            ones = np.ones(len(classes))
            return np.asarray(np.divide(total.sum(), len(classes) * total, out=ones, where=total > 0))
        weight = np.asarray(compute_class_weight(self.class_weight, classes=classes, y=y))
        if not (np.isfinite(weight).all() and (weight >= 0).all()):
            remedy = "give every class a finite weight"
            raise ValueError(message("class_weight", "be 0 or more", self.class_weight, remedy))
        return weight

    def _begin_classes(self, classes: Array, dtype: Any, *, is_new: bool) -> None:
        k = len(classes)

        def models() -> list[LinearModel]:
            if k > 2 and self.multi_class == "softmax":
                return [self._model("multinomial", k)]
            return [self._model(self.loss) for _ in range(k if k > 2 else 1)]

        self._begin(models, dtype, is_new=is_new)
        self.classes_ = classes
