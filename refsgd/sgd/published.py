"""The vSGD algorithms as published: which curvature, whose rate, which weighting."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .._errors import message
from .._validation import choice
from ..kernels.contract import BBPROP, FD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .published_run import PublishedRun

CURVATURES = ("fd", "bbprop")
SHARINGS = ("element", "global", "blocks")
WEIGHTINGS = ("dense", "sparse", "orthogonal")


@dataclass(frozen=True)
class PublishedVSGD:
    """The vSGD algorithms of [1]_ and [2]_ to the letter; `VSGD` is the rule to use.

    From running averages of gradient, squared gradient and curvature, each parameter's rate follows as the
    one that should reduce the expected loss most. The default is vSGD-fd; `preset` names the others.

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
    Where each equation is computed, ``kernels`` being `refsgd.kernels.reference`:

    ==================  ==============================  ===================================
    what                published in                    line
    ==================  ==============================  ===================================
    rate of vSGD-l      [1]_, eq. (7)                   ``kernels.bbprop_rates``
    rates of -g and -b  [1]_, section 4.2               ``refsgd.sgd.shared.rates``
    slow start          [1]_, section 4                 ``refsgd.sgd.averages.end_start``
    rate of vSGD-fd     [2]_, algorithm 1               ``kernels.fd_rates``
    minibatches of n    [2]_, eq. (3)                   ``kernels.signal_share``
    probe, curvature    [2]_, algorithm 1               ``kernels.probe_point``, ``curvature``
    outliers, averages  [2]_, algorithm 1               ``kernels.published_step``
    sparse samples      [2]_, section 3.2               `refsgd.sgd.published_sparse`
    orthogonal samples  [2]_, section 3.3               ``refsgd.sgd.orthogonal.weights``
    ==================  ==============================  ===================================

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

    curvature: str = "fd"
    sharing: str = "element"
    weighting: str = "dense"
    outliers: float | None = 2.0

    def __post_init__(self) -> None:
        choice("curvature", self.curvature, CURVATURES)
        choice("sharing", self.sharing, SHARINGS)
        choice("weighting", self.weighting, WEIGHTINGS)
        if self.outliers is not None and not (math.isfinite(self.outliers) and self.outliers > 0):
            raise ValueError(
                message(
                    "outliers",
                    "be a positive number of standard deviations, or None",
                    self.outliers,
                    "keep the published 2.0, or pass None to switch detection off",
                )
            )
        if self.sharing != "element" and self.weighting == "sparse":
            remedy = "shared rates would make a step cost as much as a dense one: weight densely"
            raise ValueError(message("sharing", "be 'element' with weighting='sparse'", self.sharing, remedy))
        if self.sharing != "element" and self.curvature == "fd":
            remedy = "no paper shares rates with curvature='fd': pass curvature='bbprop'"
            raise ValueError(message("sharing", "be 'element'", self.sharing, remedy))

    @classmethod
    def preset(cls, name: str, **changes: Any) -> PublishedVSGD:
        """The rule of that name, ``"vsgd-fd"``, ``"vsgd-l"``, ``"vsgd-g"`` or ``"vsgd-b"``, with changes.

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

    @property
    def requires(self) -> tuple[str, ...]:
        """What a run needs beside gradients, of ``"diag_hess"``, ``"blocks"`` and ``"rows"`` (per sample)."""
        needs = {
            "diag_hess": self.curvature == "bbprop",
            "blocks": self.sharing == "blocks",
            "rows": self.weighting != "dense",
        }
        return tuple(name for name, is_needed in needs.items() if is_needed)

    @property
    def variant(self) -> int:
        """How curvature becomes a rate, as `refsgd.kernels.contract` numbers it."""
        return FD if self.curvature == "fd" else BBPROP

    @property
    def limit(self) -> float:
        """What a variance is multiplied with to give the square of a distance beyond which is an outlier."""
        return math.inf if self.outliers is None else self.outliers**2

    def start(
        self, x0: NDArray[Any], *, blocks: Sequence[int] | None = None, backend: str | None = None
    ) -> PublishedRun:
        """Begin a run at ``x0`` (d,), float32 or float64, which is copied.

        ``blocks`` are the numbers of parameters that share a rate, in order, for ``sharing="blocks"``.

        Raises
        ------
        TypeError, ValueError
            If ``x0`` has another dtype or shape, or an entry that is not finite; if ``blocks`` are missing,
            not needed, or do not add up to d.
        BackendError
            If the backend asked for is not available.
        """
        from .published_run import PublishedRun
        from .published_sparse import PublishedSparseRun

        run = PublishedSparseRun if self.weighting == "sparse" else PublishedRun
        return run(self, x0, blocks=blocks, backend=backend)

    def __call__(self, fun: Any, x0: NDArray[Any], args: tuple[Any, ...] = (), **options: Any) -> Any:
        """Be the ``method`` of `scipy.optimize.minimize`: see `refsgd.sgd.scipy_door`."""
        from .scipy_door import solve

        return solve(self, fun, x0, args, **options)


#: Rules by name. Those of arXiv 1206.1106 detect no outliers.
PRESETS = {
    "vsgd-fd": PublishedVSGD(),
    "vsgd-l": PublishedVSGD(curvature="bbprop", outliers=None),
    "vsgd-g": PublishedVSGD(curvature="bbprop", sharing="global", outliers=None),
    "vsgd-b": PublishedVSGD(curvature="bbprop", sharing="blocks", outliers=None),
}
