"""What the two linear estimators share: checks, the loop over epochs, and when it stops."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._config import backend_name
from .._errors import message
from .._validation import float_array, integer
from ..linear.losses import LossName, values
from ..linear.model import LinearModel, Samples, checked_samples
from ..progress import bar

Array = NDArray[Any]


class Task(NamedTuple):
    """The samples that the models of an estimator learn from."""

    X: Any
    checked: Samples
    target: Callable[[int], Array]  #: y of model k
    weights: Array
    strata: Any = None  #: classes, whose shares a validation split preserves
    unit: float = 1.0  #: of `tol`

    def counting(self) -> NDArray[np.int64]:
        """Numbers of the samples with a positive weight; the others are ignored."""
        return np.flatnonzero(self.weights > 0).astype(np.int64, copy=False)


def contiguous(X: Any) -> csr_array:
    """X as CSR with contiguous arrays, copied only where they are not."""
    csr: csr_array = csr_array(X)
    for name in ("data", "indices", "indptr"):
        setattr(csr, name, np.ascontiguousarray(getattr(csr, name)))
    return csr


class LinearEstimator(BaseEstimator):
    """One linear model, or one per class, that learn together epoch after epoch."""

    #: Parameters that must not change between calls that continue to learn
    _FIXED_WHILE_LEARNING: tuple[str, ...] = ("loss", "fit_intercept", "average", "batch_size")

    _models: list[LinearModel]
    _dtype: np.dtype[Any]
    _fixed: dict[str, Any]

    n_jobs: int | None = None
    epsilon: float = 0.0

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_models")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def coef_(self) -> Array:
        return self._learnt("coef")

    @property
    def intercept_(self) -> Array:
        return np.array([model.intercept for model in self._fitted()], self._dtype).reshape(-1)

    @property
    def rates_(self) -> Array:
        return self._learnt("rates")

    def _learnt(self, name: str) -> Array:
        return np.vstack([getattr(model, name) for model in self._fitted()])

    def _fitted(self) -> list[LinearModel]:
        if not hasattr(self, "_models"):
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet; call fit or partial_fit.")
        return self._models

    def _scores(self, X: Any) -> Array:
        """Scores (n,), or (n, K) for K > 2 classes."""
        check_is_fitted(self)
        return self._scores_of(self._checked(X, reset=False))

    def _scores_of(self, X: Any) -> Array:
        if len(self._models) == 1:
            return self._models[0].decision_function(X)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    # -- before the first step

    def _checked_to_learn(self, X: Any, y: Any, *, reset: bool, **checks: Any) -> tuple[Any, Samples, Array]:
        """X and y from `_checked`, and the samples for all models and epochs, duplicate entries added up."""
        X, y = self._checked(X, y, reset=reset, ensure_all_finite=False, **checks)
        backend = backend_name(self.backend)
        try:
            samples = checked_samples(X, X.shape[1], X.dtype, backend)
        except ValueError:
            assert_all_finite(X, input_name="X", estimator_name=type(self).__name__)
            raise
        if not samples.is_canonical:
            summed = csr_array((X.data, X.indices, X.indptr), shape=X.shape, copy=True)
            summed.sum_duplicates()
            samples = checked_samples(summed, X.shape[1], X.dtype, backend)
        return X, samples, y

    def _checked(self, X: Any, y: Any = "no_validation", *, reset: bool, **checks: Any) -> Any:
        """X as CSR or C-contiguous, in the dtype of the models if there are any; with y if given."""
        dtype = [np.float64, np.float32] if reset else self._dtype
        form = {"accept_sparse": "csr", "dtype": dtype, "order": "C"}
        given = validate_data(self, X, y, reset=reset, **form, **checks)
        X, *rest = given if isinstance(given, tuple) else (given,)
        X = contiguous(X) if issparse(X) else X
        return (X, *rest) if rest else X

    def _check_parameters(self) -> None:
        for name in ("max_iter", "n_iter_no_change", "batch_size"):
            integer(name, getattr(self, name), 1)
        if not 0.0 <= self.alpha < np.inf:
            raise ValueError(message("alpha", "be at least 0 and finite", self.alpha, "pass alpha=0 or more"))
        if self.tol is not None and not self.tol >= 0.0:
            remedy = "pass for example tol=1e-3, or None to run max_iter epochs"
            raise ValueError(message("tol", "be 0 or more, or None", self.tol, remedy))
        if not 0.0 < self.validation_fraction < 1.0:
            got, remedy = self.validation_fraction, "pass for example validation_fraction=0.1"
            raise ValueError(message("validation_fraction", "be between 0 and 1", got, remedy))

    def _check_continues(self) -> None:
        for name, begun in self._fixed.items():
            if getattr(self, name) != begun:
                must, got = f"stay what learning began with ({begun!r})", repr(getattr(self, name))
                raise ValueError(message(name, must, got, "fit anew with warm_start=False"))

    def _checked_weights(self, sample_weight: Any, X: Any) -> Array:
        if sample_weight is None:
            return np.ones(X.shape[0], X.dtype)
        given = np.asarray(sample_weight, X.dtype)
        weights = float_array("sample_weight", given, (X.shape[0],), remedy="pass one weight per sample")
        if (weights < 0).any():
            got = f"{np.count_nonzero(weights < 0)} of {weights.size} that are negative"
            raise ValueError(message("sample_weight", "be 0 or more", got, "remove these samples"))
        return weights

    def _check_any_weight(self, weights: Array) -> None:
        if not weights.any():
            got = f"{weights.size} entries of 0"
            remedy = "give a weight to the samples that should count"
            raise ValueError(message("sample_weight", "not be all zero", got, remedy))

    # -- learning

    def _model(self, loss: LossName, n_outputs: int = 1) -> LinearModel:
        names = ("alpha", "epsilon", "fit_intercept", "average", "batch_size")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        return LinearModel(self.n_features_in_, loss, n_outputs=n_outputs, dtype=self._dtype, **options)

    def _begin(self, models: Callable[[], list[LinearModel]], dtype: Any, *, is_new: bool) -> None:
        """Create the models, or prepare the existing ones to continue."""
        if is_new:
            self._dtype = np.dtype(dtype)
            self._models = models()
            self._fixed = {name: getattr(self, name) for name in self._FIXED_WHILE_LEARNING}
        else:
            self._check_continues()
        for model in self._models:
            model.alpha, model.backend = float(self.alpha), backend_name(self.backend)

    def _learn_once(self, task: Task) -> None:
        """One pass over the samples as they come."""
        self.n_iter_, self.loss_curve_ = 0, np.array([])
        with self._threads() as run:
            loss = self._pass(task, task.counting(), run)
        self.n_iter_, self.loss_curve_ = 1, np.array([loss])

    def _learn_epochs(self, task: Task) -> None:
        """Epochs until the loss stalls or Ctrl-C comes."""
        random = check_random_state(self.random_state)
        learnt, held = self._split(task, random) if self.early_stopping else (task.counting(), None)
        losses: list[float] = []
        held_losses: list[float] = []
        kept, best, n_stalled = None, np.inf, 0
        has_ended = was_stopped = False
        try:
            with bar(self.max_iter, "epoch", show=bool(self.verbose)) as shown, self._threads() as run:
                while not has_ended and len(losses) < self.max_iter:
                    losses.append(self._pass(task, learnt[random.permutation(len(learnt))], run))
                    shown.set_postfix(loss=f"{losses[-1]:.4g}", refresh=False)
                    shown.update()
                    watched = losses[-1]
                    if held is not None:
                        held_losses.append(watched := self._mean_loss(task, held))
                    if self.tol is not None:
                        n_stalled = n_stalled + 1 if watched > best - self.tol * task.unit else 0
                        has_ended = n_stalled >= self.n_iter_no_change
                    if watched < best:
                        best = watched
                        kept = copy.deepcopy(self._models) if held is not None else None
        except KeyboardInterrupt:
            was_stopped = True
        self._models = kept or self._models
        self.n_iter_, self.loss_curve_ = len(losses), np.array(losses)
        if held is not None:
            self.validation_loss_curve_ = np.array(held_losses)
            self.validation_score_ = self._score_of(task, held)
        self._warn(has_ended or self.tol is None, was_stopped)

    def _pass(self, task: Task, order: NDArray[np.int64], run: Callable[..., Any]) -> float:
        """Let every model learn the samples in one order; returns the sum of their mean losses."""

        def learn(k: int) -> float:
            return self._models[k].learn(task.checked, task.target(k), task.weights, order)

        return float(sum(run(learn, range(len(self._models)))))

    @contextmanager
    def _threads(self) -> Iterator[Callable[..., Any]]:
        """A `map` over models. On Ctrl-C it waits for running models: none learns on in the background."""
        n = min(effective_n_jobs(self.n_jobs), len(self._models))
        if n == 1:
            yield map
        else:
            with ThreadPoolExecutor(n) as pool:
                yield pool.map

    def _split(self, task: Task, random: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Samples to learn and samples to watch: shuffled, sorted by class, then picked at equal steps."""
        order = random.permutation(task.counting())
        n_held = max(1, round(self.validation_fraction * len(order)))
        if n_held >= len(order):
            got = f"{n_held} of {len(order)} samples set aside"
            remedy = "give more or pass early_stopping=False"
            raise ValueError(message("validation_fraction", "leave samples to learn from", got, remedy))
        if task.strata is not None:
            order = order[task.strata[order].argsort(kind="stable")]
        held = ((np.arange(n_held) + 0.5) * len(order) / n_held).astype(np.intp)
        return np.delete(order, held), order[held]

    def _mean_loss(self, task: Task, chosen: NDArray[np.int64]) -> float:
        X, weights = task.X[chosen], task.weights[chosen]
        each = [
            values(model.loss, model.decision_function(X), task.target(k)[chosen], self.epsilon)
            for k, model in enumerate(self._models)
        ]
        return float(np.average(sum(each), weights=weights))

    def _score_of(self, task: Task, chosen: NDArray[np.int64]) -> float:
        raise NotImplementedError

    def _warn(self, has_converged: bool, was_stopped: bool) -> None:
        if was_stopped:
            got, remedy = f"Ctrl-C after {self.n_iter_} of them", "the model has learnt until then"
            text = message("epochs", "run to their end", got, remedy)
        elif not has_converged:
            got = f"{self.max_iter} epochs with the loss still falling"
            text = message("max_iter", "suffice", got, "increase max_iter or tol, or pass tol=None")
        else:
            return
        warnings.warn(text, ConvergenceWarning, stacklevel=4)
