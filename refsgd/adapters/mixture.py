"""Mixtures of von Mises-Fisher distributions as a scikit-learn estimator: clusters of directions.

The mathematics is in `refsgd.directional.em`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._errors import message
from .._validation import choice, float_array, integer
from ..directional import VonMisesFisher, em
from ..directional._series import Floats
from ..directional.directions import unit_directions
from ..progress import bar


class Climb(NamedTuple):
    """What EM comes to from one start."""

    step: em.Step
    n_iter: int
    converged: bool

    @property
    def rank(self) -> tuple[int, float]:
        """The larger the better; a likelihood without bound compares with no other."""
        kappa = self.step.components.kappa
        n_collapsed = int(np.count_nonzero(kappa >= em.largest_kappa(self.step.components.means.shape[1])))
        return -n_collapsed, self.step.bound


class VonMisesFisherMixture(DensityMixin, BaseEstimator):
    """Mixture of von Mises-Fisher distributions, fitted by EM [1]_.

    Clusters rows by direction and not by length, each with a concentration of its own: text as TF-IDF,
    embeddings, gradients. All rows are divided by their lengths first, in a copy of float64; sparse rows stay
    sparse. A row of length zero has no direction and says nothing: it takes no part in `fit`, which warns of
    it, nor in `score`, `aic` and `bic`; its probabilities are the weights of the components.

    Parameters
    ----------
    n_components : int
        Number of components.
    concentration : {"free", "shared"}
        One kappa for each component, or one for all: the choice where components have few rows.
    assignment : {"soft", "hard"}
        Whether a row is shared by components as is probable, which maximises the likelihood, or belongs to
        the most probable one alone (soft-moVMF and hard-moVMF of [1]_). Of no influence on `predict_proba`.
    n_init : int
        Number of starts, of which the best is kept: the highest `lower_bound_` among those with the fewest
        concentrations of inf. One if `init` is an array.
    init : "k-means++" or (n_components, n_features) array_like
        Means to start from: rows chosen at random, far from each other in direction [2]_, or vectors of any
        length but zero. Weights start equal, with one concentration: that of rows about their nearest means.
    max_iter : int
        Most iterations of EM from one start.
    tol : float
        Change of `lower_bound_`, in nats a row, below which EM has converged.
    random_state : None, int or numpy.random.RandomState
        Source of the starts and of `sample`.
    verbose : bool
        Show a bar of iterations, on a terminal.

    Attributes
    ----------
    means_ : (n_components, n_features) ndarray of float64
        Mean directions, unit vectors.
    concentrations_ : (n_components,) ndarray of float64
        kappa of each component, and inf where its rows are equal, as far as float64 tells cosines: to
        ``1 - r < 1e-13``. In densities the concentration of that 1 - r stands for inf, so that the other
        components still count.
    weights_ : (n_components,) ndarray of float64
        Share of the rows. A component that all rows have left has weight 0 and stays where it was.
    labels_ : (n_samples,) ndarray of int
        Most probable component of each row that the mixture was fitted to.
    converged_ : bool
        Whether the change fell below `tol` within `max_iter` iterations.
    n_iter_ : int
        Number of iterations from the start that was kept.
    lower_bound_ : float
        What EM maximised: the mean log-likelihood of a row, with ``assignment="hard"`` that of a row and its
        label.
    n_features_in_ : int
        Dimension d of the space, at least 2.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features, where X has any.

    See Also
    --------
    refsgd.VonMisesFisher.fit : one component, with estimators for fewer rows than dimensions.

    Notes
    -----
    Densities are with respect to the area of the unit sphere, as in `refsgd.VonMisesFisher.logpdf`. Maximum
    likelihood overstates concentrations where a component has fewer rows than there are dimensions.

    References
    ----------
    .. [1] A. Banerjee, I. S. Dhillon, J. Ghosh, S. Sra, "Clustering on the unit hypersphere using von
       Mises-Fisher distributions", JMLR 6, 2005.
    .. [2] D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.

    Examples
    --------
    >>> north = VonMisesFisher([0.0, 0.0, 1.0], 50.0).rvs(300, random_state=0)
    >>> east = VonMisesFisher([1.0, 0.0, 0.0], 5.0).rvs(100, random_state=1)
    >>> mixture = VonMisesFisherMixture(2, random_state=0).fit(np.vstack([north, east]))
    >>> order = mixture.weights_.argsort()
    >>> mixture.weights_[order].round(2)
    array([0.24, 0.76])
    >>> mixture.concentrations_[order].round(1)
    array([ 5. , 49.5])
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        concentration: str = "free",
        assignment: str = "soft",
        n_init: int = 1,
        init: Any = "k-means++",
        max_iter: int = 300,
        tol: float = 1e-5,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.concentration = concentration
        self.assignment = assignment
        self.n_init = n_init
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> VonMisesFisherMixture:
        """Estimate the components from rows.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            One direction a row, of any length.
        y : None
            Ignored.

        Returns
        -------
        VonMisesFisherMixture
            This one, fitted.

        Raises
        ------
        TypeError, ValueError
            If a parameter is out of its range, an entry of X is not finite, there are fewer than 2 features,
            or fewer rows with a direction than components, or than 2.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the start that was kept did not converge within `max_iter` iterations, or leaves components
            without rows.
        UserWarning
            If rows of X have length zero.
        """
        n_init = integer("n_init", self.n_init, 1) if isinstance(self.init, str) else 1
        max_iter = integer("max_iter", self.max_iter, 1)
        choice("concentration", self.concentration, ("free", "shared"))
        choice("assignment", self.assignment, ("soft", "hard"))
        if not self.tol >= 0.0:
            raise ValueError(message("tol", "be 0 or more", self.tol, "pass for example tol=1e-5"))
        rows, is_zero = self._rows_to_fit(X)
        random = check_random_state(self.random_state)
        with bar(n_init * max_iter, "iteration", show=bool(self.verbose)) as shown:
            starts = (self._first_means(rows, random) for _ in range(n_init))
            best = max((self._climb(rows, means, max_iter, shown) for means in starts), key=lambda c: c.rank)
        components, gap, self.lower_bound_ = best.step
        kappa, self.weights_ = components.kappa, components.weights
        self.means_ = np.ascontiguousarray(components.means)  # of sparse rows, columns are
        self.concentrations_ = np.where(kappa < em.largest_kappa(self.n_features_in_), kappa, np.inf)
        self.n_iter_, self.converged_ = best.n_iter, best.converged
        self.labels_ = np.full(is_zero.size, self.weights_.argmax())
        self.labels_[~is_zero] = em.log_joint(gap, components).argmax(axis=0)
        self._warn_of_convergence()
        return self

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.intp]:
        """Labels of the rows that the mixture is fitted to: ``fit(X).labels_``."""
        return self.fit(X).labels_

    def predict(self, X: Any) -> NDArray[np.intp]:
        """Index of the most probable component of each row, (n_samples,)."""
        return self._log_joint(X)[0].argmax(axis=0)

    def predict_proba(self, X: Any) -> Floats:
        """Probability of each component given the row, (n_samples, n_components)."""
        return em.soft(self._log_joint(X)[0])[1].T

    def score_samples(self, X: Any) -> Floats:
        """Log-likelihood of each row, in nats, (n_samples,); 0 for rows of length zero, which say nothing."""
        return em.soft(self._log_joint(X)[0])[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood per row with a direction, in nats; y is ignored."""
        total, n = self._log_likelihood(X)
        return total / max(n, 1)

    def aic(self, X: Any) -> float:
        """Akaike's information criterion on X; lower is better."""
        return -2.0 * self._log_likelihood(X)[0] + 2.0 * self._n_parameters()

    def bic(self, X: Any) -> float:
        """Bayesian information criterion on X, (n rows with a direction); lower is better."""
        total, n = self._log_likelihood(X)
        return -2.0 * total + self._n_parameters() * math.log(max(n, 1))

    def sample(self, n_samples: int = 1) -> tuple[Floats, NDArray[np.intp]]:
        """Random rows of the mixture, sorted by component.

        Parameters
        ----------
        n_samples : int
            Number of rows.

        Returns
        -------
        X : (n_samples, n_features) ndarray of float64
            Unit vectors, drawn by :meth:`refsgd.VonMisesFisher.rvs`.
        y : (n_samples,) ndarray of int
            Component of each.
        """
        check_is_fitted(self)
        n = integer("n_samples", n_samples, 1)
        seed = check_random_state(self.random_state).randint(2**32, size=4, dtype=np.uint32)
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(n, self.weights_)
        parts = zip(self.means_, self.concentrations_, counts, strict=True)
        rows = [VonMisesFisher(mu, kappa).rvs(int(count), rng) for mu, kappa, count in parts]
        return np.concatenate(rows), np.repeat(np.arange(len(counts)), counts)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _rows_to_fit(self, X: Any) -> tuple[Any, NDArray[np.bool_]]:
        """The rows that have a direction, as unit vectors, and which of X have none."""
        k = integer("n_components", self.n_components, 1)
        rows, is_zero = unit_directions(self._checked(X, ensure_min_samples=2, ensure_min_features=2))
        n, n_zero = is_zero.size, int(np.count_nonzero(is_zero))
        if n - n_zero < max(k, 2):
            got = f"{n - n_zero} of {n} for n_components={k}"
            remedy = "collect more rows or fit fewer components"
            raise ValueError(message("X", f"have at least {max(k, 2)} rows that are not zero", got, remedy))
        if not n_zero:
            return rows, is_zero
        got = f"{n_zero} of {n} that are zero (first: row {is_zero.argmax()})"
        remedy = "they have no direction and take no part in the fit"
        warnings.warn(message("X", "have rows that are not zero", got, remedy), stacklevel=3)
        return rows[~is_zero], is_zero

    def _first_means(self, rows: Any, random: Any) -> Floats:
        """Means to start from; k-means++ on unit rows, where |u - v|**2 = 2 (1 - u @ v), is spherical."""
        k, dim = self.n_components, rows.shape[1]
        if isinstance(self.init, str):
            choice("init", self.init, ("k-means++",))
            return kmeans_plusplus(rows, k, random_state=random)[0]
        given = np.array(self.init, dtype=np.float64)
        given = float_array("init", given, (k, dim), remedy="pass one mean a component")
        means, is_zero = unit_directions(given)
        if is_zero.any():
            got = f"{np.count_nonzero(is_zero)} of {k} that are zero (first: row {is_zero.argmax()})"
            raise ValueError(message("init", "have rows that are not zero", got, "pass directions"))
        return means

    def _climb(self, rows: Any, means: Floats, max_iter: int, shown: Any) -> Climb:
        """EM from one start."""
        is_shared, is_hard = self.concentration == "shared", self.assignment == "hard"
        before = -math.inf
        for n_iter, step in enumerate(em.steps(rows, means, is_shared=is_shared, is_hard=is_hard)):
            has_converged = abs(step.bound - before) < self.tol
            if has_converged or n_iter == max_iter:
                break
            before = step.bound
            shown.update()
        return Climb(step, n_iter, has_converged)

    def _warn_of_convergence(self) -> None:
        remedy = "increase max_iter or tol, or try another init"
        if not self.converged_:
            got = f"{self.n_iter_} iterations without convergence"
            warnings.warn(message("max_iter", "suffice", got, remedy), ConvergenceWarning, stacklevel=3)
        if n_empty := int(np.count_nonzero(self.weights_ == 0.0)):
            got = f"{n_empty} of {self.n_components} components without any"
            remedy = "fit fewer components or try another init"
            text = message("n_components", "leave rows to each component", got, remedy)
            warnings.warn(text, ConvergenceWarning, stacklevel=3)

    def _checked(self, X: Any, **checks: Any) -> Any:
        """A copy of X in float64, C-contiguous or CSR."""
        form = {"accept_sparse": "csr", "dtype": np.float64, "copy": True, "order": "C"}
        return validate_data(self, X, **form, **checks)

    def _log_joint(self, X: Any) -> tuple[Floats, NDArray[np.bool_]]:
        """Log of weight times density, (k, n), 1 being the density of rows of length zero; which rows are."""
        check_is_fitted(self)
        rows, is_zero = unit_directions(self._checked(X, reset=False))
        kappa = np.minimum(self.concentrations_, em.largest_kappa(self.n_features_in_))
        joint = em.log_joint(em.gaps(rows, self.means_), em.Components(self.means_, kappa, self.weights_))
        joint[:, is_zero] = em.log_or_minus_inf(self.weights_)[:, None]
        return joint, is_zero

    def _log_likelihood(self, X: Any) -> tuple[float, int]:
        """Log-likelihood of X, and how many rows have a direction."""
        joint, is_zero = self._log_joint(X)
        return float(em.soft(joint[:, ~is_zero])[0].sum()), int(np.count_nonzero(~is_zero))

    def _n_parameters(self) -> int:
        k, dim = self.means_.shape
        return k * (dim - 1) + (k if self.concentration == "free" else 1) + k - 1
