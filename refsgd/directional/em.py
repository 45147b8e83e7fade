r"""EM for mixtures of von Mises-Fisher distributions [1]_, on unit rows that are dense or CSR.

In terms of the gaps ``1 - mu_j @ u``: the log density of a component is that at its mode minus
``kappa_j (1 - mu_j @ u)``, and the mean gap of its own rows is ``1 - r``. Where a component is tight both are
sums of small positive terms, while ``kappa mu @ u`` and ``log H``, the two sides of the equation as printed,
are large and cancel. The matrix product that gives the concentrations is the one that the next
responsibilities are made of, so there are two of them an iteration. As a departure from [1]_, whose
concentrations are approximate, each M-step is exact, so the likelihood never falls.

Arrays are (components, rows): sums over components then run along the rows, which are many.

References
----------
.. [1] A. Banerjee, I. S. Dhillon, J. Ghosh, S. Sra, "Clustering on the unit hypersphere using von
   Mises-Fisher distributions", JMLR 6, 2005.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from . import vmf
from ._series import Floats
from .directions import CHUNK

# A component whose rows are closer than this has no likeliest concentration: the likelihood grows without
# bound. It is held at the concentration of this 1 - r, which keeps likelihoods finite. Cosines of sparse rows
# still give the first digits of it.
RESOLUTION = 1e-13
NEAR = 1e-6  # gaps below it are summed from differences: a cosine would give them to fewer than ten digits
ROUNDING = 1e-14  # of the cosine of two equal sparse rows, whose differences would have to be made dense
NEGLIGIBLE = 1e-100  # of a row; a component of less weight changes the likelihood by less than rounding


class Components(NamedTuple):
    """The parameters of a mixture."""

    means: Floats  # (k, d), unit vectors
    kappa: Floats  # (k,), at most ``largest_kappa(d)``
    weights: Floats  # (k,), adding up to 1


class Step(NamedTuple):
    """Where EM stands after so many iterations."""

    components: Components
    gap: Floats  # (k, n), of rows to means
    bound: float  # mean over rows of the objective that EM climbs


def steps(rows: Any, means: Floats, *, is_shared: bool, is_hard: bool) -> Iterator[Step]:
    """EM from given means, without end: first the start, then what each iteration comes to.

    Parameters
    ----------
    rows : (n, d) ndarray of float64 or CSR matrix or array
        Unit vectors.
    means : (k, d) ndarray of float64
        Unit vectors, too.
    is_shared : bool
        One concentration for all components.
    is_hard : bool
        Each row belongs wholly to its most probable component. What is climbed is then the mean of
        ``max_j log(w_j f_j(u))``, and else that of ``log sum_j w_j f_j(u)``.
    """
    components, gap = start(rows, means)
    while True:
        joint = log_joint(gap, components)
        bound, shares = hard(joint) if is_hard else soft(joint)
        yield Step(components, gap, float(bound.mean()))
        components, gap = maximized(rows, shares, components, is_shared)


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


def soft(joint: Floats) -> tuple[Floats, Floats]:
    """The E-step: log-likelihood of each row (n,), and the shares of components in it (k, n), in `joint`."""
    top = joint.max(axis=0)
    joint -= top
    shares = np.exp(joint, out=joint)
    total = shares.sum(axis=0)
    shares /= total
    return top + np.log(total), shares


def hard(joint: Floats) -> tuple[Floats, Floats]:
    """The same where each row is wholly of its most probable component, and that one's density counts."""
    at = joint.argmax(axis=0), np.arange(joint.shape[1])
    top = joint[at]
    joint[...] = 0.0
    joint[at] = 1.0
    return top, joint


def maximized(rows: Any, shares: Floats, last: Components, is_shared: bool) -> tuple[Components, Floats]:
    """The M-step: the likeliest components for given shares (k, n) of rows, and the gaps to them.

    ``mu = S/|S|`` of the weighted sum S, ``A(kappa) = r = |S|/N`` and ``1 - r = sum w (1 - mu @ u)/N``. As
    the likelihood is concave in kappa, where ``1 - r`` is below the resolution the bound itself is likeliest.
    A component without rows gets weight 0 and stays where it was.
    """
    n = shares.sum(axis=1)
    is_alive = n > NEGLIGIBLE
    means = shares @ rows
    length = np.sqrt(np.einsum("ij,ij->i", means, means))
    has_moved = is_alive & (length > 0.0)  # rows that cancel have no mean direction: any is as likely
    means /= np.where(has_moved, length, 1.0)[:, None]
    means[~has_moved] = last.means[~has_moved]
    gap = gaps(rows, means)
    spread = np.einsum("ij,ij->i", shares, gap)
    n_alive, length_alive, spread_alive = n[is_alive], length[is_alive], spread[is_alive]
    if is_shared:
        r, complement = length_alive.sum() / n_alive.sum(), spread_alive.sum() / n_alive.sum()
    else:
        r, complement = length_alive / n_alive, spread_alive / n_alive
    kappa, weights = last.kappa.copy(), np.zeros_like(n)
    kappa[is_alive] = vmf.concentration(
        np.minimum(r, 1.0), means.shape[1], np.clip(complement, RESOLUTION, 1.0)
    )
    weights[is_alive] = n_alive / n_alive.sum()
    return Components(means, kappa, weights), gap


def largest_kappa(dim: int) -> float:
    """The concentration of ``1 - r = RESOLUTION``, which stands for inf in densities."""
    return float(vmf.concentration(1.0 - RESOLUTION, dim, RESOLUTION))


def gaps(rows: Any, means: Floats) -> Floats:
    """``1 - mu_j @ u_i = |u_i - mu_j|**2/2`` of unit vectors, (k, n).

    Small ones are taken from the differences. Not so of sparse rows, which would have to be made dense: their
    gaps are right to about 1e-16, not relatively, and those that rounding leaves of equal rows are 0.
    """
    if sparse.issparse(rows):
        return _sparse_gaps(rows, means)
    gap = means @ rows.T
    np.subtract(1.0, gap, out=gap)
    if gap.min() < NEAR:
        j, i = np.nonzero(gap < NEAR)
        step = max(1, CHUNK // rows.shape[1])
        for at in range(0, i.size, step):
            pairs = j[at : at + step], i[at : at + step]
            off = rows[pairs[1]] - means[pairs[0]]
            gap[pairs] = 0.5 * np.einsum("ij,ij->i", off, off)
    return gap


def _sparse_gaps(rows: Any, means: Floats) -> Floats:
    gap = np.subtract(1.0, (rows @ means.T).T, order="C")
    gap[gap < ROUNDING] = 0.0
    return gap


def log_joint(gap: Floats, components: Components) -> Floats:
    """``log(w_j f_j(u_i))``, (k, n): finite, or -inf where a weight is 0."""
    means, kappa, weights = components
    mode = vmf.log_parts(kappa, means.shape[1])[2]  # log C + kappa, without the cancellation
    joint = gap * -kappa[:, None]
    joint += (mode + log_or_minus_inf(weights))[:, None]
    return joint


def log_or_minus_inf(weights: Floats) -> Floats:
    """The logarithm, -inf at 0."""
    return np.log(weights, out=np.full_like(weights, -np.inf), where=weights > 0.0)
