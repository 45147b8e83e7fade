r"""EM for mixtures of von Mises-Fisher distributions [1]_, on unit vectors that are dense or CSR.

It works with the gaps ``1 - mu_j @ u``: the log density of a component is its value at the mode minus
``kappa_j (1 - mu_j @ u)``, and the mean gap of the component's own directions is ``1 - r``. If a component is
tight, both are sums of small positive terms, whereas ``kappa mu @ u`` and ``log H``, the two sides of the
equation as printed, are large and cancel. The matrix product that gives the concentrations also gives the
next responsibilities, so an iteration needs two products. Unlike in [1]_, where concentrations are
approximate, each M-step is exact, so the likelihood never falls.

Arrays have shape (components, directions), so that sums over components run along the longer axis.

References
----------
.. [1] A. Banerjee, I. S. Dhillon, J. Ghosh, S. Sra, "Clustering on the unit hypersphere using von
   Mises-Fisher distributions", JMLR 6, 2005.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import vmf
from ._series import Floats
from .directions import CHUNK, is_sparse

# If 1 - r of a component is below this, its likelihood grows with kappa without bound. Its concentration is
# then held at the value for this 1 - r, which keeps likelihoods finite and is large enough for the cosines of
# sparse directions to resolve.
RESOLUTION = 1e-13
NEAR = 1e-6  # smaller gaps are summed from differences: a cosine would give them fewer than ten digits
ROUNDING = 1e-14  # error of the cosine of equal sparse directions; differences would have to be made dense
NEGLIGIBLE = 1e-100  # in directions; less weight changes the likelihood by less than rounding


class Components(NamedTuple):
    """The parameters of a mixture."""

    means: Floats  # (k, d), unit vectors
    kappa: Floats  # (k,), at most ``largest_kappa(d)``
    weights: Floats  # (k,), adding up to 1


class Step(NamedTuple):
    """The state of EM after some iterations."""

    components: Components
    gap: Floats  # (k, n), between means and directions
    bound: float  # mean over directions of the objective that EM increases


def steps(directions: Any, means: Floats, *, is_shared: bool, is_hard: bool) -> Iterator[Step]:
    """Run EM from given means without end: yield the start, then the result of each iteration.

    Parameters
    ----------
    directions : (n, d) ndarray of float64 or CSR matrix or array
        Unit vectors.
    means : (k, d) ndarray of float64
        Unit vectors.
    is_shared : bool
        One concentration for all components.
    is_hard : bool
        Each direction belongs wholly to its most probable component. EM then increases the mean of
        ``max_j log(w_j f_j(u))``, otherwise that of ``log sum_j w_j f_j(u)``.
    """
    components, gap = start(directions, means)
    while True:
        joint = log_joint(gap, components)
        bound, shares = hard(joint) if is_hard else soft(joint)
        yield Step(components, gap, float(bound.mean()))
        components, gap = maximized(directions, shares, components, is_shared)


def start(directions: Any, means: Floats) -> tuple[Components, Floats]:
    """Components about the given means, with equal weights and concentrations, and the gaps (k, n) to them.

    The concentration is that of directions about their nearest means, but at least what uniform directions
    would show, because at 0 all components would stay the same for ever.
    """
    gap = gaps(directions, means)
    k, n = gap.shape
    complement = np.clip(gap.min(axis=0).mean(), RESOLUTION, 1.0 - n**-0.5 if n > 1 else 1.0)
    kappa = vmf.concentration(1.0 - complement, means.shape[1], complement)
    return Components(means, np.full(k, kappa), np.full(k, 1.0 / k)), gap


def soft(joint: Floats) -> tuple[Floats, Floats]:
    """The E-step: log-likelihood of each direction (n,), and its shares in components (k, n), in `joint`."""
    top = joint.max(axis=0)
    joint -= top
    shares = np.exp(joint, out=joint)
    total = shares.sum(axis=0)
    shares /= total
    return top + np.log(total), shares


def hard(joint: Floats) -> tuple[Floats, Floats]:
    """The E-step if each direction belongs wholly to its most probable component, whose density counts."""
    at = joint.argmax(axis=0), np.arange(joint.shape[1])
    top = joint[at]
    joint[...] = 0.0
    joint[at] = 1.0
    return top, joint


def maximized(
    directions: Any, shares: Floats, last: Components, is_shared: bool
) -> tuple[Components, Floats]:
    """The M-step: the likeliest components for given shares (k, n) of directions, and the gaps to them.

    ``mu = S/|S|`` with the weighted sum S, ``A(kappa) = r = |S|/N`` and ``1 - r = sum w (1 - mu @ u)/N``. The
    likelihood is concave in kappa, so the bound itself is likeliest if ``1 - r`` is below the resolution. A
    component without directions gets weight 0 and keeps its mean.
    """
    n = shares.sum(axis=1)
    is_alive = n > NEGLIGIBLE
    means = shares @ directions
    length = np.sqrt(np.einsum("ij,ij->i", means, means))
    has_moved = is_alive & (length > 0.0)  # directions that cancel have no mean: any is as likely
    means /= np.where(has_moved, length, 1.0)[:, None]
    means[~has_moved] = last.means[~has_moved]
    gap = gaps(directions, means)
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
    """The concentration for ``1 - r = RESOLUTION``, which replaces inf in densities."""
    return float(vmf.concentration(1.0 - RESOLUTION, dim, RESOLUTION))


def gaps(directions: Any, means: Floats) -> Floats:
    """``1 - mu_j @ u_i = |u_i - mu_j|**2/2`` of unit vectors, (k, n).

    Small gaps are computed from differences, but not for sparse directions, which would have to be made
    dense: their gaps have an absolute error of about 1e-16, and those that only rounding keeps from 0 become
    0.
    """
    gap: Floats
    if is_sparse(directions):
        gap = np.subtract(1.0, (directions @ means.T).T, order="C")
        gap[gap < ROUNDING] = 0.0
        return gap
    gap = means @ directions.T
    np.subtract(1.0, gap, out=gap)
    if gap.min() < NEAR:
        j, i = np.nonzero(gap < NEAR)
        step = max(1, CHUNK // directions.shape[1])
        for at in range(0, i.size, step):
            pairs = j[at : at + step], i[at : at + step]
            off = directions[pairs[1]] - means[pairs[0]]
            gap[pairs] = 0.5 * np.einsum("ij,ij->i", off, off)
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
