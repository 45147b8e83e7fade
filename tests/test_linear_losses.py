"""Losses of linear models on arrays, and of the best constant."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refsgd.linear import losses
from refsgd.linear.losses import LOSSES, MARGIN_LOSSES
from refsgd.linear.model import LinearModel

ONE_OUTPUT = [loss for loss in LOSSES if loss != "multinomial"]


@pytest.mark.parametrize("loss", ONE_OUTPUT)
@given(
    z=st.floats(-700, 700),
    y=st.floats(0, 700),
    is_positive=st.booleans(),
    epsilon=st.sampled_from([0.0, 0.1, 3.0]),
)
def test_values_are_those_that_the_kernels_learn_from(backend, loss, z, y, is_positive, epsilon):
    y = (1.0 if is_positive else -1.0) if loss in MARGIN_LOSSES else y
    epsilon = 0.0 if loss == "absolute_error" else epsilon
    (value,) = losses.values(loss, np.array([z]), np.array([y]), epsilon)
    model = LinearModel(1, loss, epsilon=epsilon, backend=backend)
    model._totals[0] = 1  # else the intercept of a regression starts at y
    model._records[-1, 0, 0] = z
    assert model.learn(np.zeros((1, 1)), [y]) == pytest.approx(value, rel=1e-14, abs=1e-300)


def test_multinomial_is_minus_the_log_of_the_own_probability():
    z, y = np.random.default_rng(0).normal(size=(6, 4)), np.array([0, 1, 2, 3, 0, 1])
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = -np.log(p[np.arange(6), y])
    np.testing.assert_allclose(losses.values("multinomial", z, y, 0.0), expected, rtol=1e-13)
    assert losses.values("multinomial", 1e4 * z, y, 0.0).max() < np.inf


@pytest.mark.parametrize("loss", [loss for loss in ONE_OUTPUT if loss not in MARGIN_LOSSES])
def test_no_constant_is_much_better_than_the_one_compared_with(loss):
    rng = np.random.default_rng(0)
    y, weights = rng.poisson(3.0, 200).astype(float), rng.uniform(0, 2, 200)
    scores = np.linspace(-1, 9, 2001)
    best = min(np.average(losses.values(loss, np.full(200, s), y, 0.1), weights=weights) for s in scores)
    with np.errstate(divide="ignore"):
        z = np.log(y) if loss == "poisson" else y
    z[y == 0] = -800.0 if loss == "poisson" else 0.0
    perfect = np.average(losses.values(loss, z, y, 0.1), weights=weights)
    # The grid is 0.005 wide; the median is within epsilon of the best for the losses that have one.
    excess = losses.excess_of_constant(loss, y, weights, 0.1)
    assert excess == pytest.approx(best - perfect, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_weighted_median_has_the_least_absolute_error(seed):
    rng = np.random.default_rng(seed)
    y, weights = rng.normal(size=31), rng.uniform(0, 2, 31)
    errors = [weights @ np.abs(y - centre) for centre in y]
    assert losses.best_constant("absolute_error", y, weights) == y[np.argmin(errors)]


@pytest.mark.parametrize("loss", [loss for loss in ONE_OUTPUT if loss not in MARGIN_LOSSES])
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_a_constant_target_has_no_excess(loss, value):
    assert losses.excess_of_constant(loss, np.full(5, value), np.ones(5), 0.1) == 0.0
