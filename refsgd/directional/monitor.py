"""How stochastic the gradients of a run are: in size, in direction, and against their mean.

References
----------
.. [1] C. Lee, K. Cho, W. Kang, "Directional Analysis of Stochastic Gradient Descent via von Mises-Fisher
   Distributions in Deep Learning", arXiv:1810.00150, 2018.
.. [2] S. McCandlish, J. Kaplan, D. Amodei, OpenAI Dota Team, "An empirical model of large-batch training",
   arXiv:1812.06162, 2018.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import message
from .._validation import float_array, integer
from .gradients import listed, parts_of, whole_length
from .group import Directions, Group, Lengths
from .history import reports, table, to_csv, to_json
from .stats import MAX_BLOCKS

VERSION = 1


class DirectionReport(NamedTuple):
    """What a :class:`DirectionMonitor` saw. A number that the gradients do not determine is NaN.

    Attributes
    ----------
    n : int
        Gradients, zero ones included.
    n_zero : int
        Zero gradients: they count for `snr`, `norm_snr` and `noise_scale`, and have no direction. Of a group,
        missing ones too.
    dim : int
        Number of parameters, 0 before the first gradient.
    snr : float
        ``|mean g| / sqrt(tr cov g)``, "gradient stochasticity" of [1]_; covariance with divisor n - 1.
    norm_snr : float
        ``mean |g| / std |g|``, "gradient norm stochasticity" of [1]_; variance with divisor n - 1.
    mean_resultant_length : float
        Length of the mean of the unit gradients.
    kappa : float
        Concentration of the directions, "directional uniformity" of [1]_, by the closed form used there.
        With fewer gradients than parameters it measures their number too: compare runs of equal n, or use
        the next.
    kappa_unbiased : float
        Concentration from the mean pairwise cosine, which does not depend on n but for noise; 0 if no mean
        direction shows.
    kappa_interval : (float, float)
        Jackknife interval of level 0.95 about `kappa_unbiased`; needs 3 directions.
    uniformity_pvalue : float
        P-value of no mean direction, by sign flips of block sums; needs 2 directions.
    mean_pairwise_cosine : float
        Mean of ``cos(g_i, g_j)`` over all pairs; about 0, and perhaps below, where nothing is in common. It
        has the same scale whatever the dimension, so groups may be compared by it.
    angle : float
        Between the mean direction and that of the previous record, in radians.
    noise_scale : float
        Simple noise scale of [2]_, ``tr cov g / (|mean g|**2 - tr cov g / n)`` times the batch size: in
        samples if that was given, else in minibatches. inf where the noise hides the signal.
    groups : dict of str to DirectionReport
        The same of each group of parameters; empty if gradients are single arrays.

    References
    ----------
    .. [1] Lee, Cho & Kang, *Directional analysis of stochastic gradient descent via von Mises-Fisher
       distributions in deep learning*, arXiv 1810.00150.
    .. [2] McCandlish et al., *An empirical model of large-batch training*, arXiv 1812.06162, appendix A.1.
    """

    n: int
    n_zero: int
    dim: int
    snr: float
    norm_snr: float
    mean_resultant_length: float
    kappa: float
    kappa_unbiased: float
    kappa_interval: tuple[float, float]
    uniformity_pvalue: float
    mean_pairwise_cosine: float
    angle: float
    noise_scale: float
    groups: dict[str, DirectionReport]


NAN = math.nan
UNKNOWN = DirectionReport(0, 0, 0, NAN, NAN, NAN, NAN, NAN, (NAN, NAN), NAN, NAN, NAN, NAN, {})


class DirectionMonitor:
    """Watch minibatch gradients as they come, whole or layer by layer, in memory that does not grow.

    That is, in float64 numbers a parameter, ``n_blocks + 2`` for gradients that are single arrays, and
    ``2 n_blocks + 2`` for gradients in groups; after a record, one or two more.

    Parameters
    ----------
    every : int, optional
        `record` by itself after so many gradients, for example those of an epoch.
    batch_size : int, optional
        Samples a minibatch, for a noise scale in samples.
    n_blocks : int
        Blocks that gradients are dealt to in turn, 1 to 20. Intervals by jackknife need 3, the test of
        uniformity 2; with 1 there are neither, and little memory is used.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> monitor = DirectionMonitor(batch_size=10)
    >>> for _ in range(64):
    ...     monitor.update({"weight": 1.0 + rng.normal(size=(10, 9)), "bias": rng.normal(size=10)})
    >>> report = monitor.report()
    >>> round(report.snr, 2), round(report.kappa_unbiased), round(report.noise_scale)
    (0.96, 131, 11)
    >>> low, high = report.kappa_interval
    >>> low < report.kappa_unbiased < high
    True
    >>> {name: round(group.mean_pairwise_cosine, 2) for name, group in report.groups.items()}
    {'weight': 0.5, 'bias': -0.01}
    """

    def __init__(
        self, every: int | None = None, *, batch_size: int | None = None, n_blocks: int = 16
    ) -> None:
        self.every = None if every is None else integer("every", every, 1)
        self.batch_size = None if batch_size is None else integer("batch_size", batch_size, 1)
        self.n_blocks = integer("n_blocks", n_blocks, 1)
        if n_blocks > MAX_BLOCKS:
            raise ValueError(message("n_blocks", f"be at most {MAX_BLOCKS}", n_blocks, "use fewer blocks"))
        self.reset()

    def reset(self) -> None:
        """Forget everything: gradients, their shapes, and the history."""
        self._reports: list[tuple[int, DirectionReport]] = []
        self._n_before = 0  # gradients of earlier records
        self._groups: dict[str, Group] = {}
        self._restart()

    def _restart(self) -> None:
        """What is of the whole gradient, before the first one."""
        self._lengths = Lengths()
        self._n_zero = 0
        self._weight = np.zeros(self.n_blocks)  # directions in each block

    @property
    def n_gradients(self) -> int:
        """Gradients taken in since the start, those of earlier records included."""
        return self._n_before + self._lengths.n

    def update(self, g: Any) -> DirectionReport | None:
        """Take in one gradient.

        Parameters
        ----------
        g : array, or nested dict, list or tuple of arrays
            A minibatch gradient, in the units of the loss per unit of the parameters, of any shapes. Groups
            are named by keys and indices, joined by dots. An array is anything that NumPy can see through
            ``__array__`` or ``__dlpack__``, or a parameter that holds it in ``.grad``, such as the values of
            ``dict(model.named_parameters())`` in PyTorch. float32 and float64 on the CPU, in C order, are
            read where they are; float16 and bfloat16 are converted, and tensors of PyTorch copied from
            other devices. The first gradient fixes names and shapes. None, or a ``.grad`` that is None,
            stands for a group that took no part: it counts as a zero gradient, and a group never seen
            otherwise costs no memory. A list of numbers is one array.

        Returns
        -------
        DirectionReport or None
            The report, where this gradient was the last of `every`.

        Raises
        ------
        TypeError
            If the dtype is none of these, or an array is not dense or not in the memory of the CPU.
        ValueError
            If groups are missing or new, a shape does not fit, an entry is not finite, or no group has a
            gradient. In each case nothing has been taken in.
        """
        parts = parts_of(g, {name: group.shape for name, group in self._groups.items()} or None)
        if not self._groups:
            total = sum(part.flat.size for part in parts.values() if part.flat is not None)
            if total < 2:
                raise ValueError(message("dim", "be at least 2", total, "one number has a sign only"))
            self._groups = {name: Group(self.n_blocks, len(parts) > 1) for name in parts}
        whole = whole_length(parts)
        n_directions = int(self._weight.sum())
        block = n_directions % self.n_blocks
        for name, part in parts.items():
            self._groups[name].add(part, whole, block, n_directions == 0)
        self._lengths.add(Lengths(1, whole))
        self._n_zero += whole == 0.0
        self._weight[block] += whole > 0.0
        return self.record() if self.every is not None and self._lengths.n >= self.every else None

    def callback(self, intermediate_result: Any) -> None:
        """Take in the gradient of a step of `refsgd.minimize`, as its ``callback``."""
        self.update(intermediate_result.jac)

    def merge(self, other: DirectionMonitor) -> None:
        """Take in the gradients of `other` since its last record, as if they had come after the own ones.

        Raises
        ------
        ValueError
            If `other` has other groups, shapes, `n_blocks` or `batch_size`.
        """
        for name in ("n_blocks", "batch_size"):
            if getattr(self, name) != getattr(other, name):
                must, got = f"be {getattr(self, name)}", getattr(other, name)
                raise ValueError(message(f"other.{name}", must, got, "merge monitors of one kind"))
        if not other._groups:
            return
        groups = self._groups or {
            name: Group(self.n_blocks, group.is_part, group.shape) for name, group in other._groups.items()
        }
        if groups.keys() != other._groups.keys():
            must, got = f"have the groups {listed(groups)}", listed(other._groups)
            raise ValueError(message("other", must, got, "merge monitors of the same model"))
        for name, group in groups.items():
            shape = other._groups[name].shape
            if None not in (group.shape, shape) and group.shape != shape:
                where = f'other["{name}"]' if name else "other"
                must = f"have gradients of shape {group.shape}"
                raise ValueError(message(where, must, shape, "merge monitors of the same model"))
        if other is self:
            other = copy.deepcopy(other)
        self._groups = groups
        n_directions = int(self._weight.sum())
        for name, group in groups.items():
            group.merge(other._groups[name], other._weight, n_directions)
        self._weight[(n_directions + np.arange(self.n_blocks)) % self.n_blocks] += other._weight
        self._lengths.add(other._lengths)
        self._n_zero += other._n_zero

    def report(self) -> DirectionReport:
        """Numbers on all gradients since the last record; never raises for want of them."""
        return self._report(*self._directions())

    def record(self) -> DirectionReport:
        """Report, add that to `history`, and begin anew; the next angle is to the mean direction of now.

        Without gradients since the last record there is nothing to add.
        """
        own, whole = self._directions()
        report = self._report(own, whole)
        if self._lengths.n:
            self._reports.append((self.n_gradients, report))
            self._n_before = self.n_gradients
            parts = whole.mean_direction() if len(own) > 1 else [None] * len(own)
            self._groups = {
                name: self._groups[name].restarted(directions.mean_direction()[0], part)
                for (name, directions), part in zip(own.items(), parts, strict=True)
            }
            self._restart()
        return report

    def _directions(self) -> tuple[dict[str, Directions], Directions]:
        """Those of each group, and those of the whole gradient."""
        own = {name: group.directions() for name, group in self._groups.items()}
        if len(own) == 1:
            return own, next(iter(own.values()))
        parts = (group.part_of_directions(self._weight) for group in self._groups.values())
        return own, sum(parts, start=Directions.nothing(self._weight))

    def _report(self, own: dict[str, Directions], whole: Directions) -> DirectionReport:
        groups, square, scatter = {}, 0.0, 0.0
        for name, group in self._groups.items():
            moments = group.moments()
            groups[name] = self._numbers(group.lengths, group.n_zero, *moments, own[name])
            square, scatter = square + moments[0], scatter + moments[1]
        report = self._numbers(self._lengths, self._n_zero, square, scatter, whole)
        return report if "" in groups else report._replace(groups=groups)

    def _numbers(
        self, lengths: Lengths, n_zero: int, square: float, scatter: float, directions: Directions
    ) -> DirectionReport:
        """A report but for its groups; ``square`` is ``|mean|**2``."""
        n, found = lengths.n, UNKNOWN._replace(n=lengths.n, n_zero=n_zero, dim=directions.dim)
        if n < 2:
            return found
        return found._replace(
            snr=quotient(math.sqrt(square), math.sqrt(scatter / (n - 1))),
            norm_snr=quotient(lengths.mean, math.sqrt(lengths.scatter / (n - 1))),
            noise_scale=(self.batch_size or 1) * noise_scale(square, scatter / (n - 1), n),
            **directions.numbers(),
        )

    @property
    def history(self) -> NDArray[Any]:
        """All records as a structured array, a row each for the whole gradient and for every group.

        Its fields are ``step``, the gradients taken in until then; ``group``, "" for the whole; and those of
        `DirectionReport`, the interval as ``kappa_low`` and ``kappa_high``.

        Examples
        --------
        >>> monitor = DirectionMonitor(every=10)
        >>> for i in range(30):
        ...     report = monitor.update(np.array([1.0, i % 3]))
        >>> monitor.history[["step", "n"]].tolist()
        [(10, 10), (20, 10), (30, 10)]
        """
        return table(self._reports)

    def to_dict(self) -> dict[str, list[Any]]:
        """`history` as lists by field, such as ``pandas.DataFrame`` takes."""
        columns = self.history
        return {name: columns[name].tolist() for name in columns.dtype.names or ()}

    def to_csv(self, path: str | Path) -> None:
        """Write `history` to a file, which is only replaced when all is written."""
        to_csv(self.history, path)

    def to_json(self, path: str | Path) -> None:
        """Write `to_dict` to a file, which is only replaced when all is written.

        As JSON has no such numbers, NaN becomes null, and inf the string "inf".
        """
        to_json(self.to_dict(), path)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The whole state as copies in plain arrays, for example for ``np.savez``."""
        state = {
            "version": np.array(VERSION),
            "batch_size": np.array(self.batch_size or 0),
            "names": np.array(list(self._groups), dtype=str),
            "lengths": np.array(self._lengths.state()),
            "counters": np.array([self._n_before, self._n_zero]),
            "weight": self._weight.copy(),
            "history": self.history,
        }
        for i, group in enumerate(self._groups.values()):
            state |= {f"{i}.{key}": array for key, array in group.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state_dict`, to the last bit; it has to be of the same `n_blocks` and `batch_size`.

        Raises
        ------
        ValueError
            If it is of another version or kind, or incomplete. The monitor is then as it was.
        """
        fresh = DirectionMonitor(self.every, batch_size=self.batch_size, n_blocks=self.n_blocks)
        wanted = {"version", "batch_size", "names", "lengths", "counters", "weight", "history"}
        if missing := wanted - set(state):
            raise ValueError(
                message("state", f"have {sorted(wanted)}", f"none of {sorted(missing)}", "save the whole")
            )
        for name, own in (("version", VERSION), ("batch_size", self.batch_size or 0)):
            if int(state[name]) != own:
                raise ValueError(message(f"state {name}", f"be {own}", state[name], "load it into its like"))
        names = [str(name) for name in state["names"]]
        fresh._weight = float_array("state weight", state["weight"], (self.n_blocks,)).copy()
        fresh._lengths = Lengths.from_state(state["lengths"])
        fresh._n_before, fresh._n_zero = map(int, state["counters"])
        fresh._reports = reports(state["history"])
        for i, name in enumerate(names):
            entries = {key.removeprefix(f"{i}."): state[key] for key in set(state) if key.startswith(f"{i}.")}
            fresh._groups[name] = Group.from_state(f"state {i}", entries, self.n_blocks, len(names) > 1)
        self.__dict__.update(fresh.__dict__)


def quotient(signal: float, noise: float) -> float:
    """inf without noise, NaN if both are 0."""
    return signal / noise if noise else math.inf if signal else math.nan


def noise_scale(square: float, trace: float, n: int) -> float:
    """``tr / (|mean|**2 - tr/n)``, the bracket being without bias for the square of the expected gradient."""
    if square == trace == 0.0:
        return math.nan
    signal = square - trace / n
    return trace / signal if signal > 0.0 else math.inf
