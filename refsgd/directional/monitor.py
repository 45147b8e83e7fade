"""How stochastic the gradients of a run are: in size, in direction, and relative to their mean."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _checkpoint
from .._errors import message
from .._validation import integer
from . import estimators
from .fold_sums import FoldSummary, Parts, angle, norm
from .gradients import format_names, parts_of, whole_length
from .group import Group, Lengths, Moments
from .history import reports, table, to_csv, to_json
from .report import EMPTY_REPORT, DirectionReport
from .stats import checked_folds

VERSION = 2


class DirectionMonitor:
    """Watch minibatch gradients as they come, whole or layer by layer, in memory that does not grow.

    Per parameter, it holds ``n_folds + 2`` float64 numbers if gradients are single arrays, and
    ``2 n_folds + 2`` if they come in groups; after a record, one or two more.

    Parameters
    ----------
    every : int, optional
        Call `record` after every so many gradients, for example those of an epoch.
    batch_size : int, optional
        Samples per minibatch, for a noise scale in samples.
    n_folds : int
        Folds to which gradients are dealt in turn, 1 to 20. Jackknife intervals need 3, the test of
        uniformity 2; with 1 there are neither, and it needs little memory.

    See Also
    --------
    refsgd.DirectionReport : what the numbers mean.
    refsgd.DirectionStats : the same statistics for directions given as rows, with weights.
    refsgd.adapters.torch.watch : attach a monitor to a PyTorch optimiser.
    refsgd.plotting.plot_monitor : draw the history.

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

    def __init__(self, every: int | None = None, *, batch_size: int | None = None, n_folds: int = 16) -> None:
        self.every = None if every is None else integer("every", every, 1)
        self.batch_size = None if batch_size is None else integer("batch_size", batch_size, 1)
        self.n_folds = checked_folds(n_folds)
        self.reset()

    def __repr__(self) -> str:
        dim, n_groups = sum(group.dim for group in self._groups.values()), len(self._groups)
        groups = f" in {n_groups} groups" if n_groups > 1 else ""
        return (
            f"<DirectionMonitor of {self._lengths.n} gradients since the last of {len(self._reports)} "
            f"records, dim={dim}{groups}, every={self.every}, batch_size={self.batch_size}, "
            f"n_folds={self.n_folds}>"
        )

    def reset(self) -> None:
        """Forget everything: gradients, their shapes, and the history.

        See Also
        --------
        record : start a new period but keep the history.

        Examples
        --------
        >>> monitor = DirectionMonitor()
        >>> report = monitor.update([3.0, 4.0])
        >>> monitor.reset()
        >>> monitor.n_gradients
        0
        """
        self._reports: list[tuple[int, DirectionReport]] = []
        self._n_before = 0  # gradients of earlier records
        self._groups: dict[str, Group] = {}
        self._restart()

    def _restart(self) -> None:
        """Clear what is known about whole gradients."""
        self._lengths = Lengths()
        self._n_zero = 0
        self._weight = np.zeros(self.n_folds)  # directions in each fold

    @property
    def n_gradients(self) -> int:
        """Gradients seen since the start, including those of earlier records."""
        return self._n_before + self._lengths.n

    def update(self, g: Any) -> DirectionReport | None:
        """Add one gradient.

        Parameters
        ----------
        g : array, or nested dict, list or tuple of arrays
            A minibatch gradient, in units of the loss per unit of the parameters, of any shapes. Keys and
            indices, joined by dots, name the groups. An array is anything that NumPy can read through
            ``__array__`` or ``__dlpack__``, or a parameter that holds it in ``.grad``, such as the values of
            ``dict(model.named_parameters())`` in PyTorch. float32 and float64 on the CPU, in C order, are not
            copied; float16 and bfloat16 are converted, and PyTorch tensors copied from other devices. The
            first gradient fixes names and shapes. None, or a ``.grad`` that is None, stands for a group that
            took no part: it counts as a zero gradient, and a group that never takes part costs no memory. A
            list of numbers is one array.

        Returns
        -------
        DirectionReport or None
            The report, if this gradient was the last of `every`.

        Raises
        ------
        TypeError
            If the dtype is none of these, or an array is not dense or not in the memory of the CPU.
        ValueError
            If groups are missing or new, a shape does not fit, an entry is not finite, or no group has a
            gradient. In each case the monitor stays as it was.

        See Also
        --------
        callback : for `refsgd.minimize`.

        Examples
        --------
        >>> monitor = DirectionMonitor(every=2)
        >>> monitor.update({"weight": np.eye(2), "bias": np.ones(2)})
        >>> report = monitor.update({"weight": np.ones((2, 2)), "bias": None})
        >>> round(report.mean_pairwise_cosine, 2), report.groups["bias"].n_zero
        (0.5, 1)
        """
        parts = parts_of(g, {name: group.shape for name, group in self._groups.items()} or None)
        if not self._groups:
            total = sum(part.flat.size for part in parts.values() if part.flat is not None)
            if total < 2:
                raise ValueError(message("dim", "be at least 2", total, "one number has a sign only"))
            self._groups = {name: Group(self.n_folds, len(parts) > 1) for name in parts}
        whole = whole_length(parts)
        n_directions = int(self._weight.sum())
        fold = n_directions % self.n_folds
        for name, part in parts.items():
            self._groups[name].add(part, whole, fold, n_directions == 0)
        self._lengths.add(1, whole)
        self._n_zero += whole == 0.0
        self._weight[fold] += whole > 0.0
        return self.record() if self.every is not None and self._lengths.n >= self.every else None

    def callback(self, intermediate_result: Any) -> None:
        """Add the gradient of a step of `refsgd.minimize`: pass this method as its ``callback``.

        Parameters
        ----------
        intermediate_result : scipy.optimize.OptimizeResult
            Its ``jac`` is the gradient.

        See Also
        --------
        update : add a gradient in a loop of your own.

        Examples
        --------
        >>> from refsgd import minimize
        >>> monitor, samples = DirectionMonitor(), np.random.default_rng(0).normal(size=(40, 3))
        >>> result = minimize(lambda x, y: x - y, np.ones(3), samples, epochs=1, callback=monitor.callback)
        >>> monitor.n_gradients == result.nit
        True
        """
        self.update(intermediate_result.jac)

    def merge(self, other: DirectionMonitor) -> None:
        """Add the gradients of `other` since its last record, as if they had come after those already here.

        Parameters
        ----------
        other : DirectionMonitor
            A monitor of the same model; it is not changed.

        Raises
        ------
        ValueError
            If `other` has other groups, shapes, `n_folds` or `batch_size`.

        See Also
        --------
        update : add one gradient.

        Examples
        --------
        >>> monitor, other = DirectionMonitor(), DirectionMonitor()
        >>> report = other.update([3.0, 4.0])
        >>> monitor.merge(other)
        >>> monitor.n_gradients
        1
        """
        for name in ("n_folds", "batch_size"):
            if getattr(self, name) != getattr(other, name):
                must, got = f"be {getattr(self, name)}", getattr(other, name)
                raise ValueError(message(f"other.{name}", must, got, "merge monitors of one kind"))
        if not other._groups:
            return
        groups = self._groups or {
            name: Group(self.n_folds, group.in_groups, group.shape) for name, group in other._groups.items()
        }
        if groups.keys() != other._groups.keys():
            must, got = f"have the groups {format_names(groups)}", format_names(other._groups)
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
        self._weight[(n_directions + np.arange(self.n_folds)) % self.n_folds] += other._weight
        self._lengths.add(*other._lengths)
        self._n_zero += other._n_zero

    def report(self) -> DirectionReport:
        """Report on all gradients since the last record.

        Returns
        -------
        DirectionReport
            With NaN for each number that the gradients do not determine.

        See Also
        --------
        record : report, and start a new period.

        Examples
        --------
        >>> monitor = DirectionMonitor()
        >>> report = monitor.update([3.0, 4.0])
        >>> monitor.report().snr
        nan
        """
        return self._report(*self._summaries())

    def record(self) -> DirectionReport:
        """Add a report to `history` and start a new period, with angles from the present mean direction.

        Without gradients since the last record, it adds nothing.

        Returns
        -------
        DirectionReport
            The same as `report`.

        See Also
        --------
        report : without starting a new period.

        Examples
        --------
        >>> monitor = DirectionMonitor()
        >>> for g in ([1.0, 0.0], [0.0, 1.0]):
        ...     report = monitor.update(g)
        ...     report = monitor.update(g)
        ...     report = monitor.record()
        >>> round(report.angle, 3)
        1.571
        """
        own, whole = self._summaries()
        report = self._report(own, whole)
        if self._lengths.n:
            self._reports.append((self.n_gradients, report))
            self._n_before = self.n_gradients
            parts = whole.mean_direction() if len(own) > 1 else [None] * len(own)
            self._groups = {
                name: self._groups[name].restarted(summary.mean_direction()[0], part)
                for (name, summary), part in zip(own.items(), parts, strict=True)
            }
            self._restart()
        return report

    def _summaries(self) -> tuple[dict[str, FoldSummary], FoldSummary]:
        """What the folds say about the directions of each group, and of the whole gradient."""
        own = {name: group.summary() for name, group in self._groups.items()}
        if len(own) == 1:
            return own, next(iter(own.values()))
        parts = (group.share_summary(self._weight) for group in self._groups.values())
        return own, sum(parts, start=FoldSummary.nothing(self._weight))

    def _report(self, own: dict[str, FoldSummary], whole: FoldSummary) -> DirectionReport:
        groups, square, scatter, previous = {}, 0.0, 0.0, []
        for name, group in self._groups.items():
            moments, mean = group.moments(), group.previous(group.mean)
            groups[name] = self._numbers(group.lengths, group.n_zero, moments, own[name], [mean])
            square, scatter = square + moments[0], scatter + moments[1]
            previous.append(group.previous(group.share_mean) if len(own) > 1 else mean)
        report = self._numbers(self._lengths, self._n_zero, (square, scatter), whole, previous)
        return report if "" in groups else report._replace(groups=groups)

    def _numbers(
        self, lengths: Lengths, n_zero: int, moments: Moments, summary: FoldSummary, previous: Parts
    ) -> DirectionReport:
        """A report without its groups."""
        n, report = lengths.n, EMPTY_REPORT._replace(n=lengths.n, n_zero=n_zero, dim=summary.dim)
        if n < 2:
            return report
        square, trace = moments[0], moments[1] / (n - 1)
        return report._replace(
            snr=quotient(math.sqrt(square), math.sqrt(trace)),
            norm_snr=quotient(lengths.mean, math.sqrt(lengths.scatter / (n - 1))),
            noise_scale=(self.batch_size or 1) * noise_scale(square, trace, n),
            **direction_numbers(summary, previous),
        )

    @property
    def history(self) -> NDArray[Any]:
        """All records as a structured array, with a row for the whole gradient and one for each group.

        Its fields are ``step``, the number of gradients until then; ``group``, "" for the whole gradient; and
        those of `DirectionReport`, with the interval as ``kappa_low`` and ``kappa_high``.

        See Also
        --------
        to_dict, to_csv, to_json : the same in other forms.

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
        """`history` as one list per field, such as ``pandas.DataFrame`` takes.

        Returns
        -------
        dict of str to list

        See Also
        --------
        history : the same as an array.

        Examples
        --------
        >>> sorted(DirectionMonitor().to_dict())[:3]
        ['angle', 'dim', 'group']
        """
        columns = self.history
        return {name: columns[name].tolist() for name in columns.dtype.names or ()}

    def to_csv(self, path: str | Path) -> None:
        """Write `history` to a file, which is replaced only once everything is written.

        Parameters
        ----------
        path : str or Path

        See Also
        --------
        to_json : the same as JSON.

        Examples
        --------
        >>> DirectionMonitor().to_csv("history.csv")  # doctest: +SKIP
        """
        to_csv(self.history, path)

    def to_json(self, path: str | Path) -> None:
        """Write `to_dict` to a file, which is replaced only once everything is written.

        JSON has neither NaN nor inf: NaN becomes null, and inf the string "inf".

        Parameters
        ----------
        path : str or Path

        See Also
        --------
        to_csv : the same as text in columns.

        Examples
        --------
        >>> DirectionMonitor().to_json("history.json")  # doctest: +SKIP
        """
        to_json(self.to_dict(), path)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copy of the complete state as plain arrays.

        Returns
        -------
        dict of str to ndarray
            For example for ``np.savez``.

        See Also
        --------
        load_state_dict : continue from it.

        Examples
        --------
        >>> sorted(DirectionMonitor().state_dict())
        ['batch_size', 'counters', 'history', 'lengths', 'names', 'version', 'weight']
        """
        state = {
            "version": np.array(VERSION),
            "batch_size": np.array(self.batch_size or 0),
            "names": np.array(list(self._groups), dtype=str),
            "lengths": np.array([*self._lengths]),
            "counters": np.array([self._n_before, self._n_zero]),
            "weight": self._weight.copy(),
            "history": self.history,
        }
        for i, group in enumerate(self._groups.values()):
            state |= {f"{i}.{name}": array for name, array in group.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue bit for bit from a state with the same `n_folds` and `batch_size`.

        Parameters
        ----------
        state : mapping of str to array
            What `state_dict` returned.

        Raises
        ------
        ValueError
            If `state` is of another version or kind, or incomplete. The monitor then stays as it was.

        See Also
        --------
        state_dict : save the state.

        Examples
        --------
        >>> monitor, other = DirectionMonitor(), DirectionMonitor()
        >>> report = monitor.update([3.0, 4.0])
        >>> other.load_state_dict(monitor.state_dict())
        >>> other.n_gradients
        1
        """
        fresh = DirectionMonitor(self.every, batch_size=self.batch_size, n_folds=self.n_folds)
        names = np.atleast_1d(state.get("names", fresh.state_dict()["names"]))
        for i, name in enumerate(names.tolist()):
            fresh._groups[name] = Group.like(state, f"{i}.", self.n_folds, names.size > 1)
        # The state itself says how long its names and its history are.
        mine = fresh.state_dict() | {name: np.asarray(state[name]) for name in ("history",) if name in state}
        arrays = _checkpoint.load(state, mine, ("batch_size",))
        for i, group in enumerate(fresh._groups.values()):
            group.load(
                {name.removeprefix(f"{i}."): arrays[name] for name in mine if name.startswith(f"{i}.")}
            )
        fresh._weight = arrays["weight"].copy()
        fresh._lengths = Lengths(*arrays["lengths"].tolist())
        fresh._n_before, fresh._n_zero = arrays["counters"].tolist()
        fresh._reports = reports(arrays["history"])
        self.__dict__.update(fresh.__dict__)


def direction_numbers(summary: FoldSummary, previous: Parts) -> dict[str, Any]:
    """The fields of a report that are about directions; none with fewer than 2 directions or parameters.

    `previous` is an earlier mean direction, in parts, or zeros.
    """
    n, dim = int(summary.weight.sum()), summary.dim
    if n < 2 or dim < 2:
        return {}
    r, b = summary.lengths()
    found: dict[str, Any] = {
        "mean_resultant_length": r,
        "kappa": float(estimators.banerjee(r, dim, b)),
        "kappa_unbiased": estimators.unbiased(r, dim, n, b),
        "mean_pairwise_cosine": estimators.mean_pairwise_cosine(r, n, b)[0],
    }
    n_held = np.count_nonzero(summary.weight)
    if n_held >= 2:
        found["uniformity_pvalue"] = estimators.signflip_uniformity(summary.full)
    if n_held >= 3:
        w = summary.weight
        found["kappa_interval"] = estimators.jackknife_interval(
            summary.centred, w, w, summary.sq_distance, dim
        )
    if norm(previous) and norm(summary.resultant):
        found["angle"] = angle(summary.mean_direction(), previous)
    return found


def quotient(signal: float, noise: float) -> float:
    """inf without noise, NaN if both are 0."""
    return signal / noise if noise else math.inf if signal else math.nan


def noise_scale(square: float, trace: float, n: int) -> float:
    """``tr / (|mean|**2 - tr/n)``, the bracket being without bias for the square of the expected gradient."""
    if square == trace == 0.0:
        return math.nan
    signal = square - trace / n
    return trace / signal if signal > 0.0 else math.inf
