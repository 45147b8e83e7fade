"""Slow independent twins of the models: one sample, one unit, one weight at a time, on Python floats."""

from __future__ import annotations

import math
from itertools import pairwise


def unpack(widths, x):
    """Return the layers as nested lists: ``W[i][o]`` and ``b[o]``."""
    numbers = iter([float(v) for v in x])
    return [
        (
            [[next(numbers) for _ in range(n_out)] for _ in range(n_in)],
            [next(numbers) for _ in range(n_out)],
        )
        for n_in, n_out in pairwise(widths)
    ]


def activate(activation, z):
    return math.tanh(z) if activation == "tanh" else max(z, 0.0)


def slope(activation, z):
    if activation == "tanh":
        return 1 / math.cosh(z) ** 2
    return 1.0 if z > 0 else 0.0


def forward(widths, x, sample, activation):
    """Return the inputs ``a`` and the weighted sums ``z`` of each layer; the last ``z`` are the scores."""
    a = [float(v) for v in sample]
    inputs, sums = [], []
    for W, b in unpack(widths, x):
        z = [sum(a[i] * W[i][o] for i in range(len(a))) + b[o] for o in range(len(b))]
        inputs.append(a)
        sums.append(z)
        a = [activate(activation, value) for value in z]
    return inputs, sums


def probabilities(scores):
    total = sum(math.exp(s) for s in scores)
    return [math.exp(s) / total for s in scores]


def loss(widths, x, sample, label, l2=0.0, activation="tanh"):
    """Softmax cross-entropy plus penalty, or that of a sigmoid if there is one score."""
    scores = forward(widths, x, sample, activation)[1][-1]
    if len(scores) == 1:
        scores = [0.0, scores[0]]
    penalty = l2 / 2 * sum(w**2 for W, _ in unpack(widths, x) for row in W for w in row)
    return -math.log(probabilities(scores)[label]) + penalty


def grad(widths, x, sample, label, l2=0.0, activation="tanh"):
    """Back-propagation, written out."""
    inputs, sums = forward(widths, x, sample, activation)
    if widths[-1] == 1:
        delta = [probabilities([0.0, sums[-1][0]])[1] - label]
    else:
        delta = [p - (k == label) for k, p in enumerate(probabilities(sums[-1]))]
    return backward(unpack(widths, x), inputs, sums, delta, activation, power=1, l2=l2)


def diag_gauss_newton(widths, x, sample, l2=0.0, activation="tanh"):
    """LeCun's recursion: back-propagation with inputs, weights and slopes squared, from p (1 - p)."""
    inputs, sums = forward(widths, x, sample, activation)
    scores = [0.0, sums[-1][0]] if widths[-1] == 1 else sums[-1]
    curv = [p * (1 - p) for p in probabilities(scores)][-widths[-1] :]
    return backward(unpack(widths, x), inputs, sums, curv, activation, power=2, l2=l2)


def backward(layers, inputs, sums, out, activation, power, l2):
    flat = []
    for index in reversed(range(len(layers))):
        W, _ = layers[index]
        a = inputs[index]
        weights = [
            a[i] ** power * out[o] + (l2 * W[i][o] if power == 1 else l2)
            for i in range(len(a))
            for o in range(len(out))
        ]
        flat = weights + out + flat
        if index:
            below = sums[index - 1]
            out = [
                slope(activation, below[i]) ** power * sum(W[i][o] ** power * out[o] for o in range(len(out)))
                for i in range(len(a))
            ]
    return flat
