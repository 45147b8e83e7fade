"""Reweighting by orthogonality: aligned samples share one vote, orthogonal ones have one each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def weights(rows: NDArray[Any]) -> NDArray[Any]:
    """Weights ``w_j = 1 / sum_k |cos(g_j, g_k)|`` of per-sample gradients ``rows`` (n, d): [1]_, section 3.3.

    ``w @ rows`` is the mean of aligned gradients and the sum of orthogonal ones. A gradient of zero has
    weight 0. One product of the rows with themselves, n**2 d operations.

    References
    ----------
    .. [1] Schaul & LeCun, arXiv 1301.3764.

    Examples
    --------
    >>> weights(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]))
    array([0.5, 0.5, 1. ])
    """
    largest = np.abs(rows).max(axis=1, keepdims=True)
    unit = rows / np.where(largest > 0, largest, 1)  # so that no square overflows or vanishes
    norms = np.sqrt(np.einsum("ij,ij->i", unit, unit))
    is_zero = norms == 0
    unit /= np.where(is_zero, 1, norms)[:, np.newaxis]
    cosines = np.abs(unit @ unit.T)
    np.fill_diagonal(cosines, 1)
    return np.where(is_zero, 0, 1 / cosines.sum(axis=1))
