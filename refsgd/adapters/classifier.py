"""Linear classification without a learning rate, as a scikit-learn estimator.

The rule is in `refsgd.sgd.linear`, the course of epochs in `refsgd.adapters.epochs`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .._errors import message
from .._validation import choice
from ..sgd.linear import MARGIN_LOSSES, LinearModel, Rows
from .epochs import Array, LinearEstimator, Task


def _has_probabilities(classifier: VSGDClassifier) -> bool:
    if classifier.loss not in ("log_loss", "modified_huber"):
        must, remedy = "be 'log_loss' or 'modified_huber' for probabilities", "or use CalibratedClassifierCV"
        raise AttributeError(message("loss", must, repr(classifier.loss), remedy))
    return True


class VSGDClassifier(ClassifierMixin, LinearEstimator):
    """Linear classifier learnt by stochastic gradient descent that sets its own rates.

    For logistic regression and support vector machines on dense or sparse rows, in epochs or from a stream.
    Each coefficient has a rate of its own, from the averages of its gradient and the curvature that a linear
    model has in closed form; there is nothing to tune, and the units of the features do not matter.

    Parameters
    ----------
    loss : {"log_loss", "hinge", "squared_hinge", "modified_huber"}
        Loss of the margin. The first and the last give probabilities.
    multi_class : {"ovr", "softmax"}
        With three classes or more, one binary model a class against the rest, or one multinomial model,
        with ``loss="log_loss"``. Two classes are one binary model either way.
    alpha : float
        Strength of the penalty ``alpha / 2 * sum(coef_**2)`` beside the mean loss. Not on the intercept.
    fit_intercept : bool
        Whether there is a constant beside the features.
    batch_size : int
        Samples a step. 1 is fastest to learn.
    max_iter : int
        Most epochs of `fit`.
    tol : float or None
        Loss per epoch by which `fit` must get on; see Notes. None: `max_iter` epochs, come what may.
    n_iter_no_change : int
        Epochs in a row without getting on after which `fit` ends.
    early_stopping : bool
        Whether to set rows aside and watch the loss on them; the coefficients that were best there are kept.
    validation_fraction : float
        Share of the rows to set aside, the same of every class.
    class_weight : dict, "balanced" or None
        Weights of classes, by which those of their samples are multiplied; "balanced" gives every class the
        same sum. Classes that are not in the dict have weight 1.
    average : bool
        Whether `coef_` and `intercept_` are averages over the steps.
    n_jobs : int or None
        Threads for the models of one against the rest; None is 1, -1 all cores. No result depends on it.
    random_state : None, int or numpy.random.RandomState
        Source of the order of samples, one for all classes in each epoch of `fit`, and of the split.
    warm_start : bool
        Whether `fit` goes on from where the estimator is, coefficients and rates.
    verbose : bool
        Show a bar of epochs, on a terminal.
    backend : {"c", "numba", "numpy", "auto"} or None
        As in `refsgd.use_backend`; None is its choice.

    Attributes
    ----------
    classes_ : (K,) ndarray
        Labels of the classes.
    coef_ : (1, n_features) or (K, n_features) ndarray
        Coefficients, one row for two classes. float32 where X is, as everything else learnt, else float64.
    intercept_ : (1,) or (K,) ndarray
        Constants of the scores.
    rates_ : (1, n_features) or (K, n_features) ndarray
        Rates at the end, in units of ``coef_**2 / loss``; NaN of a feature that was 0 throughout.
    n_iter_ : int
        Epochs taken; 1 after `partial_fit`.
    loss_curve_ : (n_epochs,) ndarray of float64
        Mean loss of each epoch, every sample's taken before its step; with one against the rest, the sum
        over the classes.
    validation_loss_curve_ : (n_epochs,) ndarray of float64
        The same of the rows set aside, after each epoch.
    validation_score_ : float
        Accuracy on the rows set aside of the coefficients that were kept.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features, where X has any.

    See Also
    --------
    VSGDRegressor : the same for numbers.
    refsgd.minimize : any model that has gradients.

    Notes
    -----
    `fit` ends when for `n_iter_no_change` epochs in a row the loss (of `loss_curve_`, or of
    `validation_loss_curve_` with `early_stopping`) has not been below the least so far minus `tol`.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [0.9, 100.0], [0.1, 20.0], [0.0, 80.0]])
    >>> classifier = VSGDClassifier(random_state=0).fit(X, ["yes", "yes", "no", "no"])
    >>> classifier.predict([[0.95, 50.0], [0.05, 50.0]])
    array(['yes', 'no'], dtype='<U3')
    """

    _KEPT = (*LinearEstimator._KEPT, "multi_class")

    def __init__(
        self,
        loss: str = "log_loss",
        *,
        multi_class: str = "ovr",
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
        backend: str | None = None,
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
        """Learn from the samples, in random order, epoch after epoch.

        Ctrl-C ends it: the estimator is what it has learnt until then.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            Samples. CSR and C-contiguous arrays of float32 or float64 are taken as they are.
        y : (n_samples,) array_like
            Labels of two classes at least.
        sample_weight : (n_samples,) array_like, optional
            Not negative. A sample of weight 0 is as good as left out.

        Returns
        -------
        VSGDClassifier
            This one, fitted.

        Raises
        ------
        TypeError, ValueError
            If a parameter, an entry of X or a weight is out of its range, or y has fewer than two classes.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the loss still falls after `max_iter` epochs, or at Ctrl-C.
        """
        self._check_parameters()
        is_new = not (self.warm_start and hasattr(self, "_models"))
        X, rows, y = self._checked_to_learn(X, y, reset=is_new)
        check_classification_targets(y)
        classes = np.unique(y) if is_new else self.classes_
        task = self._task(X, rows, y, sample_weight, classes)
        self._check_any_weight(task.weights)
        self._begin_classes(classes, X.dtype, is_new=is_new)
        self._learn_epochs(task)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> VSGDClassifier:
        """Learn from the samples once, as they come: cutting a stream elsewhere changes nothing.

        What rules the epochs of `fit` (`max_iter`, `tol`, `early_stopping`, `random_state`) has no say here.
        Labels in blocks are better shuffled first. Where it raises, the estimator is as it was before; after
        Ctrl-C it has learnt a part of the samples.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : (K,) array_like
            All labels that will ever come. Needed by the first call.

        Returns
        -------
        VSGDClassifier
            This one.

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
        X, rows, y = self._checked_to_learn(X, y, reset=is_new)
        task = self._task(X, rows, y, sample_weight, classes)
        self._begin_classes(classes, X.dtype, is_new=is_new)
        self._learn_once(task)
        return self

    def decision_function(self, X: Any) -> Array:
        """Scores (n_samples,) of the second class, or (n_samples, K) of K > 2 classes."""
        return self._scores(X)

    def predict(self, X: Any) -> Array:
        """Labels (n_samples,)."""
        z = self.decision_function(X)
        labels: Array = self.classes_[self._codes_of(z)]
        return labels

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """Probability of each class, (n_samples, K).

        With one against the rest, the probabilities of the binary models, divided by their sum; of the
        modified Huber loss, the score from -1 to 1 stands for 0 to 1, as in scikit-learn.
        """
        z = self.decision_function(X)
        if self._is_softmax():
            return np.asarray(softmax(z, axis=1))
        p: Array = expit(z) if self.loss == "log_loss" else (np.clip(z, -1.0, 1.0) + 1.0) / 2.0
        if p.ndim == 1:
            return np.stack([1.0 - p if self.loss != "log_loss" else expit(-z), p], axis=1)
        p[p.sum(axis=1) == 0.0] = 1.0
        return p / p.sum(axis=1, keepdims=True)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of `predict_proba`; exact where these underflow, with one log-loss model."""
        if self.loss != "log_loss" or (len(self._fitted()) > 1):
            with np.errstate(divide="ignore"):
                return np.log(self.predict_proba(X))
        z = self.decision_function(X)
        if z.ndim == 2:
            return np.asarray(log_softmax(z, axis=1))
        return np.asarray(log_expit(np.stack([-z, z], axis=1)))

    def _is_softmax(self) -> bool:
        return self.multi_class == "softmax" and len(self.classes_) > 2

    def _codes_of(self, z: Array) -> Array:
        return z.argmax(axis=1) if z.ndim == 2 else (z > 0).astype(np.intp)

    def _score_of(self, task: Task, rows: Any) -> float:
        is_right = self._codes_of(self._scores_of(task.X[rows])) == task.strata[rows]
        return float(np.average(is_right, weights=task.weights[rows]))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        choice("loss", self.loss, MARGIN_LOSSES)
        if choice("multi_class", self.multi_class, ("ovr", "softmax")) == "softmax":
            choice('loss with multi_class="softmax"', self.loss, ("log_loss",))

    def _checked_classes(self, classes: Any, *, is_new: bool) -> Array:
        if classes is None:
            if is_new:
                remedy = "pass all labels that will come"
                raise ValueError(
                    message("classes", "be given at the first call of partial_fit", None, remedy)
                )
            return self.classes_
        classes = np.unique(column_or_1d(classes))
        if not is_new and not np.array_equal(classes, self.classes_):
            must, remedy = f"stay {self.classes_}", "fit anew for other classes"
            raise ValueError(message("classes", must, classes, remedy))
        return classes

    def _task(self, X: Any, rows: Rows, y: Array, sample_weight: Any, classes: Array) -> Task:
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

        def target(k: int) -> Array:
            if is_many and self.multi_class == "softmax":
                return codes.astype(X.dtype)
            return np.where(codes == (k if is_many else 1), one, -one)

        return Task(X, rows, target, weights, codes)

    def _weight_of_class(self, classes: Array, y: Array, weights: Array) -> Array:
        if self.class_weight is None:
            return np.ones(len(classes))
        if isinstance(self.class_weight, str):
            choice("class_weight", self.class_weight, ("balanced",))
            total = np.array([weights[y == label].sum(dtype=float) for label in classes])
            return np.divide(total.sum(), len(classes) * total, out=np.ones(len(classes)), where=total > 0)
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
