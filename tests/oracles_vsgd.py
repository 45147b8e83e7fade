"""Slow twins of the default rule: plain loops on Python floats, a parameter at a time.

Written from the equations; nothing of refsgd is used. Both are driven by ``step(f)``, where ``f(x)`` is the
mean gradient, a list, of one minibatch at x.
"""

from __future__ import annotations

import math
import sys

EPS = sys.float_info.epsilon
N_START, OVER = 10, 10.0
LIMIT, GUARD = 3.0, 8.0
LONGEST, NEWCOMERS = 10.0, 0.01


def total(numbers):
    return math.fsum(numbers)


def widened(x, offset):
    """An offset that rounding would lose is widened to 8 eps |x|, with its sign."""
    least = 8 * EPS * abs(x)
    return math.copysign(least, offset) if abs(offset) <= least else offset


def guarded(g, v, judged):
    """The gradient, scaled down where its square exceeds 64 times what it is on average over the judged."""
    energy, usual = total(g[i] ** 2 for i in judged), total(v[i] for i in judged)
    if energy > GUARD**2 * usual > 0:
        factor = GUARD * math.sqrt(usual / energy)
        return [value * factor for value in g]
    return g


class Length:
    """S and the averages behind it."""

    def __init__(self, x0):
        self.S = self.lam = self.lam2 = self.bound = 0.0
        self.slope = self.bend = 0.0
        self.seen = 0
        self.limit = LONGEST * max(1.0, *(abs(x) for x in x0))

    def search(self, R, N):
        self.seen += 1
        self.S = min(1 / N if N > 0 else math.inf, 2 * self.S)
        self.lam += (R - self.lam) / self.seen
        self.lam2 += (R * R - self.lam2) / self.seen
        self.bound += (N - self.bound) / self.seen

    def settle(self):
        self.lam, self.lam2 = self.lam / math.sqrt(OVER), self.lam2 / OVER
        if self.bound > 0:
            self.S = math.sqrt(OVER) / self.bound

    def follow(self, R, memory, k):
        w = 1 / max(memory / k, N_START)
        self.lam += w * (R - self.lam)
        self.lam2 += w * (R * R - self.lam2)
        best = self.lam / self.lam2 if self.lam2 > 0 else math.inf
        may_grow = R > 0 or self.limit > self.S
        self.S = min(max(best, self.S / 2), 2 * self.S if may_grow else self.S)

    def land(self, A, K, memory, k):
        w = 1 / max(memory / k, N_START) if self.slope > 0 else 1.0
        if A > 0:
            self.slope += w * (A - self.slope)
            self.bend += w * (K - self.bend)

    def cap(self):
        if self.bend > 0:
            self.S = min(self.S, max(self.slope / self.bend, self.S / 2))


def quotient(d, change, v, over):
    """R = |d c| / (D d d) along a probe, and its bound N."""
    below = total(d[i] ** 2 * math.sqrt(v[i]) for i in over)
    if below <= 0:
        return 0.0, 0.0
    bound = total(change[i] ** 2 / math.sqrt(v[i]) for i in over if v[i] > 0)
    return abs(total(d[i] * change[i] for i in over)) / below, math.sqrt(bound / below)


class Dense:
    """Variant E with its ceiling. ``groups`` are lists of indices that begin together."""

    def __init__(self, x0, groups=None):
        n = len(x0)
        self.x, self.x_avg = list(x0), list(x0)
        self.m, self.v, self.tau = [0.0] * n, [0.0] * n, [0.0] * n
        self.groups = groups or [list(range(n))]
        self.seen = [0] * len(self.groups)
        self.length = Length(x0)
        self.ending = False
        self.left = self.since_probe = self.since_landing = self.moves = self.gradients = 0
        self.outliers = self.guards = self.limited = self.starts = self.caps = self.robust_starts = 0
        self.energies = []

    def evaluate(self, f, x):
        self.gradients += 1
        return list(f(x))

    def joined(self):
        return [
            i for seen, group in zip(self.seen, self.groups, strict=True) if seen == N_START for i in group
        ]

    def step(self, f):
        g = self.evaluate(f, self.x)
        fresh = [
            k for k, group in enumerate(self.groups) if not self.seen[k] and any(g[i] != 0 for i in group)
        ]
        before = sum(len(group) for seen, group in zip(self.seen, self.groups, strict=True) if seen)
        live = [i for k, group in enumerate(self.groups) if self.seen[k] or k in fresh for i in group]
        begins = not self.left and sum(len(self.groups[k]) for k in fresh) > NEWCOMERS * before
        old = self.joined()
        if self.left or begins:
            self.start(f, g, live, old, begins)
        elif old:
            self.move(f, g, old)
        self.collect(g, fresh)
        if self.left or self.ending:
            self.energies.append(total(value**2 for value in g))
        if self.ending:
            self.length.settle()
            if not old:
                self.leave_out_outlier()
            self.since_probe, self.ending, self.energies = 0, False, []

    def leave_out_outlier(self):
        """Where one minibatch of the first start is out of proportion all of them count as the median."""
        mean, median = total(self.energies) / N_START, sum(sorted(self.energies)[4:6]) / 2
        if mean > GUARD**2 * median > 0:
            self.robust_starts += 1
            f = math.sqrt(median / mean)
            self.m, self.v = [f * m for m in self.m], [f * f * v for v in self.v]
            s = self.length
            s.S, s.lam, s.lam2 = s.S * f, s.lam / f, s.lam2 / f**2

    def collect(self, g, fresh):
        """Plain means of the first ten minibatches of a group."""
        for k, group in enumerate(self.groups):
            if (self.seen[k] or k in fresh) and self.seen[k] < N_START:
                self.seen[k] += 1
                for i in group:
                    self.m[i] += (g[i] - self.m[i]) / self.seen[k]
                    self.v[i] += (g[i] ** 2 - self.v[i]) / self.seen[k]
                    if self.seen[k] == N_START:
                        self.v[i] *= OVER
                        self.tau[i] = float(N_START)

    def start(self, f, g, live, old, begins):
        s = self.length
        if begins:
            self.left = N_START
            self.starts += 1
        else:
            if self.left == N_START - 1:
                steepest = max(
                    abs(m) / math.sqrt(v) if v > 0 else 0.0 for m, v in zip(self.m, self.v, strict=True)
                )
                s.S = 1e-3 * max(1.0, *(abs(x) for x in self.x)) / steepest
                s.lam = s.lam2 = s.bound = 0.0
                s.seen = 0
            d, change = self.probe(f, g, live)
            s.search(*quotient(d, change, self.v, live))
        for i in old:
            self.m[i] += (g[i] - self.m[i]) / self.tau[i]
            self.v[i] += (g[i] ** 2 - self.v[i]) / self.tau[i]
        self.left -= 1
        self.ending = self.left == 0

    def probe(self, f, g, over):
        """Displacement and change of the gradient along the averaged step."""
        there = list(self.x)
        for i in over:
            offset = self.length.S * self.m[i] / math.sqrt(self.v[i]) if self.v[i] > 0 else 0.0
            there[i] = self.x[i] - widened(self.x[i], offset)
        other = self.evaluate(f, there)
        return [a - b for a, b in zip(self.x, there, strict=True)], [
            a - b for a, b in zip(g, other, strict=True)
        ]

    def displacement(self, g, i):
        """S sqrt(rho) g / D with g within three standard deviations of m."""
        if self.v[i] == 0:
            return 0.0
        reach = LIMIT * math.sqrt(abs(self.v[i] - self.m[i] ** 2))
        limited = min(max(g, self.m[i] - reach), self.m[i] + reach)
        self.limited += limited != g
        rho = min(self.m[i] ** 2 / self.v[i], 1.0)
        return self.length.S * math.sqrt(rho) * limited / math.sqrt(self.v[i])

    def move(self, f, g, old):
        s, memory = self.length, total(self.tau[i] for i in old) / len(old)
        self.since_probe, self.since_landing = self.since_probe + 1, self.since_landing + 1
        if self.since_probe >= math.sqrt(memory):
            d, change = self.probe(f, g, old)
            s.follow(quotient(d, change, self.v, old)[0], memory, self.since_probe)
            self.since_probe = 0
        elif self.since_landing >= math.sqrt(memory):
            there = list(self.x)
            for i in old:
                there[i] = self.x[i] - self.displacement(g[i], i)
            other, u = self.evaluate(f, there), [a - b for a, b in zip(self.x, there, strict=True)]
            A = total(g[i] * u[i] for i in old) / s.S
            K = total(u[i] * (g[i] - other[i]) for i in old) / s.S**2
            s.land(A, K, memory, self.since_landing)
            self.since_landing = 0
        was = s.S
        s.cap()
        self.caps += was > s.S
        guarded_g = guarded(g, self.v, old)
        self.guards += guarded_g is not g
        self.moves += 1
        for i in old:
            self.update(guarded_g[i], i)
        share = min(1.0, 9 / (self.moves + 8))
        self.x_avg = [a + share * (x - a) for a, x in zip(self.x_avg, self.x, strict=True)]

    def update(self, g, i):
        if (g - self.m[i]) ** 2 > 4 * abs(self.v[i] - self.m[i] ** 2):
            self.tau[i] += 1
            self.outliers += 1
        self.m[i] += (g - self.m[i]) / self.tau[i]
        self.v[i] += (g * g - self.v[i]) / self.tau[i]
        rho = min(self.m[i] ** 2 / self.v[i], 1.0) if self.v[i] > 0 else 0.0
        self.tau[i] = (1 - rho) * self.tau[i] + 1
        self.x[i] -= self.displacement(g, i)


class Sparse(Dense):
    """The sparse form: a parameter with gradient 0 keeps all it has; averages count touches."""

    def __init__(self, x0):
        super().__init__(x0)
        self.memory, self.count, self.probes_without_new = float(N_START), 0, 0

    def step(self, f):
        g = self.evaluate(f, self.x)
        touched = [i for i, value in enumerate(g) if value * value != 0]
        if not touched:
            return
        self.count += 1
        if self.count <= N_START:
            self.start_touched(f, g, touched)
        else:
            self.move_touched(f, g, touched)

    def along(self, f, g, moved, direction):
        there = list(self.x)
        for i in moved:
            there[i] = self.x[i] - widened(self.x[i], self.length.S * direction[i])
        other = self.evaluate(f, there)
        d = [a - b for a, b in zip(self.x, there, strict=True)]
        return quotient(d, [a - b for a, b in zip(g, other, strict=True)], self.v, moved)

    def start_touched(self, f, g, touched):
        s = self.length
        if self.count > 1:
            moved = [i for i in touched if self.v[i] > 0]
            direction = [m / math.sqrt(v) if v > 0 else 0.0 for m, v in zip(self.m, self.v, strict=True)]
            if self.count == 2:
                s.S = 1e-3 * max(1.0, *(abs(x) for x in self.x)) / max(abs(value) for value in direction)
            s.search(*self.along(f, g, moved, direction))
        for i in touched:
            self.tau[i] += 1
            self.m[i] += (g[i] - self.m[i]) / self.tau[i]
            self.v[i] += (g[i] ** 2 - self.v[i]) / self.tau[i]
        if self.count == N_START:
            self.v = [OVER * v for v in self.v]
            self.tau = [float(N_START) if v > 0 else 0.0 for v in self.v]
            s.settle()

    def move_touched(self, f, g, touched):
        s, old = self.length, [i for i in touched if self.tau[i] > 0]
        self.since_probe += 1
        if self.since_probe >= math.sqrt(self.memory) and old:
            direction = [
                min(abs(m) / v, 1 / math.sqrt(v)) * value if v > 0 else 0.0
                for m, v, value in zip(self.m, self.v, g, strict=True)
            ]
            s.follow(
                self.along(f, g, [i for i in old if self.v[i] > 0], direction)[0],
                self.memory,
                self.since_probe,
            )
            self.since_probe = 0
        guarded_g = guarded(g, self.v, old)
        self.guards += guarded_g is not g
        for i in touched:
            if self.tau[i] > 0:
                self.update(guarded_g[i], i)
            else:
                self.m[i], self.v[i], self.tau[i] = g[i], OVER * g[i] ** 2, float(N_START)
                self.x[i] -= self.displacement(guarded_g[i], i)
        self.memory = total(self.tau[i] for i in touched) / len(touched)
