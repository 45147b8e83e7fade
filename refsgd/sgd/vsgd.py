"""The default rule: no learning rate, one gradient per step and now and then a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from .._config import BackendName
from .rule import Rule
from .run import Run
from .scipy_method import ScipyMethod
from .sparse import SparseRun


class VSGD(ScipyMethod, Rule):
    """Stochastic gradient descent that needs no learning rate.

    It keeps the idea of [1]_: steps follow from the share of signal in the gradient and from curvature by
    finite differences, and memory from the noise. It measures one curvature, along the step, in the metric of
    the noise, and only every ``sqrt(tau)`` steps: most steps ask for one gradient. `PublishedVSGD` holds the
    algorithms as published.

    Parameters
    ----------
    weighting : {"dense", "sparse", "orthogonal"}, default "dense"
        How a minibatch counts. ``"dense"``: by its mean gradient. ``"sparse"``: likewise, but a parameter
        whose gradient is 0 keeps all it has, and a step costs no more than the non-zeros: for CSR gradients.
        ``"orthogonal"``: by the sum of its samples with weights ``1 / sum_k |cos(g_j, g_k)|`` ([1]_,
        section 3.3), which needs per-sample gradients.
    average : bool, default False
        Keep a polynomial-decay average of x beside x, as ``run.x_avg``. Not with ``"sparse"``.

    Raises
    ------
    TypeError, ValueError
        If an option is none of these.

    See Also
    --------
    PublishedVSGD : vSGD-fd, -l, -g and -b as printed.
    minimize : the same by a function call.
    Run : what `start` returns.

    Notes
    -----
    One step is `refsgd.kernels.dense_numpy.step`, an equation a line; its length is set by
    `refsgd.sgd.length`. docs/departures.md compares it with the published rule.

    References
    ----------
    .. [1] Schaul & LeCun, *Adaptive learning rates and parallelization for stochastic, sparse, non-smooth
       gradients*, arXiv 1301.3764.

    Examples
    --------
    A noisy quadratic: the samples are the noise, and the run drives itself.

    >>> import numpy as np, refsgd
    >>> rng = np.random.default_rng(0)
    >>> run = refsgd.VSGD().start(np.array([10.0, -10.0]))
    >>> for _ in range(500):
    ...     samples = rng.normal(size=(4, 2))
    ...     run.tell(run.ask() - samples)  # gradients of |x - sample|**2 / 2
    ...     if run.is_open:  # at another point, on the same samples
    ...         run.tell(run.ask() - samples)
    >>> bool(np.abs(run.x).max() < 0.2)
    True
    """

    def start(
        self, x0: NDArray[Any], *, groups: Sequence[int] | None = None, backend: BackendName | None = None
    ) -> Run:
        """Begin a run.

        Parameters
        ----------
        x0 : (d,) array
            The first x, float32 or float64; the run copies it.
        groups : sequence of int, optional
            Sizes of groups of neighbouring parameters that begin together, in order, such as the layers of a
            network; one group by default. A group waits until its gradient is not all zero.
        backend : {"auto", "c", "numba", "numpy"}, optional
            The kernels; by default as `refsgd.use_backend` says.

        Returns
        -------
        Run

        Raises
        ------
        TypeError, ValueError
            If ``x0`` has another dtype or shape, or an entry that is not finite; if ``groups`` do not add up
            to d, or are given with ``weighting="sparse"``, where each parameter begins by itself.
        BackendError
            If that backend is not available.

        Examples
        --------
        >>> import refsgd
        >>> refsgd.VSGD().start([1.0, 2.0, 3.0], groups=[2, 1])
        <Run of VSGD(weighting='dense', average=False): d=3, float64, n_steps=0, length=0>
        """
        run = SparseRun if self.weighting == "sparse" else Run
        return run(self, x0, groups=groups, backend=backend)
