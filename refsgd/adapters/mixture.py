"""Mixtures of von Mises-Fisher distributions as a scikit-learn estimator: clusters of directions.

The equations are in `refsgd.directional.em`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, NamedTuple, get_args

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

Concentration = Literal["free", "shared"]
Assignment = Literal["soft", "hard"]


class EMResult(NamedTuple):
    """The result of EM from one start."""

    step: em.Step
    n_iter: int
    converged: bool

    @property
    def rank(self) -> tuple[int, float]:
        """The larger the better; a likelihood without bound cannot be compared with another."""
        kappa = self.step.components.kappa
        n_collapsed = int(np.count_nonzero(kappa >= em.largest_kappa(self.step.components.means.shape[1])))
        return -n_collapsed, self.step.bound


class VonMisesFisherMixture(DensityMixin, BaseEstimator):
    """Mixture of von Mises-Fisher distributions, fitted by EM [1]_.

    It clusters rows by direction, not by length, and each cluster has its own concentration: text as TF-IDF,
    embeddings, gradients. It first divides all rows by their lengths, in a copy in float64; sparse rows stay
    sparse. A row of length zero has no direction: `fit` warns about it and leaves it out, as do `score`,
    `aic` and `bic`; its probabilities are the weights of the components.

    Parameters
    ----------
    n_components : int
        Number of components.
    concentration : {"free", "shared"}
        One kappa for each component, or one for all: choose that if components have few rows.
    assignment : {"soft", "hard"}
        Whether components share a row according to their probabilities, which maximises the likelihood, or
        the row belongs to the most probable one alone (soft-moVMF and hard-moVMF of [1]_). It does not affect
        `predict_proba`.
    n_init : int
        Number of starts. The best is kept: the highest `lower_bound_` among those with the fewest
        concentrations of inf. If `init` is an array, there is one start.
    init : "k-means++" or (n_components, n_features) array_like
        Initial means: rows chosen at random, with directions far from each other [2]_, or vectors of any
        length but zero. Weights start equal, with one concentration, that of rows about their nearest means.
    max_iter : int
        Maximum number of iterations of EM from one start.
    tol : float
        Change of `lower_bound_`, in nats per row, below which EM has converged.
    random_state : None, int or numpy.random.RandomState
        Source of the starts and of `sample`.
    verbose : bool
        Show a progress bar of iterations, on a terminal.

    Attributes
    ----------
    means_ : (n_components, n_features) ndarray of float64
        Mean directions, unit vectors.
    concentrations_ : (n_components,) ndarray of float64
        kappa of each component; inf if its rows are equal as far as float64 resolves cosines,
        ``1 - r < 1e-13``. In densities, the concentration for that 1 - r replaces inf, so that the other
        components still count.
    weights_ : (n_components,) ndarray of float64
        Share of the rows. A component that has lost all rows has weight 0 and keeps its mean.
    labels_ : (n_samples,) ndarray of int
        Most probable component of each row passed to `fit`.
    converged_ : bool
        Whether the change fell below `tol` within `max_iter` iterations.
    n_iter_ : int
        Number of iterations from the start that was kept.
    lower_bound_ : float
        What EM maximised: the mean log-likelihood per row; with ``assignment="hard"``, of rows and labels.
    n_features_in_ : int
        Dimension d of the space, at least 2.
    feature_names_in_ : (n_features,) ndarray of str
        Names of the features, if X has any.

    See Also
    --------
    refsgd.VonMisesFisher.fit : one component, with estimators for fewer rows than dimensions.
    refsgd.DirectionStats : one component, from rows that come in pieces.

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
        concentration: Concentration = "free",
        assignment: Assignment = "soft",
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
            One direction per row, of any length.
        y : None
            Ignored.

        Returns
        -------
        VonMisesFisherMixture
            The fitted mixture itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter is out of range, an entry of X is not finite, or there are fewer than 2 features,
            fewer than 2 rows with a direction, or fewer of them than components.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the start that was kept did not converge within `max_iter` iterations, or leaves components
            without rows.
        UserWarning
            If rows of X have length zero.

        See Also
        --------
        fit_predict : the labels of the rows, too.

        Examples
        --------
        >>> VonMisesFisherMixture(2, random_state=0).fit([[0, 1], [0, 2], [1, 0], [3, 0.1]]).weights_
        array([0.5, 0.5])
        """
        n_init = integer("n_init", self.n_init, 1) if isinstance(self.init, str) else 1
        max_iter = integer("max_iter", self.max_iter, 1)
        choice("concentration", self.concentration, get_args(Concentration))
        choice("assignment", self.assignment, get_args(Assignment))
        if not self.tol >= 0.0:
            raise ValueError(message("tol", "be 0 or more", self.tol, "pass for example tol=1e-5"))
        rows, is_zero = self._rows_to_fit(X)
        random = check_random_state(self.random_state)
        with bar(n_init * max_iter, "iteration", show=bool(self.verbose)) as shown:
            starts = (self._first_means(rows, random) for _ in range(n_init))
            best = max((self._climb(rows, means, max_iter, shown) for means in starts), key=lambda c: c.rank)
        components, gap, self.lower_bound_ = best.step
        kappa, self.weights_ = components.kappa, components.weights
        self.means_ = np.ascontiguousarray(components.means)  # for sparse rows, EM leaves it in Fortran order
        self.concentrations_ = np.where(kappa < em.largest_kappa(self.n_features_in_), kappa, np.inf)
        self.n_iter_, self.converged_ = best.n_iter, best.converged
        self.labels_ = np.full(is_zero.size, self.weights_.argmax())
        self.labels_[~is_zero] = em.log_joint(gap, components).argmax(axis=0)
        self._warn_of_convergence()
        return self

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.intp]:
        """Fit the mixture and return the labels of its rows, ``fit(X).labels_``.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            One direction per row, of any length.
        y : None
            Ignored.

        Returns
        -------
        (n_samples,) ndarray of int

        See Also
        --------
        predict : labels of other rows.

        Examples
        --------
        >>> labels = VonMisesFisherMixture(2, random_state=0).fit_predict([[0, 1], [0, 2], [1, 0], [3, 0.1]])
        >>> int(np.abs(np.diff(labels)).sum())
        1
        """
        labels: NDArray[np.intp] = self.fit(X).labels_
        return labels

    def predict(self, X: Any) -> NDArray[np.intp]:
        """Index of the most probable component of each row.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            One direction per row, of any length.

        Returns
        -------
        (n_samples,) ndarray of int

        See Also
        --------
        predict_proba : how probable the components are.

        Examples
        --------
        >>> mixture = VonMisesFisherMixture(2, init=[[0, 1], [1, 0]]).fit([[1, 9], [-1, 9], [9, 1], [9, -1]])
        >>> mixture.predict([[0, 5], [5, 0]])
        array([0, 1])
        """
        labels: NDArray[np.intp] = self._log_joint(X)[0].argmax(axis=0)
        return labels

    def predict_proba(self, X: Any) -> Floats:
        """Probability of each component given the row.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            One direction per row, of any length.

        Returns
        -------
        (n_samples, n_components) ndarray of float64

        See Also
        --------
        predict : the most probable component.

        Examples
        --------
        >>> mixture = VonMisesFisherMixture(2, init=[[0, 1], [1, 0]]).fit([[1, 9], [-1, 9], [9, 1], [9, -1]])
        >>> mixture.predict_proba([[1, 1]]).round(2)
        array([[0.5, 0.5]])
        """
        return em.soft(self._log_joint(X)[0])[1].T

    def score_samples(self, X: Any) -> Floats:
        """Log-likelihood of each row, in nats; 0 for rows of length zero.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            One direction per row, of any length.

        Returns
        -------
        (n_samples,) ndarray of float64

        See Also
        --------
        score : the mean.
        refsgd.VonMisesFisher.logpdf : of one component.

        Examples
        --------
        >>> mixture = VonMisesFisherMixture(2, init=[[0, 1], [1, 0]]).fit([[1, 9], [-1, 9], [9, 1], [9, -1]])
        >>> mixture.score_samples([[0, 0]])
        array([0.])
        """
        return em.soft(self._log_joint(X)[0])[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood per row with a direction, in nats.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            One direction per row, of any length.
        y : None
            Ignored.

        Returns
        -------
        float

        See Also
        --------
        score_samples : of each row.

        Examples
        --------
        >>> mixture = VonMisesFisherMixture(2, init=[[0, 1], [1, 0]]).fit([[1, 9], [-1, 9], [9, 1], [9, -1]])
        >>> mixture.score([[0, 1]]) > mixture.score([[0, -1]])
        True
        """
        total, n = self._log_likelihood(X)
        return total / max(n, 1)

    def aic(self, X: Any) -> float:
        """Akaike's information criterion on X; lower is better.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            One direction per row, of any length.

        Returns
        -------
        float

        See Also
        --------
        bic : charges more per parameter.

        Examples
        --------
        >>> mixture = VonMisesFisherMixture(2, init=[[0, 1], [1, 0]]).fit([[1, 9], [-1, 9], [9, 1], [9, -1]])
        >>> mixture.aic([[0, 1]]) < mixture.aic([[0, -1]])
        True
        """
        return -2.0 * self._log_likelihood(X)[0] + 2.0 * self._n_parameters()

    def bic(self, X: Any) -> float:
        """Bayesian information criterion on X, where n counts rows with a direction; lower is better.

        Parameters
        ----------
        X : (n_samples, n_features) array_like or scipy.sparse matrix or array
            One direction per row, of any length.

        Returns
        -------
        float

        See Also
        --------
        aic : charges less per parameter.

        Examples
        --------
        >>> mixture = VonMisesFisherMixture(2, init=[[0, 1], [1, 0]]).fit([[1, 9], [-1, 9], [9, 1], [9, -1]])
        >>> mixture.bic([[0, 1]]) < mixture.bic([[0, -1]])
        True
        """
        total, n = self._log_likelihood(X)
        return -2.0 * total + self._n_parameters() * math.log(max(n, 1))

    def sample(self, n_samples: int = 1) -> tuple[Floats, NDArray[np.intp]]:
        """Draw random rows, sorted by component.

        Parameters
        ----------
        n_samples : int
            Number of rows.

        Returns
        -------
        X : (n_samples, n_features) ndarray of float64
            Unit vectors, drawn by :meth:`refsgd.VonMisesFisher.rvs`.
        y : (n_samples,) ndarray of int
            Component of each row.

        See Also
        --------
        refsgd.VonMisesFisher.rvs : from one component.

        Examples
        --------
        >>> mixture = VonMisesFisherMixture(2, random_state=0).fit([[0, 1], [0, 2], [1, 0], [3, 0.1]])
        >>> mixture.sample(5)[0].shape
        (5, 2)
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
        """The directions of rows as unit vectors, and which rows of X have none."""
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
        """Initial means; on unit vectors, |u - v|**2 = 2 (1 - u @ v), so k-means++ works on the sphere."""
        k, dim = self.n_components, rows.shape[1]
        if isinstance(self.init, str):
            choice("init", self.init, ("k-means++",))
            chosen: Floats = kmeans_plusplus(rows, k, random_state=random)[0]
            return chosen
        given = np.array(self.init, dtype=np.float64)
        given = float_array("init", given, (k, dim), remedy="pass one mean per component")
        means: Floats
        means, is_zero = unit_directions(given)
        if is_zero.any():
            got = f"{np.count_nonzero(is_zero)} of {k} that are zero (first: row {is_zero.argmax()})"
            raise ValueError(message("init", "have rows that are not zero", got, "pass directions"))
        return means

    def _climb(self, rows: Any, means: Floats, max_iter: int, shown: Any) -> EMResult:
        """EM from one start."""
        is_shared, is_hard = self.concentration == "shared", self.assignment == "hard"
        before = -math.inf
        for n_iter, step in enumerate(em.steps(rows, means, is_shared=is_shared, is_hard=is_hard)):
            has_converged = abs(step.bound - before) < self.tol
            if has_converged or n_iter == max_iter:
                break
            before = step.bound
            shown.update()
        return EMResult(step, n_iter, has_converged)

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
        """Log of weight times density, (k, n), and which rows have length zero; these have density 1."""
        check_is_fitted(self)
        rows, is_zero = unit_directions(self._checked(X, reset=False))
        kappa = np.minimum(self.concentrations_, em.largest_kappa(self.n_features_in_))
        joint = em.log_joint(em.gaps(rows, self.means_), em.Components(self.means_, kappa, self.weights_))
        joint[:, is_zero] = em.log_or_minus_inf(self.weights_)[:, None]
        return joint, is_zero

    def _log_likelihood(self, X: Any) -> tuple[float, int]:
        """Log-likelihood of X, and the number of rows with a direction."""
        joint, is_zero = self._log_joint(X)
        return float(em.soft(joint[:, ~is_zero])[0].sum()), int(np.count_nonzero(~is_zero))

    def _n_parameters(self) -> int:
        k, dim = map(int, self.means_.shape)
        return k * (dim - 1) + (k if self.concentration == "free" else 1) + k - 1
