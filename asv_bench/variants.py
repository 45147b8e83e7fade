"""The default rule on whole vectors in plain NumPy, with each of its choices an argument: for the ablation.

It uses nothing of refsgd. With the arguments left out it is `refsgd.VSGD`, to rounding; docs/departures.md
has the equations. Per parameter there are x, m (average gradient), v (average square), tau; D = sqrt(v).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Curvature = Literal["quotient", "bound", "between"]

N_START, OVERESTIMATE = 10, 10.0
FIRST_PROBE = 1e-3
LONGEST = 10.0
NEWCOMERS = 0.01
WIDEN = 8


@dataclass(frozen=True)
class Variant:
    """The choices of the rule.

    ``power`` of rho in the step. ``curvature`` along a probe: the Rayleigh quotient R, its Cauchy-Schwarz
    bound N, or sqrt(N R) between them; ``start_by`` is the one that sets lengths in a start. ``length``:
    E lam / E lam**2 ("signal") or 1 / E lam ("inverse"). ``limit``: standard deviations of m beyond which a
    step does not follow an entry; ``guard``: root mean squares beyond which a whole minibatch counts as that;
    None for neither. ``ceiling``: the most that a step goes beyond the minimum of its own minibatch, in the
    mean, as a multiple of the way there; 0 for no ceiling.
    """

    power: float = 0.5
    curvature: Curvature = "quotient"
    length: Literal["signal", "inverse"] = "signal"
    limit: float | None = 3.0
    guard: float | None = 8.0
    start_by: Curvature = "bound"
    ceiling: float = 1.0

    def start(self, x0: Array, *, groups: Sequence[int] | None = None) -> VariantRun:
        """Begin at ``x0``; ``groups`` are sizes of neighbouring parameters that begin together."""
        return VariantRun(self, x0, groups)


def over(part: Array, whole: Array) -> Array:
    """part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


class VariantRun:
    """A run of a variant, driven like a `refsgd.Run`: ``run.tell(grad(run.ask(), *batch))``.

    `_minibatches` is the rule. It yields the points where it wants a gradient.
    """

    def __init__(self, rule: Variant, x0: Array, groups: Sequence[int] | None) -> None:
        self.rule = rule
        self.x, self.x_avg = x0.copy(), x0.copy()
        self.m, self.v, self.tau = np.zeros((3, x0.size), x0.dtype)
        ends = np.cumsum(groups if groups is not None else [x0.size])
        self.groups = [
            slice(end - size, end) for end, size in zip(ends, np.diff(ends, prepend=0), strict=True)
        ]
        self.seen = np.zeros(len(self.groups), int)  # minibatches since a group began, up to N_START
        self.scale = max(1.0, float(np.abs(x0).max()))
        self.length = self.curv = self.curv_sq = self.bound = 0.0
        self.slope = self.bend = 0.0
        self.since_probe = self.since_landing = self.n_probes = 0
        self.energies: list[float] = []  # of the minibatches of a start
        self.n_moves = self.n_steps = self.n_gradients = 0
        self.is_open = False
        self._rule = self._minibatches()
        self._point = next(self._rule)

    def ask(self) -> Array:
        """The point where the next gradient is wanted."""
        return self._point

    def tell(self, grad: Array) -> None:
        """Learn from the mean gradient of a minibatch at the point of `ask`."""
        if not np.isfinite(np.vdot(grad, grad)):
            raise FloatingPointError(f"grad must be finite at step {self.n_steps}")
        self.n_gradients += 1
        self._point = self._rule.send(grad)

    def step(self, f: Callable[[Array, Any], Array], batch: Any) -> None:
        """The whole of one minibatch: ``f(x, batch)`` is its mean gradient at x."""
        self.tell(f(self.ask(), batch))
        if self.is_open:
            self.tell(f(self.ask(), batch))

    def _second(self, point: Array) -> Generator[Array, Array, Array]:
        """The gradient of the same minibatch at another point."""
        self.is_open = True
        other = yield point
        self.is_open = False
        return other

    # -- the rule

    def _minibatches(self) -> Generator[Array, Array, None]:
        left = 0  # minibatches left of a start
        while True:
            g = (yield self.x).copy()
            before = self.seen > 0
            lives = before | np.array([g[group].any() for group in self.groups])
            fresh = self._size(lives & ~before)
            if left == 0 and fresh > NEWCOMERS * self._size(before):
                left = N_START
                self.length = 0.0
            joined = self._mask(self.seen == N_START)
            if left:
                yield from self._start(g, self._mask(lives), joined, is_first=left == N_START)
                self.energies.append(float(np.sum(g * g)))
                left -= 1
            elif joined.any():
                yield from self._move(g, joined)
            self._collect(g, lives)
            if left == 0 and self.n_probes == N_START - 1:
                self._settle()
                if not joined.any():
                    self._leave_out_outlier()
                self.energies.clear()
            self.n_steps += 1

    def _start(self, g: Array, live: Array, joined: Array, is_first: bool) -> Generator[Array, Array, None]:
        """x stands still, lengths grow from a very short one; what has joined goes on averaging."""
        if is_first:
            self.n_probes = 0
        else:
            if self.length == 0:
                steepest = float(over(np.abs(self.m), np.sqrt(self.v)).max())
                first = FIRST_PROBE * max(1.0, float(np.abs(self.x).max()))
                self.length = first / steepest if steepest > 0 else 0.0
                self.curv = self.curv_sq = self.bound = 0.0
            curvatures = yield from self._probe(g, live)
            curv, bound = curvatures[self.rule.curvature], curvatures[self.rule.start_by]
            self.n_probes += 1
            self.length = min(1 / bound if bound > 0 else math.inf, 2 * self.length)
            self.bound += (bound - self.bound) / self.n_probes
            self.curv += (curv - self.curv) / self.n_probes
            self.curv_sq += (curv * curv - self.curv_sq) / self.n_probes
        keep = np.where(joined, 1 / np.maximum(self.tau, 1), 0).astype(g.dtype)
        self.m += keep * (g - self.m)
        self.v += keep * (g * g - self.v)

    def _settle(self) -> None:
        """The metric D is now over-estimated by a root, and curvatures in it shrink by that."""
        self.n_probes = 0
        root = math.sqrt(OVERESTIMATE)
        self.curv, self.curv_sq = self.curv / root, self.curv_sq / OVERESTIMATE
        self.length = root / self.bound if self.bound > 0 else self.length
        self.since_probe = 0

    def _leave_out_outlier(self) -> None:
        """Where a minibatch of the first start is out of proportion, all count as the median one."""
        mean, median = np.mean(self.energies), np.median(self.energies)
        if self.rule.guard is None or not mean > self.rule.guard**2 * median > 0:
            return
        factor = math.sqrt(median / mean)
        self.m *= self.m.dtype.type(factor)
        self.v *= self.v.dtype.type(factor**2)
        self.length *= factor
        self.curv, self.curv_sq = self.curv / factor, self.curv_sq / factor**2

    def _collect(self, g: Array, lives: Array) -> None:
        """Plain means of each group's first ten minibatches; then it joins."""
        for i, group in enumerate(self.groups):
            if lives[i] and self.seen[i] < N_START:
                self.seen[i] += 1
                self.m[group] += (g[group] - self.m[group]) / self.seen[i]
                self.v[group] += (g[group] ** 2 - self.v[group]) / self.seen[i]
                if self.seen[i] == N_START:
                    self.v[group] *= OVERESTIMATE
                    self.tau[group] = N_START

    def _move(self, g: Array, joined: Array) -> Generator[Array, Array, None]:
        memory = float(self.tau[joined].mean())
        self.since_probe, self.since_landing = self.since_probe + 1, self.since_landing + 1
        if self.since_probe >= math.sqrt(memory):  # sqrt(tau) probes in a memory of tau steps
            curvatures = yield from self._probe(g, joined)
            self._follow(curvatures[self.rule.curvature], 1 / max(memory / self.since_probe, N_START))
            self.since_probe = 0
        elif self.rule.ceiling and self.since_landing >= math.sqrt(memory):
            yield from self._land(g, joined, 1 / max(memory / self.since_landing, N_START))
            self.since_landing = 0
        if self.bend > 0:
            self.length = min(self.length, max(self.rule.ceiling * self.slope / self.bend, self.length / 2))
        self._step(self._guarded(g, joined), joined)

    def _follow(self, curv: float, share: float) -> None:
        """The length by the curvature along a probe, at most a factor 2 from the last."""
        self.curv += share * (curv - self.curv)
        self.curv_sq += share * (curv * curv - self.curv_sq)
        if self.rule.length == "signal":
            wanted = self.curv / self.curv_sq if self.curv_sq > 0 else math.inf
        else:
            wanted = 1 / self.curv if self.curv > 0 else math.inf
        may_grow = curv > 0 or self.length < LONGEST * self.scale
        self.length = min(max(wanted, self.length / 2), 2 * self.length if may_grow else self.length)

    def _probe(self, g: Array, live: Array) -> Generator[Array, Array, dict[str, float]]:
        """Curvatures along the averaged step: of this minibatch, in the metric D."""
        D = np.sqrt(self.v)
        offset = over(g.dtype.type(self.length) * self.m, D)
        shortest = WIDEN * np.finfo(g.dtype).eps * np.abs(self.x)
        offset = np.where(np.abs(offset) <= shortest, np.copysign(shortest, offset), offset)
        point = np.where(live, self.x - offset, self.x)
        change = g - (yield from self._second(point))
        d = self.x - point
        d2 = float(np.sum(d * d * D))
        if d2 <= 0:
            return {"quotient": 0.0, "bound": 0.0, "between": 0.0}
        quotient = abs(float(np.sum(d * change))) / d2
        bound = math.sqrt(float(np.sum(over(change**2, D))) / d2)
        return {"quotient": quotient, "bound": bound, "between": math.sqrt(quotient * bound)}

    def _land(self, g: Array, joined: Array, share: float) -> Generator[Array, Array, None]:
        """Slope and bend of this minibatch's loss along its own step."""
        point = np.where(joined, self._moved(g), self.x)
        change = g - (yield from self._second(point))
        u = self.x - point
        slope = float(np.sum(g * u)) / self.length
        bend = float(np.sum(u * change)) / self.length**2
        if math.isfinite(slope + bend) and slope > 0:
            share = share if self.slope > 0 else 1.0
            self.slope += share * (slope - self.slope)
            self.bend += share * (bend - self.bend)

    def _guarded(self, g: Array, joined: Array) -> Array:
        """A minibatch out of proportion counts as ``guard`` root mean squares."""
        energy, usual = float(np.sum(g[joined] ** 2)), float(np.sum(self.v[joined]))
        if self.rule.guard is not None and energy > self.rule.guard**2 * usual > 0:
            return g * g.dtype.type(self.rule.guard * math.sqrt(usual / energy))
        return g

    def _moved(self, g: Array) -> Array:
        """x after a step along g."""
        rho = np.minimum(over(self.m**2, self.v), 1)
        if self.rule.limit is not None:
            reach = self.rule.limit * np.sqrt(np.abs(self.v - self.m**2))
            g = np.clip(g, self.m - reach, self.m + reach)
        rate = over(g.dtype.type(self.length) * rho**self.rule.power, np.sqrt(self.v))
        point = self.x - rate * g
        return np.where(np.isfinite(point), point, self.x)

    def _step(self, g: Array, joined: Array) -> None:
        is_outlier = (g - self.m) ** 2 > 4 * np.abs(self.v - self.m**2)
        tau = np.where(joined, self.tau + is_outlier, 1)
        self.m += np.where(joined, (g - self.m) / tau, 0)
        self.v += np.where(joined, (g * g - self.v) / tau, 0)
        self.x = np.where(joined, self._moved(g), self.x)
        rho = np.minimum(over(self.m**2, self.v), 1)
        self.tau = np.where(joined, (1 - rho) * tau + 1, self.tau)
        self.n_moves += 1
        self.x_avg += self.x.dtype.type(min(1, 9 / (self.n_moves + 8))) * (self.x - self.x_avg)

    def _mask(self, chosen: Array) -> Array:
        """The parameters of the chosen groups."""
        return np.repeat(chosen, [group.stop - group.start for group in self.groups])

    def _size(self, chosen: Array) -> int:
        """How many they are."""
        return int(self._mask(chosen).sum())
