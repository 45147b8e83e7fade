"""How tests drive the runs of published rules: one problem, all rules, and what makes two runs the same."""

from __future__ import annotations

import io
import itertools

import numpy as np

from refsgd import PublishedVSGD
from refsgd.sgd.published_rule import CURVATURES, SHARINGS, WEIGHTINGS


def is_known(curvature, sharing, weighting):
    """Whether a rule may have these options together."""
    return sharing == "element" or (curvature == "bbprop" and weighting != "sparse")


#: Every rule there is, with outlier detection.
FAMILY = [
    PublishedVSGD(*options)
    for options in itertools.product(CURVATURES, SHARINGS, WEIGHTINGS)
    if is_known(*options)
]


def name(rule):
    """An id for a test."""
    return f"{rule.curvature}-{rule.sharing}-{rule.weighting}"


def draws(n_steps, n, d, seed=0, dtype=np.float64):
    """Samples (n_steps, n, d) with heavy tails, so that there are outliers."""
    return np.random.default_rng(seed).standard_t(3, size=(n_steps, n, d)).astype(dtype)


def slopes(u):
    """Of ``u**2 / 2 + log(1 + u**2) / 2``, whose curvature lies between 0.875 and 2 and nowhere stands still.

    A constant curvature would have a variance of rounding errors, and outliers by rounding. Only operations
    that are rounded correctly, so that every machine and memory layout gives the same bits.
    """
    return u + u / (1 + u * u)


def curvatures(u):
    """The derivative of `slopes`, between 0.875 and 2."""
    return 1 + (1 - u * u) / (1 + u * u) ** 2


def is_active(c):
    """Which entries of a minibatch have a gradient, for sparse rules: 7 in 10."""
    return np.abs(c) > 0.4


def start(rule, x0, backend=None):
    """A run; where rates are shared by blocks, the first has two parameters and the second the others."""
    return rule.start(x0, blocks=[2, len(x0) - 2] if rule.sharing == "blocks" else None, backend=backend)


def tell(run, gradient, *diag_hess):
    """Tell ``gradient(point)`` of one minibatch at each point that the run asks for."""
    run.tell(gradient(run.ask()), *diag_hess)
    if run.is_open:
        run.tell(gradient(run.ask()))


def feed(run, samples, convert=lambda rows: rows):
    """Tell the gradients of each minibatch, and their derivatives where the rule needs them."""
    for c in samples:
        kept = is_active(c) if run.rule.weighting == "sparse" else np.ones_like(c, bool)
        is_bbprop = run.rule.curvature == "bbprop"
        diag_hess = [convert(curvatures(run.x - c) * kept)] if is_bbprop else []
        tell(run, lambda point: convert(slopes(point - c) * kept), *diag_hess)  # noqa: B023


def assert_same_state(saved, expected):
    """Bit for bit, but for the sign of 0."""
    assert saved.keys() == expected.keys()
    for entry in saved:
        assert saved[entry].dtype == expected[entry].dtype
        np.testing.assert_array_equal(saved[entry], expected[entry], err_msg=entry)


def assert_same(one, other):
    """Two runs that cannot be told apart."""
    assert one.is_open == other.is_open
    assert_same_state(one.state_dict(), other.state_dict())


def resumed(run, other):
    """``other``, made to go on from where ``run`` is, by way of a file."""
    with io.BytesIO() as file:
        np.savez(file, **run.state_dict())
        file.seek(0)
        with np.load(file) as arrays:
            other.load_state_dict(arrays)
    return other
