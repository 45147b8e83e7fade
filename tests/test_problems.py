"""The test functions: their gradients by finite differences, their means by quadrature and sampling."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, optimize
from scipy.stats import norm

import refsgd
from refsgd.models.problems import OUTLIER, SHAPES, WALL, Problem

CONVEX = ["quadratic", "absolute", "rectified", "wall"]
KINKED = ["absolute", "rectified"]

every_shape = pytest.mark.parametrize("name", SHAPES)


def problem(name, **options):
    """A problem in which no number is 0 or 1."""
    given = {"curvature": 2.5, "noise": 0.7, "sparsity": 0.2, "outliers": 0.1, "optimum": 0.4, "dim": 3}
    return Problem(name, **given | options)


def quadrature(name, e, s):
    """``E f(e - s z)`` by adaptive quadrature, with f written out once more and its break at z = e / s."""
    formulas = {
        "quadratic": lambda e: e**2 / 2,
        "absolute": abs,
        "rectified": lambda e: max(e, 0),
        "bump": lambda e: 1 - np.exp(-(e**2) / 2),
        "wall": lambda e: e**2 / 2 if e > 0 else WALL * e**2 / 2,
    }
    # Beyond 12 deviations the density is below 1e-31. The bump needs breaks at its edges.
    breaks = sorted({-12.0, 12.0, *(float(np.clip((e + w) / s, -12, 12)) for w in (-9, 0, 9))})
    pieces = [
        integrate.quad(lambda z: formulas[name](e - s * z) * norm.pdf(z), low, high, epsabs=1e-13)[0]
        for low, high in pairwise(breaks)
    ]
    return sum(pieces)


# Losses and gradients of samples


@every_shape
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_and_dtypes(name, dtype):
    p = problem(name, curvature=np.float64(2.5))
    samples = p.sample(5, random_state=0)
    x = np.array([2.0, -1.0, 0.3], dtype)
    assert samples.shape == (5, 3)
    for rows in (p.losses(x, samples), p.grad(x, samples)):
        assert (rows.shape, rows.dtype) == ((5, 3), dtype)
    for row in (p.expected_loss(x), p.expected_grad(x)):
        assert (row.shape, row.dtype) == ((3,), np.float64)


@every_shape
def test_grad_is_the_derivative_of_losses_away_from_kinks(name):
    p = problem(name)
    x, step = np.array([2.0, -1.0, 0.3]), 1e-5
    samples = p.sample(2000, random_state=0)
    is_far = ~(np.abs(x - samples) <= step)  # a step across the kink sees a mixture of both slopes
    slopes = (p.losses(x + step, samples) - p.losses(x - step, samples)) / (2 * step)
    # Losses reach 1e4 (an outlier behind the wall), so that rounding is 1e4 * 1e-16 / step = 1e-7.
    assert_allclose(slopes[is_far], p.grad(x, samples)[is_far], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", KINKED)
def test_gradient_at_a_kink_is_zero(name):
    assert_array_equal(Problem(name).grad(np.array([1.5]), np.array([[1.5]])), [[0.0]])


@every_shape
def test_silent_sample_has_no_loss_and_no_gradient(name):
    p = Problem(name)
    x, samples = np.array([3.0]), np.array([[np.nan], [0.0]])
    assert_array_equal(p.losses(x, samples)[0], 0.0)
    assert_array_equal(p.grad(x, samples)[0], 0.0)
    assert p.losses(x, samples)[1] > 0


@every_shape
def test_diverged_x_is_let_through_without_a_warning(name):
    p = Problem(name, dim=2)
    x = np.array([np.nan, 1e200])
    samples = np.zeros((1, 2))
    if name != "rectified":  # whose gradient is 0 or 1 whatever x
        assert np.isnan(p.grad(x, samples)[0, 0])
    assert np.isnan(p.expected_loss(x)[0])
    assert p.losses(x, samples)[0, 1] > 0


# Samples


def test_sample_has_the_stated_deviation_silence_and_outliers():
    p = Problem("quadratic", noise=0.5, sparsity=0.3, outliers=0.2, optimum=4.0)
    samples = p.sample(200_000, random_state=0)
    # Shares of 200,000 samples have a deviation of 1e-3, their deviation one of 0.16 %: 4 of each and more.
    assert np.isnan(samples).mean() == pytest.approx(0.3, abs=4e-3)
    shift = samples[~np.isnan(samples)] - 4.0
    is_wide = np.abs(shift) > 5 * 0.5  # never by noise alone; outliers with probability 0.617
    assert is_wide.mean() == pytest.approx(0.2 * 2 * norm.sf(5 / OUTLIER), abs=4e-3)
    plain = Problem("quadratic", noise=0.5, optimum=4.0).sample(200_000, random_state=0)
    assert (plain - 4.0).std() == pytest.approx(0.5, rel=1e-2)


def test_sample_repeats_with_its_seed_and_moves_with_the_optimum():
    p = problem("wall", sparsity=0.0)
    here, there = (dataclasses.replace(p, optimum=at).sample(50, random_state=1) for at in (0.0, 8.0))
    assert_array_equal(here, dataclasses.replace(p, optimum=0.0).sample(50, random_state=1))
    assert_allclose(there, here + 8.0, rtol=1e-14)
    assert not np.array_equal(here[:, 0], here[:, 1])


def test_gradient_follows_a_jump_of_the_optimum_through_the_samples_alone():
    p = Problem("quadratic", noise=1e-3)
    moved = dataclasses.replace(p, optimum=5.0)
    x = np.array([5.0])
    assert p.grad(x, moved.sample(10, random_state=0)).max() < 0.01
    assert p.grad(x, p.sample(10, random_state=0)).min() > 4.99


# Means


@every_shape
@pytest.mark.parametrize("s", [0.05, 1.0, 8.0])
def test_mean_loss_matches_quadrature(name, s):
    for e in (-10.0, -0.9, 0.0, 0.3, 4.0):
        # Quadrature is asked for 1e-13 a piece and reaches about 1e-9 of values that are at most 500.
        got = SHAPES[name].mean_loss(np.array([e]), s)[0]
        assert got == pytest.approx(quadrature(name, e, s), rel=1e-8, abs=1e-10)


@every_shape
def test_expected_loss_and_grad_match_sampling(name):
    p = problem(name, dim=2)
    x = np.array([1.6, -0.5])
    samples = p.sample(200_000, random_state=0)
    for rows, mean in (
        (p.losses(x, samples), p.expected_loss(x)),
        (p.grad(x, samples), p.expected_grad(x)),
    ):
        # Within 4 standard errors: 20 such have a false alarm with probability 1e-3.
        assert (np.abs(rows.mean(axis=0) - mean) < 4 * rows.std(axis=0) / np.sqrt(len(rows))).all()


@every_shape
def test_expected_grad_is_the_derivative_of_expected_loss(name):
    grid = np.linspace(-3.0, 4.0, 29)
    p = problem(name, dim=grid.size)
    step = 1e-5
    slopes = (p.expected_loss(grid + step) - p.expected_loss(grid - step)) / (2 * step)
    # Losses reach 500: rounding 500 * 1e-16 / step = 5e-9; truncation step**2 = 1e-10.
    assert_allclose(slopes, p.expected_grad(grid), rtol=1e-7, atol=1e-7)


@every_shape
def test_min_loss_is_the_least_expected_loss(name):
    grid = np.linspace(-3.0, 6.0, 9001) if name != "rectified" else np.linspace(-300.0, 0.0, 301)
    p = problem(name, dim=grid.size)
    losses = p.expected_loss(grid)
    assert (losses >= p.min_loss * (1 - 1e-14)).all()
    # The grid of 1e-3 misses the lowest point by h WALL (5e-4)**2 at most.
    assert losses.min() - p.min_loss < 1e-5


def test_lowest_point_of_the_wall_scales_with_the_noise():
    one, small = Problem("wall"), Problem("wall", curvature=3.0, noise=1e-3)
    lowest = optimize.brentq(lambda e: one.expected_grad(np.array([e]))[0], 0.0, 3.0, xtol=1e-14)
    assert 0.5 < lowest < 1.5
    assert one.min_loss == pytest.approx(one.expected_loss(np.array([lowest]))[0], rel=1e-13)
    assert small.min_loss == pytest.approx(3e-6 * one.min_loss, rel=1e-13)


# The optimal rate


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize(
    "options", [{}, {"outliers": 0.1}, {"sparsity": 0.4}, {"sparsity": 0.4, "outliers": 0.1}]
)
def test_optimal_rate_minimises_the_expected_loss_of_one_step(n, options):
    p = Problem("quadratic", curvature=2.5, noise=0.7, **options)
    x = np.array([1.2])
    many = 300_000
    means = p.grad(x, p.sample(many * n, random_state=0)).reshape(many, n).mean(axis=1)

    def after(rate):
        """Expected loss after a step, up to a constant: h/2 E (x - rate g)**2."""
        return p.curvature / 2 * np.mean((x - rate * means) ** 2)

    best = optimize.minimize_scalar(after, bounds=(0.0, 2.0), method="bounded", options={"xatol": 1e-8}).x
    # Both moments of the mean gradient have relative errors below 3e-3 (outliers, n = 1).
    assert p.optimal_rate(x, n)[0] == pytest.approx(best, rel=1e-2)


@pytest.mark.parametrize("n", [1, 7])
def test_optimal_rate_follows_from_the_moments_of_the_gradient(n):
    p = problem("quadratic")
    x = np.array([2.0, 0.4, -1.0])
    mean, mean_sq = p.expected_grad(x), 2 * p.curvature * p.expected_loss(x)  # grad**2 = 2 h loss
    mean_sq_of_batch = mean_sq / n + (1 - 1 / n) * mean**2
    # E (e - rate g)**2 is least at rate = e E g / E g**2; equal up to a few roundings.
    assert_allclose(p.optimal_rate(x, n), (x - p.optimum) * mean / mean_sq_of_batch, rtol=1e-13)


def test_optimal_rate_is_newtons_without_noise_and_falls_to_zero_at_the_optimum():
    p = Problem("quadratic", curvature=4.0, noise=1e-9, dim=2)
    assert_allclose(p.optimal_rate(np.array([1.0, 0.0])), [0.25, 0.0], rtol=1e-12)


# In use


@pytest.mark.parametrize("name", CONVEX)
def test_minimize_takes_grad_and_samples_as_they_are(name):
    p = Problem(name, noise=0.1, dim=2)
    x0 = np.array([1.0, 1.0])
    samples = p.sample(500, random_state=0)
    res = refsgd.minimize(p.grad, x0, args=(samples,), fun=p.losses, random_state=0)
    assert res.nit == 500
    excess = p.expected_loss(res.x) - p.min_loss
    assert (excess < 0.1 * (p.expected_loss(x0) - p.min_loss)).all()
    assert np.isfinite(res.fun)


# Errors


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"name": "cubic"}, ValueError, "name must be one of 'quadratic', 'absolute', .* got 'cubic'"),
        (
            {"curvature": 0.0},
            ValueError,
            "curvature must be a finite number above 0, got 0.0; leave it out for 1",
        ),
        ({"curvature": np.inf}, ValueError, "curvature must be a finite number above 0, got inf"),
        ({"noise": -1}, ValueError, "noise must be a finite number above 0, got -1"),
        ({"sparsity": 1.0}, ValueError, "sparsity must be a probability below 1, got 1.0"),
        ({"outliers": -0.1}, ValueError, "outliers must be a probability below 1, got -0.1"),
        ({"optimum": np.nan}, ValueError, "optimum must be a finite number, got nan"),
        ({"dim": 0}, ValueError, "dim must be at least 1, got 0"),
        ({"dim": 1.5}, TypeError, "dim must be an integer, got 1.5"),
    ],
)
def test_bad_parameter_is_named(options, error, match):
    with pytest.raises(error, match=match):
        Problem(**{"name": "quadratic"} | options)


def test_bad_arrays_are_named():
    p = Problem("bump", dim=2)
    with pytest.raises(ValueError, match=re.escape("x must have shape (2,), got (3,)")):
        p.expected_loss(np.zeros(3))
    with pytest.raises(ValueError, match=re.escape("samples must have shape (n, 2), got (2,); pass one row")):
        p.grad(np.zeros(2), np.zeros(2))
    with pytest.raises(TypeError, match="x must have dtype float32 or float64, got int64"):
        p.grad(np.zeros(2, np.int64), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        p.sample(0)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "quadratic"])
def test_optimal_rate_without_closed_form_says_so(name):
    with pytest.raises(
        ValueError, match=f"name must be 'quadratic' for optimal_rate, got '{name}'; minimise"
    ):
        Problem(name).optimal_rate(np.array([1.0]))


def test_optimal_rate_needs_a_minibatch():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        Problem("quadratic").optimal_rate(np.array([1.0]), 0)
