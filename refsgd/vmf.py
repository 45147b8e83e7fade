"""Functions of the von Mises-Fisher distribution, vectorised over concentration and dimension.

>>> from refsgd.vmf import concentration
>>> round(float(concentration(0.5, 3)), 4)
1.7968
"""

from .directional.vmf import (
    concentration,
    entropy,
    kl_to_uniform,
    log_h,
    log_normalizer,
    mean_resultant_length,
    mean_resultant_length_complement,
    mean_resultant_length_derivative,
)

__all__ = [
    "concentration",
    "entropy",
    "kl_to_uniform",
    "log_h",
    "log_normalizer",
    "mean_resultant_length",
    "mean_resultant_length_complement",
    "mean_resultant_length_derivative",
]
