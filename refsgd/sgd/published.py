"""The vSGD algorithms as published: which curvature, whose rate, which weighting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from numpy.typing import NDArray

from .._config import BackendName
from .._validation import choice
from .published_rule import PublishedRule
from .published_run import PublishedRun
from .published_sparse import PublishedSparseRun
from .scipy_method import ScipyMethod

PresetName = Literal["vsgd-fd", "vsgd-l", "vsgd-g", "vsgd-b"]


class PublishedVSGD(ScipyMethod, PublishedRule):
    """The vSGD algorithms of [1]_ and [2]_ to the letter; `VSGD` is the rule to use.

    Each parameter takes the rate that should reduce the expected loss most, given running averages of its
    gradient, squared gradient and curvature. The default is vSGD-fd; `preset` names the others.

    Parameters
    ----------
    curvature : {"fd", "bbprop"}, default "fd"
        Curvature by finite differences of gradients ([2]_), or a diagonal Hessian that the user gives, such
        as a Gauss-Newton one by back-propagation ([1]_).
    sharing : {"element", "global", "blocks"}, default "element"
        A rate for each parameter, one for all (vSGD-g), or one for each block (vSGD-b).
    weighting : {"dense", "sparse", "orthogonal"}, default "dense"
        How the samples of a minibatch add up ([2]_, section 3). ``"dense"``: their mean. ``"sparse"``: for
        each parameter the mean over the samples whose gradient is not 0 there; the others change nothing,
        and a step costs no more than the non-zeros. ``"orthogonal"``: the sum of the samples with weights
        ``1 / sum_k |cos(g_j, g_k)|``.
    outliers : float or None, default 2.0
        A gradient or curvature farther than this many standard deviations from its average lengthens the
        memory by one step, so that it does little harm ([2]_). None switches this off, as in [1]_.

    Raises
    ------
    ValueError
        If an option is none of these, or two contradict each other: sparse weighting with shared rates, or
        shared rates with finite differences, which no paper has.

    See Also
    --------
    VSGD : the default rule.
    minimize : ``method="vsgd-fd"`` and so on by a function call.

    Notes
    -----
    Where each equation is computed, ``kernels`` being `refsgd.kernels.published_numpy`:

    ==================  ======================  ===================================
    what                published in            line
    ==================  ======================  ===================================
    rate of vSGD-l      1206.1106, eq. (7)      ``kernels.bbprop_rates``
    rates of -g and -b  1206.1106, section 4.2  ``refsgd.sgd.block_rates.rates``
    slow start          1206.1106, section 4    ``refsgd.sgd.averages.end_start``
    rate of vSGD-fd     1301.3764, algorithm 1  ``kernels.fd_rates``
    minibatches of n    1301.3764, eq. (3)      ``kernels.signal_share``
    probe, curvature    1301.3764, algorithm 1  ``kernels.probe_point``, ``curvature``
    outliers, averages  1301.3764, algorithm 1  ``kernels.published_step``
    sparse samples      1301.3764, section 3.2  ``refsgd.sgd.published_sparse``
    orthogonal samples  1301.3764, section 3.3  ``refsgd.sgd.orthogonal.weights``
    ==================  ======================  ===================================

    References
    ----------
    .. [1] Schaul, Zhang & LeCun, *No more pesky learning rates*, arXiv 1206.1106.
    .. [2] Schaul & LeCun, *Adaptive learning rates and parallelization for stochastic, sparse, non-smooth
       gradients*, arXiv 1301.3764.

    Examples
    --------
    A noisy quadratic: the samples are the noise, and the run drives itself.

    >>> import numpy as np, refsgd
    >>> rng = np.random.default_rng(0)
    >>> run = refsgd.PublishedVSGD().start(np.array([10.0, -10.0]))
    >>> for _ in range(500):
    ...     samples = rng.normal(size=(4, 2))
    ...     run.tell(run.ask() - samples)  # gradients of |x - sample|**2 / 2
    ...     if run.is_open:  # at the probe, on the same samples
    ...         run.tell(run.ask() - samples)
    >>> bool(np.abs(run.x).max() < 0.2)
    True
    """

    @classmethod
    def preset(cls, name: PresetName, **changes: Any) -> PublishedVSGD:
        """The rule of a name, with changes.

        Parameters
        ----------
        name : {"vsgd-fd", "vsgd-l", "vsgd-g", "vsgd-b"}
            The name in the papers.
        **changes
            Options that differ from the paper's.

        Returns
        -------
        PublishedVSGD

        Raises
        ------
        ValueError
            If there is no such name.

        Examples
        --------
        >>> PublishedVSGD.preset("vsgd-g", outliers=2.0)
        PublishedVSGD(curvature='bbprop', sharing='global', weighting='dense', outliers=2.0)
        """
        return replace(PRESETS[choice("name", name, PRESETS)], **changes)

    def start(
        self, x0: NDArray[Any], *, blocks: Sequence[int] | None = None, backend: BackendName | None = None
    ) -> PublishedRun:
        """Begin a run.

        Parameters
        ----------
        x0 : (d,) array
            The first x, float32 or float64; the run copies it.
        blocks : sequence of int, optional
            Sizes of blocks of neighbouring parameters that share a rate, in order, for ``sharing="blocks"``.
        backend : {"auto", "c", "numba", "numpy"}, optional
            The kernels; by default as `refsgd.use_backend` says.

        Returns
        -------
        PublishedRun

        Raises
        ------
        TypeError, ValueError
            If ``x0`` has another dtype or shape, or an entry that is not finite; if ``blocks`` are missing,
            not needed, or do not add up to d.
        BackendError
            If that backend is not available.

        Examples
        --------
        >>> PublishedVSGD.preset("vsgd-b").start([1.0, 2.0, 3.0], blocks=[2, 1]).n_steps
        0
        """
        run = PublishedSparseRun if self.weighting == "sparse" else PublishedRun
        return run(self, x0, blocks=blocks, backend=backend)


#: Rules by name. The rules of arXiv 1206.1106 detect no outliers.
PRESETS: dict[PresetName, PublishedVSGD] = {
    "vsgd-fd": PublishedVSGD(),
    "vsgd-l": PublishedVSGD(curvature="bbprop", outliers=None),
    "vsgd-g": PublishedVSGD(curvature="bbprop", sharing="global", outliers=None),
    "vsgd-b": PublishedVSGD(curvature="bbprop", sharing="blocks", outliers=None),
}
