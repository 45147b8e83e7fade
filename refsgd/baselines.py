"""SGD, AdaGrad, RMSprop and Adam, to compare with: rules like `refsgd.VSGD`, with a learning rate.

>>> from refsgd.baselines import Adam
>>> run = Adam(0.01).start([1.0, 2.0])
"""

from .apps.baselines import SGD, AdaGrad, Adam, Baseline, BaselineRun, RMSprop

__all__ = ["SGD", "AdaGrad", "Adam", "Baseline", "BaselineRun", "RMSprop"]
