"""Pictures of a training run, of a monitor and of a claim, with matplotlib.

>>> from refsgd.plotting import plot_monitor
"""

from .apps.plotting import plot_claim, plot_monitor, plot_training

__all__ = ["plot_claim", "plot_monitor", "plot_training"]
