"""The von Mises-Fisher distribution, ``f(u) = C_d(kappa) exp(kappa mu @ u)`` on the unit sphere of R^d."""

from __future__ import annotations

from .bessel import concentration, mean_resultant_length

__all__ = ["concentration", "mean_resultant_length"]
