"""The rule on whole vectors, with its choices as arguments (asv_bench/variants.py), and the library's."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import refsgd

BENCHMARKS = Path(__file__).parent.parent / "asv_bench"


@pytest.fixture(scope="module")
def variants():
    sys.path.append(str(BENCHMARKS))
    try:
        import variants
    finally:
        sys.path.remove(str(BENCHMARKS))
    return variants


def slopes(u):
    """Of ``u**2 / 2 + log(1 + u**2) / 2``: smooth, of varying curvature."""
    return u + u / (1 + u * u)


def minibatches(d, n_steps=300):
    """Shifts with heavy tails; one minibatch in fifty is a thousand times as large, which the guard sees."""
    shifts = np.random.default_rng(0).standard_t(3, size=(n_steps, d))
    shifts[49::50] *= 1000
    return shifts


def drive(run, gradients):
    """Feed each minibatch's gradient, at one point or at two."""
    for gradient in gradients:
        run.tell(gradient(run.ask()))
        if run.is_open:
            run.tell(gradient(run.ask()))
    return run


def gradients_of(d, begin_at=0, n_steps=300):
    scales = np.geomspace(0.01, 30.0, d)
    return [
        lambda x, c=c, k=k: scales * slopes(x - c) * (k >= begin_at)
        for k, c in enumerate(minibatches(d, n_steps))
    ]


def assert_twins(run, twin):
    """The same run to 1e-10: rounding is 1e-16, and 300 steps of a stable recursion do not multiply it."""
    unit = run.unit
    expected = [twin.x, twin.m * unit, twin.v * unit**2, twin.tau, twin.x_avg]
    for values, other in zip([*run.state, run.x_avg], expected, strict=True):
        np.testing.assert_allclose(values, other, rtol=1e-10, atol=1e-13 * np.abs(other).max())
    assert run.length == pytest.approx(twin.length, rel=1e-10)
    assert run.n_gradients == twin.n_gradients > twin.n_steps


def test_default_variant_is_the_library(variants):
    x0 = np.linspace(-20.0, 30.0, 40)
    gradients = gradients_of(40)
    run = drive(refsgd.VSGD(average=True).start(x0), gradients)
    twin = drive(variants.Variant().start(x0), gradients)
    assert_twins(run, twin)
    assert twin.n_moves == 290


def test_default_variant_is_the_library_where_groups_begin_late(variants):
    """A large newcomer stops x for a start, in which the others average on; small ones wait by themselves."""
    sizes = [150, 40, 1, 9]
    begin_at = np.repeat([0, 40, 70, 43], sizes)
    x0 = np.linspace(-2.0, 3.0, 200)
    gradients = gradients_of(200, begin_at)
    run = drive(refsgd.VSGD(average=True).start(x0, groups=sizes), gradients)
    twin = drive(variants.Variant().start(x0, groups=sizes), gradients)
    assert_twins(run, twin)
    assert twin.n_moves == 280


def test_ceiling_binds_and_is_that_of_the_library(variants):
    """Least squares on one row at a time, where a step along the averages overshoots the row."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 40))
    targets = rows @ rng.normal(size=40) + rng.normal(size=300)
    gradients = [lambda x, a=a, b=b: a * (a @ x - b) for a, b in zip(rows, targets, strict=True)]
    run = drive(refsgd.VSGD(average=True).start(np.zeros(40)), gradients)
    twin = drive(variants.Variant().start(np.zeros(40)), gradients)
    assert_twins(run, twin)
    free = drive(variants.Variant(ceiling=0).start(np.zeros(40)), gradients)
    assert free.length > 1.5 * twin.length


@pytest.mark.parametrize(
    "choice",
    [
        {"power": 0.75},
        {"curvature": "bound"},
        {"curvature": "between"},
        {"length": "inverse"},
        {"limit": None},
        {"guard": None},
        {"start_by": "quotient"},
    ],
    ids=str,
)
def test_each_choice_changes_the_run(variants, choice):
    gradients = gradients_of(40, n_steps=100)
    default = drive(variants.Variant().start(np.zeros(40)), gradients)
    changed = drive(variants.Variant(**choice).start(np.zeros(40)), gradients)
    assert not np.allclose(default.x, changed.x)


def test_step_is_ask_and_tell(variants):
    gradients = gradients_of(5, n_steps=50)
    told, stepped = (variants.Variant().start(np.ones(5)) for _ in range(2))
    drive(told, gradients)
    for gradient in gradients:
        stepped.step(lambda x, gradient: gradient(x), gradient)
    np.testing.assert_array_equal(told.x, stepped.x)


def test_gradient_that_is_not_finite_is_refused(variants):
    with pytest.raises(FloatingPointError, match="grad must be finite at step 0"):
        variants.Variant().start(np.ones(2)).tell(np.array([1.0, np.inf]))
