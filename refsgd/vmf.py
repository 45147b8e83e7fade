"""Functions of the von Mises-Fisher distribution, vectorised over kappa, or r, and the dimension.

>>> from refsgd.vmf import concentration
>>> float(concentration(0.5, 3))
1.7967559847237136

The equations are in `refsgd.directional.concentration` and `refsgd.directional.vmf`.
"""

from .directional.vmf import *  # noqa: F403
from .directional.vmf import __all__ as __all__
