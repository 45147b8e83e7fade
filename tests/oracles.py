"""Slow twins of the published vSGD rules: plain loops on Python floats.

Written from the equations; nothing of refsgd is used. [1] is Schaul, Zhang & LeCun, arXiv 1206.1106; [2] is
Schaul & LeCun, arXiv 1301.3764. A rule is driven by ``gradients(points)``, which returns one list of
per-sample gradients, ``rows[j][i]``, for each point, all on the same samples; `BackProp` takes one more, of
per-sample diagonal Hessians at x.
"""

from __future__ import annotations

import math
import sys

EPS = sys.float_info.epsilon
N_START = 10
NAMES = ("x", "g_avg", "g2_avg", "h_avg", "h2_avg", "tau")


class Parameter:
    """What the rules keep of one parameter."""

    def __init__(self, x):
        self.x = float(x)
        self.g_avg = self.g2_avg = self.h_avg = self.h2_avg = 0.0
        self.tau = 1.0
        self.rate = 0.0


def mean(numbers):
    numbers = list(numbers)
    return math.fsum(numbers) / len(numbers)


def moved(x, offset):
    """``x + offset``; an offset that rounding would lose is widened to 8 eps |x|, with its sign."""
    shortest = 8 * EPS * abs(x)
    if abs(offset) <= shortest:
        offset = math.copysign(shortest, offset)
    return x + offset


def forget(p, g, g2, h, h2):
    """Step 3 of [2], algorithm 1: all averages move by a share of 1/tau."""
    p.g_avg = (1 - 1 / p.tau) * p.g_avg + g / p.tau
    p.g2_avg = (1 - 1 / p.tau) * p.g2_avg + g2 / p.tau
    p.h_avg = (1 - 1 / p.tau) * p.h_avg + h / p.tau
    p.h2_avg = (1 - 1 / p.tau) * p.h2_avg + h2 / p.tau


def is_far(value, average, second_moment, deviations):
    """Whether a value is more than so many deviations from its average."""
    return abs(value - average) > deviations * math.sqrt(max(second_moment - average**2, 0.0))


class Oracle:
    """A run from ``x0``; ``outliers`` counts the parameters found to be one, step by step."""

    def __init__(self, x0, deviations=2.0):
        self.parameters = [Parameter(x) for x in x0]
        self.deviations = deviations
        self.n_steps = 0
        self.outliers = 0

    def points(self):
        """x, and from the second minibatch on the probe."""
        here = [p.x for p in self.parameters]
        if self.n_steps == 0:
            return [here]
        return [here, [moved(p.x, p.g_avg) for p in self.parameters]]

    def step(self, gradients):
        points = self.points()
        self.learn(points, gradients(points))
        self.n_steps += 1

    def values(self, name):
        return [getattr(p, name) for p in self.parameters]


class Published(Oracle):
    """vSGD-fd as printed ([2], algorithm 1), with the slow start of [1]."""

    def learn(self, points, rows):
        n, d = len(rows[0]), len(self.parameters)
        for i, p in enumerate(self.parameters):
            g = mean(rows[0][j][i] for j in range(n))
            g2 = mean(rows[0][j][i] ** 2 for j in range(n))
            h = h2 = 0.0
            if len(points) == 2:
                # The displacement as it was made: g_avg, or what it was widened to.
                delta = points[1][i] - points[0][i]
                if delta != 0:
                    each = [abs((rows[0][j][i] - rows[1][j][i]) / delta) for j in range(n)]
                    h, h2 = mean(each), mean(value**2 for value in each)
            if self.n_steps < N_START:
                self.start(p, self.n_steps, g, g2, h, h2, d)
            else:
                self.update(p, g, g2, h, h2, n)

    def start(self, p, k, g, g2, h, h2, d):
        """Plain means, after k earlier minibatches, of which the first had no probe."""
        p.g_avg = (k * p.g_avg + g) / (k + 1)
        p.g2_avg = (k * p.g2_avg + g2) / (k + 1)
        if k > 0:
            p.h_avg = ((k - 1) * p.h_avg + h) / k
            p.h2_avg = ((k - 1) * p.h2_avg + h2) / k
        if k + 1 == N_START:
            p.g2_avg *= max(1.0, d / 10)
            p.tau = float(N_START)

    def update(self, p, g, g2, h, h2, n, move=None):
        """A step along ``move``, or else the mean gradient g, at the rate of n samples."""
        far = is_far(g, p.g_avg, p.g2_avg, self.deviations) or is_far(h, p.h_avg, p.h2_avg, self.deviations)
        if far:
            p.tau += 1
            self.outliers += 1
        forget(p, g, g2, h, h2)
        p.rate = 0.0
        if p.h2_avg > 0 and p.g2_avg > 0:
            p.rate = p.h_avg / p.h2_avg * (n * p.g_avg**2) / (p.g2_avg + (n - 1) * p.g_avg**2)
        share = p.g_avg**2 / p.g2_avg if p.g2_avg > 0 else 0.0
        p.tau = max((1 - share) * p.tau + 1, 1.0)
        p.x -= p.rate * (g if move is None else move)


class PublishedSparse(Published):
    """Published for sparse gradients ([2], section 3.2): each parameter sees the samples that touch it.

    Its minibatch is the z of n samples whose gradient is not 0 there, its step is that of z samples, and its
    start lasts ten minibatches that touch it. Its probe lies where its last step laid it, at first at x.
    """

    def __init__(self, x0, deviations=2.0):
        super().__init__(x0, deviations)
        self.touches = [0 for _ in x0]
        for p in self.parameters:
            p.tau = 0.0

    def points(self):
        here = [p.x for p in self.parameters]
        if self.n_steps == 0:
            return [here]
        touched = zip(self.parameters, self.touches, strict=True)
        return [here, [moved(p.x, p.g_avg) if count > 0 else p.x for p, count in touched]]

    def learn(self, points, rows):
        d = len(self.parameters)
        for i, p in enumerate(self.parameters):
            active = [j for j in range(len(rows[0])) if rows[0][j][i] != 0]
            if not active:
                continue
            g = mean(rows[0][j][i] for j in active)
            g2 = mean(rows[0][j][i] ** 2 for j in active)
            h = h2 = 0.0
            if self.touches[i] > 0:
                delta = points[1][i] - points[0][i]
                each = [abs((rows[0][j][i] - rows[1][j][i]) / delta) for j in active]
                h, h2 = mean(each), mean(value**2 for value in each)
            if self.touches[i] < N_START:
                p.tau = -(self.touches[i] + 1.0)  # how refsgd counts the touches of a start
                self.start(p, self.touches[i], g, g2, h, h2, d)
            else:
                self.update(p, g, g2, h, h2, len(active))
            self.touches[i] += 1


def orthogonal_weights(rows):
    """w_j = 1 / sum_k |cos(g_j, g_k)| ([2], section 3.3); 0 for a gradient of 0, which has no direction."""
    norms = [math.hypot(*row) for row in rows]
    weights = []
    for row, norm in zip(rows, norms, strict=True):
        total = 0.0
        for other, length in zip(rows, norms, strict=True):
            if norm > 0 and length > 0:
                total += abs(math.fsum(a / norm * (b / length) for a, b in zip(row, other, strict=True)))
        weights.append(1 / total if norm > 0 else 0.0)
    return weights


class PublishedOrthogonal(Published):
    """Published with the samples weighted by orthogonality ([2], section 3.3).

    The rate is that of as many samples as reinforce each other, n / sum w: all n where they are aligned, 1
    where they are orthogonal, as z is for sparse gradients.
    """

    def learn(self, points, rows):
        weights = orthogonal_weights(rows[0])
        n_moving = sum(1 for weight in weights if weight > 0)
        self.reinforcing = n_moving / sum(weights) if n_moving else 1.0
        for i, p in enumerate(self.parameters):
            p.move = math.fsum(w * row[i] for w, row in zip(weights, rows[0], strict=True))
        super().learn(points, rows)

    def update(self, p, g, g2, h, h2, n):
        super().update(p, g, g2, h, h2, self.reinforcing, p.move)


class BackProp(Oracle):
    """vSGD-l ([1], algorithm 1): rate g_avg**2 / (h_avg g2_avg), with h given; [2] adds the n samples.

    The subclasses share rates; averages are those of single parameters in all of them.
    """

    def points(self):
        return [[p.x for p in self.parameters]]

    def learn(self, points, rows):
        grads, hessians = rows
        n, d = len(grads), len(self.parameters)
        g = [mean(grads[j][i] for j in range(n)) for i in range(d)]
        g2 = [mean(grads[j][i] ** 2 for j in range(n)) for i in range(d)]
        h = [mean(abs(hessians[j][i]) for j in range(n)) for i in range(d)]
        h2 = [mean(hessians[j][i] ** 2 for j in range(n)) for i in range(d)]
        for i, p in enumerate(self.parameters):
            if self.n_steps < N_START:
                p.tau = self.n_steps + 1.0  # a plain mean
            forget(p, g[i], g2[i], h[i], h2[i])
            if self.n_steps < N_START:
                p.tau = 1.0
            if self.n_steps + 1 == N_START:
                p.g2_avg *= max(1.0, d / 10)
                p.tau = float(N_START)
        if self.n_steps >= N_START:
            self.move(g, n)

    def move(self, g, n):
        for i, p in enumerate(self.parameters):
            p.rate = n * p.g_avg**2 / (p.h_avg * (p.g2_avg + (n - 1) * p.g_avg**2))
            p.tau = (1 - p.g_avg**2 / p.g2_avg) * p.tau + 1
            p.x -= p.rate * g[i]


class BlockBackProp(BackProp):
    """vSGD-b ([1], section 4.2): a rate for each block, from sums over it and its largest curvature."""

    def __init__(self, x0, lengths):
        super().__init__(x0)
        self.lengths = lengths

    def move(self, g, n):
        first = 0
        for length in self.lengths:
            block = range(first, first + length)
            signal = math.fsum(self.parameters[i].g_avg ** 2 for i in block)
            energy = math.fsum(self.parameters[i].g2_avg for i in block)
            steepest = max(self.parameters[i].h_avg for i in block)
            for i in block:
                p = self.parameters[i]
                p.rate = n * signal / (steepest * (energy + (n - 1) * signal))
                p.tau = (1 - signal / energy) * p.tau + 1
                p.x -= p.rate * g[i]
            first += length


class GlobalBackProp(BackProp):
    """vSGD-g ([1], section 4.2): one rate, from norms of the whole gradient and the largest curvature."""

    def move(self, g, n):
        signal = math.fsum(p.g_avg**2 for p in self.parameters)
        energy = math.fsum(p.g2_avg for p in self.parameters)
        rate = n * signal / (max(p.h_avg for p in self.parameters) * (energy + (n - 1) * signal))
        for i, p in enumerate(self.parameters):
            p.rate = rate
            p.tau = (1 - signal / energy) * p.tau + 1
            p.x -= rate * g[i]
