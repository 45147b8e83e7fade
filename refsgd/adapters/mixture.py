r"""Mixtures of von Mises-Fisher distributions as a scikit-learn estimator: soft clusters of directions.

EM for ``f(u) = sum_j w_j C_d(kappa_j) exp(kappa_j mu_j @ u)`` [1]_, section 4.1, in terms of the gaps
``1 - mu_j @ u``. The log density of a component is that at its mode minus ``kappa_j (1 - mu_j @ u)``, and the
mean gap of its own rows is ``1 - r``: where a component is tight, both are sums of small positive terms, and
no large numbers cancel. The matrix product that an iteration needs to find the concentrations is the one that
the next responsibilities are made of, so there are two of them an iteration. As a departure from [1]_, whose
concentrations are approximate, each M-step is exact, so the likelihood never falls.

References
----------
.. [1] A. Banerjee, I. S. Dhillon, J. Ghosh, S. Sra, "Clustering on the unit hypersphere using von
   Mises-Fisher distributions", JMLR 6, 2005.
.. [2] D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._errors import message
from .._validation import choice, float_array, integer
from ..directional import VonMisesFisher, vmf
from ..directional.bessel import Floats
from ..directional.stats import CHUNK

# Float64 knows a cosine to about 1e-16, so that 1e-12 is the least 1 - r of which four digits can be known.
# Rows closer together than that count as if they were so far apart, which keeps kappa and the likelihood finite.
RESOLUTION = 1e-12
NEAR = 1e-6  # gaps below it are summed from differences: a cosine would give them to fewer than ten digits
NEGLIGIBLE = 1e-100  # of a row; a component of less weight changes the likelihood by less than rounding


class Components(NamedTuple):
    """The parameters of a mixture."""

    means: Floats  # (k, d), unit vectors
    kappa: Floats  # (k,)
    weights: Floats  # (k,), adding up to 1


class VonMisesFisherMixture(DensityMixin, BaseEstimator):
    """Mixture of von Mises-Fisher distributions, fitted by EM.

    Clusters rows by direction and not by length, each with a concentration of its own: text as TF-IDF,
    embeddings, gradients. All rows are divided by their lengths first, in a copy of float64; sparse rows stay
    sparse. A row of length zero has no direction and says nothing: it takes no part in `fit`, which warns of
    it, its log-likelihood is 0, and its probabilities are the weights of the components.

    Parameters
    ----------
    n_components : int
        Number of components.
    concentration : {"free", "shared"}
        One kappa for each component, or one for all: the choice where components have few rows.
    max_iter : int
        Most iterations of EM from one start.
    tol : float
        Change of the mean log-likelihood per row, in nats, below which EM has converged.
    n_init : int
        Number of starts, of which the one with the highest likelihood is kept. One if `init` is an array.
    init : "spherical-k-means++" or (n_components, n_features) array_like
        Means to start from: rows chosen at random, far from each other [2]_, or vectors of any length but
        zero. Weights start equal, with one concentration: that of rows about their nearest means.
    random_state : None, int or numpy.random.RandomState
        Source of the starts and of `sample`.

    Attributes
    ----------
    means_ : (n_components, n_features) ndarray of float64
        Mean directions, unit vectors.
    concentrations_ : (n_components,) ndarray of float64
        kappa of each component. At most about ``(n_features - 1)/2 * 1e12``, which stands for rows that are
        equal: ``1 - r`` is taken to be no less than 1e-12, as float64 hardly tells cosines any closer.
    weights_ : (n_components,) ndarray of float64
        Share of the rows. A component that no row belongs to has weight 0 and stays where it was.
    converged_ : bool
        Whether the change fell below `tol` within `max_iter` iterations.
    n_iter_ : int
        Number of iterations from the start that was kept.
    lower_bound_ : float
        Mean log-likelihood per row with a direction, of the fitted mixture.
    n_features_in_ : int
        Dimension d of the space, at least 2.

    Raises
    ------
    TypeError, ValueError
        By `fit`, if a parameter is out of its range, an entry of X is not finite, or there are fewer rows with
        a direction than components.

    See Also
    --------
    refsgd.VonMisesFisher.fit : one component, with estimators for fewer rows than dimensions.

    Notes
    -----
    Densities are with respect to the area of the unit sphere, as in `refsgd.VonMisesFisher.logpdf`. Maximum
    likelihood overstates concentrations where a component has fewer rows than there are dimensions.

    Examples
    --------
    >>> north = VonMisesFisher([0.0, 0.0, 1.0], 50.0).rvs(300, random_state=0)
    >>> east = VonMisesFisher([1.0, 0.0, 0.0], 5.0).rvs(100, random_state=1)
    >>> mixture = VonMisesFisherMixture(2, random_state=0).fit(np.vstack([north, east]))
    >>> order = mixture.weights_.argsort()
    >>> mixture.weights_[order].round(2)
    array([0.24, 0.76])
    >>> mixture.concentrations_[order].round(1)
    array([ 4.5, 49.3])
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        concentration: str = "free",
        max_iter: int = 100,
        tol: float = 1e-3,
        n_init: int = 1,
        init: Any = "spherical-k-means++",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.concentration = concentration
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.init = init
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> VonMisesFisherMixture:
        """Estimate the components from rows X, (n_samples, n_features), dense or sparse; y is ignored.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the start that was kept did not converge within `max_iter` iterations.
        UserWarning
            If rows of X have length zero.
        """
        max_iter, n_init = integer("max_iter", self.max_iter, 1), integer("n_init", self.n_init, 1)
        is_shared = choice("concentration", self.concentration, ("free", "shared")) == "shared"
        if not self.tol >= 0.0:
            raise ValueError(message("tol", "be 0 or more", self.tol, "pass for example tol=1e-3"))
        rows = self._rows_to_fit(X)
        is_given = not isinstance(self.init, str)
        best: tuple[Components, float, int, bool] | None = None
        random = check_random_state(self.random_state)
        for _ in range(1 if is_given else n_init):
            found = run(rows, self._first_means(rows, random), is_shared, max_iter, self.tol)
            if best is None or found[1] > best[1]:
                best = found
        components, self.lower_bound_, self.n_iter_, self.converged_ = best
        self.means_, self.concentrations_, self.weights_ = components
        if not self.converged_:
            got = f"{self.n_iter_} iterations without convergence"
            remedy = "increase max_iter or tol, or try another init"
            warnings.warn(message("max_iter", "suffice", got, remedy), ConvergenceWarning, stacklevel=2)
        return self

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.intp]:
        """Labels of the rows that the mixture is fitted to: ``fit(X).predict(X)``."""
        return self.fit(X).predict(X)

    def predict(self, X: Any) -> NDArray[np.intp]:
        """Index of the most probable component of each row, (n_samples,)."""
        return self._log_joint(X)[0].argmax(axis=0)

    def predict_proba(self, X: Any) -> Floats:
        """Probability of each component given the row, (n_samples, n_components)."""
        return normalized(self._log_joint(X)[0])[1].T

    def score_samples(self, X: Any) -> Floats:
        """Log-likelihood of each row, in nats, (n_samples,)."""
        return normalized(self._log_joint(X)[0])[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood per row, in nats; y is ignored."""
        return float(self.score_samples(X).mean())

    def aic(self, X: Any) -> float:
        """Akaike's information criterion on X; lower is better."""
        return self._deviance(X)[0] + 2.0 * self._n_parameters()

    def bic(self, X: Any) -> float:
        """Bayesian information criterion on X; lower is better. Rows of length zero do not count."""
        deviance, n = self._deviance(X)
        return deviance + self._n_parameters() * math.log(max(n, 1))

    def sample(self, n_samples: int = 1) -> tuple[Floats, NDArray[np.intp]]:
        """Random rows of the mixture, sorted by component.

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

    def _rows_to_fit(self, X: Any) -> Any:
        """The rows that have a direction, as unit vectors: at least one a component."""
        k = integer("n_components", self.n_components, 1)
        rows, is_zero = unit_rows(self._checked(X, reset=True, ensure_min_samples=2, ensure_min_features=2))
        n, without = is_zero.size, np.count_nonzero(is_zero)
        if n - without < k:
            must = f"be at most the number of rows with a direction, {n - without} of {n}"
            raise ValueError(message("n_components", must, k, "collect more rows or fit fewer components"))
        if not without:
            return rows
        got = f"{without} of {n} that are zero (first: row {is_zero.argmax()})"
        remedy = "they have no direction and take no part in the fit"
        warnings.warn(message("X", "have rows that are not zero", got, remedy), stacklevel=3)
        return rows[~is_zero]

    def _first_means(self, rows: Any, random: Any) -> Floats:
        """Means to start from; on unit rows k-means++ is its spherical form, as |u - v|**2 = 2 (1 - u @ v)."""
        k, dim = self.n_components, rows.shape[1]
        if isinstance(self.init, str):
            choice("init", self.init, ("spherical-k-means++",))
            return kmeans_plusplus(rows, k, random_state=random)[0]
        given = np.array(self.init, dtype=np.float64)
        means, is_zero = unit_rows(float_array("init", given, (k, dim), remedy="pass one mean a component"))
        if is_zero.any():
            got = f"{np.count_nonzero(is_zero)} of {k} that are zero (first: row {is_zero.argmax()})"
            raise ValueError(message("init", "have rows that are not zero", got, "pass directions"))
        return means

    def _checked(self, X: Any, **checks: Any) -> Any:
        """A copy of X in float64, C-contiguous or CSR."""
        form = {"accept_sparse": "csr", "dtype": np.float64, "copy": True, "order": "C"}
        return validate_data(self, X, **form, **checks)

    def _log_joint(self, X: Any) -> tuple[Floats, NDArray[np.bool_]]:
        """Log of weight times density, (k, n), 1 being the density of rows of length zero; which rows are."""
        check_is_fitted(self)
        rows, is_zero = unit_rows(self._checked(X, reset=False))
        components = Components(self.means_, self.concentrations_, self.weights_)
        joint = log_joint(gaps(rows, self.means_), components)
        joint[:, is_zero] = log_or_minus_inf(self.weights_)[:, None]
        return joint, is_zero

    def _deviance(self, X: Any) -> tuple[float, int]:
        """-2 times the log-likelihood of X, and how many rows have a direction."""
        joint, is_zero = self._log_joint(X)
        return -2.0 * float(normalized(joint)[0].sum()), int(np.count_nonzero(~is_zero))

    def _n_parameters(self) -> int:
        k, dim = self.means_.shape
        return k * (dim - 1) + (k if self.concentration == "free" else 1) + k - 1


def run(
    rows: Any, means: Floats, is_shared: bool, max_iter: int, tol: float
) -> tuple[Components, float, int, bool]:
    """EM from given means: the components, their mean log-likelihood, the iterations, and whether it converged."""
    components, gap = start(rows, means)
    log_likelihood, shares = normalized(log_joint(gap, components))
    bound = float(log_likelihood.mean())
    for n_iter in range(1, max_iter + 1):
        components, gap = maximized(rows, shares, components, is_shared)
        log_likelihood, shares = normalized(log_joint(gap, components))
        before, bound = bound, float(log_likelihood.mean())
        if abs(bound - before) < tol:
            return components, bound, n_iter, True
    return components, bound, max_iter, False


def start(rows: Any, means: Floats) -> tuple[Components, Floats]:
    """Components about the given means, of equal weight and concentration, and the gaps (k, n) to them.

    The concentration is that of rows about their nearest means. It is no less than uniform rows would show,
    as at 0 all components would be one for ever.
    """
    gap = gaps(rows, means)
    k, n = gap.shape
    complement = np.clip(gap.min(axis=0).mean(), RESOLUTION, 1.0 - n**-0.5 if n > 1 else 1.0)
    kappa = vmf.concentration(1.0 - complement, means.shape[1], complement)
    return Components(means, np.full(k, kappa), np.full(k, 1.0 / k)), gap


def maximized(rows: Any, shares: Floats, last: Components, is_shared: bool) -> tuple[Components, Floats]:
    """The M-step: the likeliest components given the shares (k, n) of rows in them, and the gaps to them.

    ``mu = S/|S|`` of the weighted sum S, ``A(kappa) = r = |S|/N`` and ``1 - r = sum w (1 - mu @ u)/N``. As the
    likelihood is concave in kappa, where ``1 - r`` is below the resolution the bound itself is likeliest.
    """
    n = shares.sum(axis=1)
    is_alive = n > NEGLIGIBLE
    sums = np.asarray(shares @ rows)
    length = np.sqrt(np.einsum("ij,ij->i", sums, sums))
    moved = is_alive & (length > 0.0)  # rows that cancel have no mean direction: any is as likely
    means = last.means.copy()
    np.divide(sums, length[:, None], out=means, where=moved[:, None])
    gap = gaps(rows, means)
    spread = np.einsum("ij,ij->i", shares, gap)
    if is_shared:
        r, complement = (np.full_like(n, v[is_alive].sum() / n[is_alive].sum()) for v in (length, spread))
    else:
        r, complement = (np.divide(v, n, out=np.ones_like(n), where=is_alive) for v in (length, spread))
    complement = np.clip(complement, RESOLUTION, 1.0)
    r[~is_alive], complement[~is_alive] = 0.5, 0.5  # of no consequence
    kappa = vmf.concentration(np.minimum(r, 1.0), means.shape[1], complement)
    kappa = np.where(is_alive, kappa, last.kappa)
    return Components(means, kappa, np.where(is_alive, n, 0.0) / n[is_alive].sum()), gap


def gaps(rows: Any, means: Floats) -> Floats:
    """``1 - mu_j @ u_i = |u_i - mu_j|**2/2`` of unit vectors, (k, n).

    Small ones are taken from the differences. Not so of sparse rows, which would have to be made dense: their
    gaps are right to about 1e-16, and not relatively.
    """
    if sparse.issparse(rows):
        return np.maximum(1.0 - (rows @ means.T).T, 0.0)
    gap = means @ rows.T
    np.subtract(1.0, gap, out=gap)
    j, i = np.nonzero(gap < NEAR)
    step = max(1, CHUNK // rows.shape[1])
    for at in range(0, i.size, step):
        pairs = j[at : at + step], i[at : at + step]
        off = rows[pairs[1]] - means[pairs[0]]
        gap[pairs] = 0.5 * np.einsum("ij,ij->i", off, off)
    return gap


def log_joint(gap: Floats, components: Components) -> Floats:
    """``log(w_j f_j(u_i))``, (k, n): finite, or -inf where a weight is 0."""
    means, kappa, weights = components
    mode = vmf.log_parts(kappa, means.shape[1])[2]  # log C + kappa, without the cancellation
    joint = gap * -kappa[:, None]
    joint += (mode + log_or_minus_inf(weights))[:, None]
    return joint


def normalized(joint: Floats) -> tuple[Floats, Floats]:
    """The E-step: log-likelihood of each row (n,) and the shares of components in it (k, n), over `joint`."""
    top = joint.max(axis=0)
    joint -= top
    shares = np.exp(joint, out=joint)
    total = shares.sum(axis=0)
    shares /= total
    return top + np.log(total), shares


def log_or_minus_inf(weights: Floats) -> Floats:
    """The logarithm, -inf at 0."""
    return np.log(weights, out=np.full_like(weights, -np.inf), where=weights > 0.0)


def unit_rows(rows: Any) -> tuple[Any, NDArray[np.bool_]]:
    """Divide dense or CSR rows by their lengths, in place, and tell which are zero and stay so.

    By the largest entry first, as squares leave the range of float64 long before lengths do.
    """
    if not sparse.issparse(rows):
        largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
        is_zero = largest == 0.0
        rows /= np.where(is_zero, 1.0, largest)[:, None]
        rows /= np.sqrt(np.where(is_zero, 1.0, np.einsum("ij,ij->i", rows, rows)))[:, None]
        return rows, is_zero
    rows.sum_duplicates()
    n = rows.shape[0]
    row = np.repeat(np.arange(n), np.diff(rows.indptr))
    largest = np.zeros(n)
    np.maximum.at(largest, row, np.abs(rows.data))
    is_zero = largest == 0.0
    rows.data /= np.where(is_zero, 1.0, largest)[row]
    square = np.bincount(row, rows.data * rows.data, minlength=n)
    rows.data /= np.sqrt(np.where(is_zero, 1.0, square))[row]
    return rows, is_zero
