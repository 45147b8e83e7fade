"""What the NumPy and Numba code of the Bessel ratio share: where the sums in ``1/s`` hold, and how long."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# From TERMS_FROM[i] on, TERMS[i] terms leave a remainder below one rounding error. The derivative of the
# ratio takes one more, because it needs the sum itself to full relative accuracy.
SERIES_FROM = 32.0
TERMS_FROM = (SERIES_FROM, 46.0, 72.0, 125.0, 330.0, 2e3, 8e3, 2e5)
TERMS = (14, 12, 10, 8, 6, 4, 3, 2)

# After a fourth-order step of 5e-5 the error is below 1e-17. From the start used here, three steps suffice.
LAST_STEP = 5e-5
MAX_STEPS = 8


def double_sum(table: tuple[tuple[float, ...], ...], t: Floats, s: Floats, more: int) -> Floats:
    """``sum_k P_k(t)/s**k`` over the first rows P_k of the table: as many as each s needs, plus `more`."""
    total = np.zeros(s.shape)
    needed = np.searchsorted(TERMS_FROM[1:], s, side="right")
    for i in np.unique(needed):
        at = needed == i
        inside = np.zeros(np.count_nonzero(at))
        for row in reversed(table[: TERMS[i] + more]):
            inside = (inside + polyval(t[at], row)) / s[at]
        total[at] = inside
    return total
