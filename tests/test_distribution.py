import copy
import dataclasses
import math
import pickle

import mpmath
import numpy as np
import oracles_directional as oracle
import pytest
from scipy import sparse, special, stats

from refsgd import DirectionStats, VonMisesFisher, vmf
from refsgd.directional import estimators

GRID = [(d, t) for d in (2, 3, 10, 66, 1000, 20_000) for t in (0.0, 1e-3, 1.0, 30.0, 1e6, 1e12)]  # kappa/d


def direction(dim, seed=0):
    v = np.random.default_rng(seed).normal(size=dim)
    return v / np.linalg.norm(v)


def sample(n, dim, kappa, seed=0):
    return oracle.von_mises_fisher(n, dim, kappa, np.random.default_rng(seed))


# density


@pytest.mark.parametrize("dim", [2, 3, 5, 20])
@pytest.mark.parametrize("kappa", [0.01, 1.0, 30.0])
def test_logpdf_is_that_of_scipy(dim, kappa):
    mu, x = direction(dim), VonMisesFisher(direction(dim, 1), 0.5).rvs(50, 0)
    # scipy's own normaliser is good to some 1e-14 of its terms.
    np.testing.assert_allclose(
        VonMisesFisher(mu, kappa).logpdf(x),
        stats.vonmises_fisher(mu, kappa).logpdf(x),
        rtol=1e-13,
        atol=1e-12,
    )


@pytest.mark.parametrize("kappa", [0.0, 0.3, 5.0, 40.0, 200.0])
def test_density_integrates_to_one_on_the_circle_and_the_sphere(kappa):
    # The trapezoidal rule on a circle, and Gauss's in the height, are exact to rounding for these.
    angle = np.linspace(0.0, 2 * np.pi, 4000, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    assert 2 * np.pi * VonMisesFisher([0.6, 0.8], kappa).pdf(circle).mean() == pytest.approx(1.0, rel=1e-13)
    w, weight = np.polynomial.legendre.leggauss(100)
    sphere = np.column_stack([np.sqrt(1 - w**2), np.zeros(100), w])
    assert 2 * np.pi * weight @ VonMisesFisher([0, 0, 1], kappa).pdf(sphere) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("dim", "kappa"), [(3, 1e12), (100, 1e14), (20_000, 1e17), (20_000, 1e4), (50, 20.0)]
)
def test_logpdf_near_the_mode_keeps_its_digits(dim, kappa):
    # log C and kappa mu @ x are of size kappa, 1e17 here, and their sum of size d.
    mu = direction(dim)
    x = VonMisesFisher(mu, kappa).rvs(2, 0)
    law = VonMisesFisher(mu, kappa)
    for row, got in zip(x, law.logpdf(x), strict=True):
        with mpmath.workdps(60):
            u, m = (mpmath.matrix([mpmath.mpf(float(v)) for v in vector]) for vector in (row, law.mu))
            cosine = mpmath.fdot(u, m) / mpmath.norm(u) / mpmath.norm(m)
            true = oracle.exact(kappa, dim).log_c + kappa * cosine
            # kappa |x - mu|**2/2 is about d/2, of which rounding x to doubles takes 1e-16 |x|/|x - mu|.
            assert abs(float(got - true)) < 1e-14 * abs(true) + 1e-15 * math.sqrt(dim * kappa)


def test_logpdf_keeps_leading_axes_and_takes_integers():
    law = VonMisesFisher([0, 1, 0], 2.0)
    x = law.rvs((4, 5), 0)
    assert law.logpdf(x).shape == law.pdf(x).shape == (4, 5)
    assert law.logpdf(x)[1, 2] == law.logpdf(x[1, 2])
    assert isinstance(law.logpdf([0, 1, 0]), float)
    assert law.logpdf(np.empty((0, 3))).shape == (0,)
    np.testing.assert_allclose(law.logpdf(x.astype(np.float32)), law.logpdf(x), atol=1e-6)  # float32 rounds x


def test_limits_of_the_concentration_are_laws():
    uniform, point = VonMisesFisher([0, 0, 1], 0.0), VonMisesFisher([0, 0, 1], np.inf)
    x = [[0, 0, 1], [0, 1, 0], [0, 0, -1]]
    np.testing.assert_allclose(uniform.logpdf(x), -np.log(4 * np.pi), rtol=1e-15)
    np.testing.assert_array_equal(point.logpdf(x), [np.inf, -np.inf, -np.inf])
    np.testing.assert_array_equal(point.rvs(2), [[0, 0, 1]] * 2)
    np.testing.assert_array_equal(point.mean(), [0, 0, 1])
    np.testing.assert_array_equal(uniform.mean(), [0, 0, 0])
    assert (point.entropy(), point.interval(0.9)) == (-np.inf, 0.0)
    assert uniform.entropy() == pytest.approx(np.log(4 * np.pi), rel=1e-15)


# samples


@pytest.mark.parametrize(("dim", "kappa_over_dim"), GRID)
def test_samples_have_the_moments_of_their_heights(dim, kappa_over_dim):
    # Mean and variance of w are A and A'; 1 - w = |u - mu|**2/2 keeps its digits. Three limits of 4.5
    # standard deviations on each of 36 cases fail by chance once in 1,400 seeds.
    kappa, n = dim * kappa_over_dim, max(60, 400_000 // dim)
    law = VonMisesFisher(direction(dim), kappa)
    u = law.rvs(n, 0)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1.0, rtol=1e-14)
    below = 0.5 * ((u - law.mu) ** 2).sum(axis=1)
    a, b, slope = (
        float(f(kappa, dim))
        for f in (
            vmf.mean_resultant_length,
            vmf.mean_resultant_length_complement,
            vmf.mean_resultant_length_derivative,
        )
    )
    assert abs(below.mean() - b) < 4.5 * math.sqrt(slope / n)
    excess = np.mean((below - b) ** 4) / slope**2 - 1.0  # of the square of a height, from the sample
    assert abs(np.mean((below - b) ** 2) / slope - 1.0) < 4.5 * math.sqrt(excess / n)
    across = u - (u @ law.mu)[:, None] * law.mu
    # |mean of n vectors|**2 has mean E|across|**2/n and chi-squared's law but for 20 % that are not normal.
    square = (1 - a * a - slope) / n
    assert (across.mean(axis=0) ** 2).sum() < square * stats.chi2.isf(3.4e-6, dim - 1) / (dim - 1) * 1.2


def test_uniform_samples_are_uniform():
    # P-values of the test of uniformity, of the octants, and of Kolmogorov and Smirnov; each below 1e-3 by
    # chance once in 1,000 seeds.
    u = VonMisesFisher([0, 0.6, 0.8], 0.0).rvs(20_000, 0)
    assert estimators.isotropic_uniformity(np.linalg.norm(u.mean(axis=0)), 3, len(u)) > 1e-3
    octant = (u > 0.0) @ [1, 2, 4]
    assert stats.chisquare(np.bincount(octant, minlength=8)).pvalue > 1e-3
    for axis in range(3):  # Archimedes: each coordinate is uniform
        assert stats.kstest(u[:, axis], stats.uniform(-1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dim", [2, 3, 40])
def test_samples_about_another_direction_are_rotated_samples(dim):
    # Heights are drawn before directions across: equal seeds give equal heights about any mu.
    here, there = (VonMisesFisher(mu, 2.0 * dim) for mu in (direction(dim), np.eye(dim)[0] * -1))
    np.testing.assert_allclose(here.rvs(100, 3) @ here.mu, there.rvs(100, 3) @ there.mu, atol=1e-14)


def test_directions_across_are_isotropic():
    # Entries of the covariance of 20,000 rows have deviations of at most sqrt(2/20,000) = 0.01.
    law = VonMisesFisher(direction(4), 3.0)
    u = law.rvs(20_000, 0)
    across = u - (u @ law.mu)[:, None] * law.mu
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    want = (np.eye(4) - np.outer(law.mu, law.mu)) / 3
    np.testing.assert_allclose(across.T @ across / len(u), want, atol=0.02)


def test_samples_agree_in_law_with_the_direct_sampler():
    # Two samples of heights; below 1e-3 by chance once in 1,000 seeds.
    ours = VonMisesFisher(np.eye(6)[0], 9.0).rvs(5000, 0)
    assert stats.ks_2samp(ours[:, 0], sample(5000, 6, 9.0)[:, 0]).pvalue > 1e-3


def test_shape_and_seed_of_samples():
    law = VonMisesFisher([1, 0], 1.0)
    assert law.rvs().shape == (1, 2)
    assert law.rvs(0).shape == (0, 2)
    assert law.rvs(()).shape == (2,)
    assert law.rvs((2, 3)).shape == (2, 3, 2)
    np.testing.assert_array_equal(law.rvs(5, 7), law.rvs(5, np.random.default_rng(7)))
    np.testing.assert_array_equal(law.rvs((2, 3), 7).reshape(6, 2), law.rvs(6, 7))


# caps


def test_caps_in_three_dimensions_have_a_closed_form():
    p = np.array([1e-30, 1e-5, 0.3, 0.5, 0.95, 1 - 1e-6])
    for kappa in (0.01, 1.0, 50.0, 1e15):
        with mpmath.workdps(60):
            k = mpmath.mpf(kappa)
            below = [-mpmath.log1p(-mpmath.mpf(float(q)) * (1 - mpmath.exp(-2 * k))) / k for q in p]
            true = [float(2 * mpmath.asin(mpmath.sqrt(b / 2))) for b in below]  # cos(theta) = 1 - b
        # The rounding of a sum to 1 is 1e-16/(1 - p) of the mass beyond.
        np.testing.assert_allclose(VonMisesFisher([0, 0, 1], kappa).interval(p), true, rtol=1e-9)
        np.testing.assert_allclose(VonMisesFisher([0, 0, 1], kappa).interval(p[:5]), true[:5], rtol=1e-13)


@pytest.mark.parametrize("dim", [2, 3, 17, 1000, 100_000])
def test_caps_of_the_uniform_law_are_those_of_a_beta_variable(dim):
    p = np.array([1e-12, 0.01, 0.5, 0.9, 0.999])
    m = (dim - 1) / 2
    true = 2 * np.arcsin(np.sqrt(special.betaincinv(m, m, p)))
    np.testing.assert_allclose(VonMisesFisher(np.eye(1, dim)[0], 0.0).interval(p), true, rtol=1e-12)


def test_caps_on_the_circle_are_those_of_von_mises():
    p = np.array([0.1, 0.5, 0.9, 0.99])
    for kappa in (0.5, 3.0, 40.0):
        # scipy sums a series to 1e-8.
        np.testing.assert_allclose(
            VonMisesFisher([0, 1], kappa).interval(p), stats.vonmises(kappa).ppf(0.5 + p / 2), rtol=1e-7
        )


@pytest.mark.parametrize("kappa_over_dim", [1e-3, 1.0, 1e12])
@pytest.mark.parametrize("dim", [2, 10, 1000])
def test_caps_hold_their_share_of_samples(dim, kappa_over_dim):
    # 5 limits of 4.5 standard deviations on 9 cases fail by chance once in 3,000 seeds.
    law, n = VonMisesFisher(direction(dim), dim * kappa_over_dim), max(2000, 200_000 // dim)
    angle = 2 * np.arcsin(0.5 * np.linalg.norm(law.rvs(n, 0) - law.mu, axis=1))
    for p in (0.05, 0.3, 0.5, 0.9, 0.99):
        assert abs(np.mean(angle <= law.interval(p)) - p) < 4.5 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize(("dim", "kappa"), [(2, 0.0), (2, 1e300), (3, 1e-300), (10**6, 1e6), (10**7, 1e19)])
def test_caps_grow_from_nothing_to_the_whole_sphere(dim, kappa):
    law = VonMisesFisher(np.bincount([dim - 1], minlength=dim).astype(float), kappa)
    angle = law.interval([0.0, 1e-100, 1e-9, 0.1, 0.5, 0.9, 1 - 1e-9, 1 - 2**-53, 1.0])
    np.testing.assert_array_equal(np.isnan(law.interval([0.5, np.nan])), [False, True])
    assert (np.diff(angle) > 0.0).all() and (angle[0], angle[-1]) == (0.0, np.pi)
    assert (
        angle.shape == (9,) and isinstance(law.interval(0.5), float) and law.interval([[0.5]]).shape == (1, 1)
    )


# entropy, divergence, mean


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_entropy_is_that_of_scipy(dim):
    law = VonMisesFisher(direction(dim), 4.0)
    assert law.entropy() == pytest.approx(stats.vonmises_fisher(law.mu, 4.0).entropy(), rel=1e-13)


def test_divergence_to_and_from_the_uniform_law():
    for dim in (2, 3, 50, 1000):
        law, uniform = VonMisesFisher(direction(dim), 3.0 * dim), VonMisesFisher(direction(dim, 1), 0.0)
        assert law.kl_divergence(uniform) == pytest.approx(vmf.kl_to_uniform(3.0 * dim, dim), rel=1e-14)
        assert uniform.kl_divergence(law) == pytest.approx(vmf.log_h(3.0 * dim, dim), rel=1e-14)


@pytest.mark.parametrize("dim", [2, 3, 40, 300, 10_000])
@pytest.mark.parametrize("kappa_over_dim", [1e-6, 0.5, 20.0, 1e7])
@pytest.mark.parametrize("factor", [1 + 1e-9, 1.01, 0.3, 1e-5, 1e4])
def test_divergence_matches_mpmath(dim, kappa_over_dim, factor):
    kappa, other = dim * kappa_over_dim, dim * kappa_over_dim * factor
    one, two = VonMisesFisher(direction(dim), kappa), VonMisesFisher(direction(dim, 1), other)
    with mpmath.workdps(80):
        a, b = oracle.exact(kappa, dim), oracle.exact(other, dim)
        spread = a.log_c - b.log_c + (mpmath.mpf(kappa) - mpmath.mpf(other)) * a.a
        turned = other * a.a * (1 - mpmath.fdot(*(map(float, law.mu) for law in (one, two))))
    # The derivative of the ratio, of which the integral is taken, is good to 1e-13.
    assert one.kl_divergence(VonMisesFisher(one.mu, other)) == pytest.approx(float(spread), rel=1e-13)
    assert one.kl_divergence(two) == pytest.approx(float(spread + turned), rel=1e-12)


def test_divergence_of_point_masses():
    here, there, point = (VonMisesFisher(*v) for v in (([1, 0], 2.0), ([0, 1], np.inf), ([1, 0], np.inf)))
    assert here.kl_divergence(here) == point.kl_divergence(point) == 0.0
    assert here.kl_divergence(point) == point.kl_divergence(here) == point.kl_divergence(there) == np.inf


def test_mean_is_that_of_samples():
    law = VonMisesFisher(direction(5), 6.0)
    np.testing.assert_allclose(law.rvs(100_000, 0).mean(axis=0), law.mean(), atol=4.5 * 1e5**-0.5)
    assert np.linalg.norm(law.mean()) == pytest.approx(vmf.mean_resultant_length(6.0, 5), rel=1e-15)


# fit


@pytest.mark.parametrize("estimator", ["mle", "banerjee", "unbiased", "marginal"])
def test_fit_is_what_the_statistics_say(estimator):
    rows, weights = sample(40, 6, 5.0), np.random.default_rng(1).uniform(0.5, 2.0, 40)
    seen = DirectionStats(6)
    seen.update(rows, weights)
    law = VonMisesFisher.fit(rows, weights=weights, estimator=estimator)
    assert law.kappa == pytest.approx(seen.concentration(estimator), rel=1e-12)
    np.testing.assert_allclose(law.mu, seen.mean_direction, atol=1e-14)


def test_fit_maximises_the_likelihood():
    rows = sample(100, 4, 3.0)
    best = VonMisesFisher.fit(rows)
    highest = best.logpdf(rows).sum()
    for seed in range(20):
        near = best.mu + 0.01 * direction(4, seed)
        for law in (
            VonMisesFisher(near / np.linalg.norm(near), best.kappa),
            VonMisesFisher(best.mu, best.kappa * (1 + 0.002 * (seed - 9.5))),
        ):
            assert law.logpdf(rows).sum() < highest


def test_fit_with_a_known_direction_or_concentration_maximises_the_likelihood():
    rows, mu = sample(60, 4, 3.0), np.eye(4)[0]
    law = VonMisesFisher.fit(rows, mu=mu)
    assert vmf.mean_resultant_length(law.kappa, 4) == pytest.approx((rows @ mu).mean(), rel=1e-13)
    np.testing.assert_array_equal(law.mu, mu)
    assert VonMisesFisher.fit(rows, mu=-mu).kappa == 0.0
    assert VonMisesFisher.fit(rows[:1], mu=mu).kappa == pytest.approx(
        float(vmf.concentration(rows[0, 0], 4)), rel=1e-12
    )
    assert VonMisesFisher.fit(np.eye(2)[[0, 0]] * [[1.0], [-1.0]], mu=[0, 1]).kappa == 0.0
    known = VonMisesFisher.fit(rows, kappa=7.0)
    assert known.kappa == 7.0 and known == VonMisesFisher(VonMisesFisher.fit(rows).mu, 7.0)
    assert VonMisesFisher.fit(rows[:1], kappa=7.0).kappa == 7.0


def test_fit_about_a_known_direction_keeps_its_digits_where_rows_hardly_differ():
    rows = VonMisesFisher(direction(8), 1e20).rvs(50, 0)
    gap = 0.5 * ((rows - direction(8)) ** 2).sum(axis=1).mean()  # 1 - c, which c itself has lost
    # gap is 3.5e-20, and its square root 1e-6 of the rounding of rows.
    assert VonMisesFisher.fit(rows, mu=direction(8)).kappa == pytest.approx(3.5 / gap, rel=1e-5)


def test_fit_finds_what_samples_were_drawn_from():
    # kappa of a fit has the variance 1/(n A'): 4.5 deviations, by chance once in 150,000 seeds each.
    for dim, kappa in ((2, 0.5), (3, 40.0), (100, 1e6)):
        law = VonMisesFisher(direction(dim), kappa)
        fitted = VonMisesFisher.fit(law.rvs(20_000, 0))
        reach = 4.5 / math.sqrt(20_000 * vmf.mean_resultant_length_derivative(kappa, dim))
        bias = kappa * (dim - 1) / 20_000  # of the maximum-likelihood estimate, at most
        assert abs(fitted.kappa - kappa) < reach + bias
        assert fitted.mu @ law.mu > 1.0 - 20 * dim / (20_000 * min(kappa, dim))


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csr_matrix, sparse.coo_array, sparse.csc_matrix])
@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_rows_fit_as_dense_ones(form, weighted):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(25, 20)) * (rng.random((25, 20)) < 0.3)
    rows[:, 0] += 1.0
    weights = rng.uniform(0.5, 2.0, 25) if weighted else None
    dense = VonMisesFisher.fit(rows, weights=weights, normalize=True)
    found = VonMisesFisher.fit(form(rows), weights=weights, normalize=True)
    assert found.kappa == pytest.approx(dense.kappa, rel=1e-13)
    np.testing.assert_allclose(found.mu, dense.mu, atol=1e-14)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert VonMisesFisher.fit(form(unit), weights=weights).kappa == pytest.approx(dense.kappa, rel=1e-12)


def test_weights_count_rows():
    rows = sample(10, 3, 2.0)
    counts = np.arange(1.0, 11.0)
    repeated = VonMisesFisher.fit(np.repeat(rows, counts.astype(int), axis=0))
    assert VonMisesFisher.fit(rows, weights=counts).kappa == pytest.approx(repeated.kappa, rel=1e-12)


def test_rows_in_float32_and_of_any_length_fit():
    rows = sample(50, 30, 60.0)
    law = VonMisesFisher.fit(rows)
    assert VonMisesFisher.fit(rows.astype(np.float32)).kappa == pytest.approx(law.kappa, rel=1e-6)
    lengths = np.geomspace(1e-200, 1e200, 50)[:, None]
    assert VonMisesFisher.fit(rows * lengths, normalize=True).kappa == pytest.approx(law.kappa, rel=1e-12)


def test_equal_rows_fit_a_point_mass():
    law = VonMisesFisher.fit(np.tile([0.6, 0.8], (5, 1)))
    assert law == VonMisesFisher([0.6, 0.8], np.inf)


# the value


def test_laws_are_values():
    law = VonMisesFisher([0.6, -0.8, 0], 3)
    assert law == VonMisesFisher(np.array([0.6, -0.8, -0.0]), 3.0) and law != VonMisesFisher(
        [0.6, 0.8, 0], 3.0
    )
    assert law != VonMisesFisher([0.6, -0.8, 0], 2.0) and law != "law"
    assert len({law, VonMisesFisher([0.6, -0.8, -0.0], 3.0)}) == 1
    assert law == pickle.loads(pickle.dumps(law)) == copy.deepcopy(law)
    assert law == VonMisesFisher(law.mu, law.kappa)
    assert dataclasses.replace(law, kappa=4.0).kappa == 4.0
    assert law.dim == 3 and isinstance(law.kappa, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        law.kappa = 1.0
    with pytest.raises(ValueError, match="read-only"):
        law.mu[0] = 1.0


def test_mean_direction_is_copied_and_normalised():
    given = direction(50).astype(np.float32)
    law = VonMisesFisher(given, 1.0)
    assert law.mu.dtype == np.float64 and np.linalg.norm(law.mu) == pytest.approx(1.0, abs=1e-15)
    assert VonMisesFisher(law.mu, 1.0) == law
    exact = direction(50)
    assert VonMisesFisher(exact, 1.0).mu is not exact
    np.testing.assert_array_equal(VonMisesFisher(exact, 1.0).mu, exact)


ROWS = np.eye(3)[[0, 1, 2, 0]]


def spoiled(value, row=2):
    rows = ROWS.copy()
    rows[row] = value
    return rows


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: VonMisesFisher([1.0, 1.0], 1.0),
            "mu must be a unit vector, got length 1.41421; divide it by that",
        ),
        (lambda: VonMisesFisher([0.0, 0.0], 1.0), "mu must be a unit vector, got length 0"),
        (lambda: VonMisesFisher([np.nan, 1.0], 1.0), "mu must be finite, got 1 of 2 entries"),
        (lambda: VonMisesFisher([1.0], 1.0), "mu must have at least 2 entries, got 1"),
        (lambda: VonMisesFisher([[1.0, 0.0]], 1.0), r"mu must have shape \(d,\), got \(1, 2\)"),
        (lambda: VonMisesFisher([1, 0], -1.0), r"kappa must be in \[0, inf\], got -1.0"),
        (lambda: VonMisesFisher([1, 0], np.nan), r"kappa must be in \[0, inf\], got nan"),
        (
            lambda: VonMisesFisher([1, 0], 1.0).logpdf([1, 0, 0]),
            r"x must have shape \(\.\.\., 2\), got \(3,\)",
        ),
        (lambda: VonMisesFisher([1, 0], 1.0).logpdf(1.0), r"x must have shape \(\.\.\., 2\), got \(\)"),
        (
            lambda: VonMisesFisher([1, 0, 0], 1.0).pdf(spoiled(0.5)),
            r"x must hold unit vectors, got 1 of 4 that are not \(first: row 2, norm 0.866025\); divide",
        ),
        (
            lambda: VonMisesFisher([1, 0, 0], 1.0).logpdf(spoiled(np.nan)),
            "x must hold unit vectors, got 1 of 4 that are not",
        ),
        (lambda: VonMisesFisher([1, 0], 1.0).rvs(-1), "size must be at least 0, got -1"),
        (
            lambda: VonMisesFisher([1, 0], 1.0).interval([0.5, 1.5]),
            r"confidence must be in \[0, 1\], got 1 of 2 .*1.5",
        ),
        (
            lambda: VonMisesFisher([1, 0], 1.0).kl_divergence(VonMisesFisher([1, 0, 0], 1.0)),
            r"other.mu must have shape \(2,\), got \(3,\)",
        ),
        (
            lambda: VonMisesFisher.fit(spoiled(0.0)),
            r"rows must hold unit vectors, got 1 of 4 that are not \(first: row 2, norm 0\); drop",
        ),
        (lambda: VonMisesFisher.fit(spoiled(1e200)), "rows must hold unit vectors, got 1 of 4 that are not"),
        (lambda: VonMisesFisher.fit(spoiled(np.nan)), "rows must hold unit vectors, got 1 of 4 that are not"),
        (
            lambda: VonMisesFisher.fit(sparse.csr_array(spoiled(0.5))),
            "rows must hold unit vectors, got 1 of 4 that are not",
        ),
        (lambda: VonMisesFisher.fit(spoiled(0.0), normalize=True), "rows must have a direction, got 1 of 4"),
        (lambda: VonMisesFisher.fit(spoiled(np.nan), normalize=True), "rows must be finite, got 1 of 4"),
        (
            lambda: VonMisesFisher.fit(sparse.csr_array(spoiled(0.0)), normalize=True),
            r"rows must have a direction, got 1 of 4 bad rows \(first: row 2\); remove",
        ),
        (
            lambda: VonMisesFisher.fit(sparse.csr_array(spoiled(np.nan)), normalize=True),
            "rows must be finite, got 1 of 4",
        ),
        (
            lambda: VonMisesFisher.fit(ROWS, weights=[1.0, 1.0, 0.0, 1.0]),
            "weights must be positive, got 1 of 4",
        ),
        (
            lambda: VonMisesFisher.fit(sparse.csr_array(ROWS), weights=[1.0, 1.0, 1.0, -1.0]),
            r"weights must be positive, got 1 of 4 bad rows \(first: row 3\)",
        ),
        (lambda: VonMisesFisher.fit(ROWS, weights=[1.0]), r"weights must have shape \(4,\), got \(1,\)"),
        (lambda: VonMisesFisher.fit(ROWS[0]), r"rows must have shape \(n, d\), got \(3,\)"),
        (lambda: VonMisesFisher.fit(np.ones((3, 1))), "dim must be at least 2, got 1"),
        (
            lambda: VonMisesFisher.fit(ROWS[:1]),
            "rows must number at least 2, got 1; collect more or pass kappa",
        ),
        (lambda: VonMisesFisher.fit(ROWS[:0]), "n must be at least 1, got 0"),
        (lambda: VonMisesFisher.fit(sparse.csr_array((0, 3))), "n must be at least 1, got 0"),
        (
            lambda: VonMisesFisher.fit(np.array([[1.0, 0.0], [-1.0, 0.0]])),
            "rows must have a mean direction, got rows that cancel; the fit is uniform",
        ),
        (
            lambda: VonMisesFisher.fit(ROWS, mu=[1, 0, 0], kappa=1.0),
            "kappa must be None where mu is given, got 1.0",
        ),
        (lambda: VonMisesFisher.fit(ROWS, mu=[1, 0]), r"mu must have shape \(3,\), got \(2,\)"),
        (lambda: VonMisesFisher.fit(ROWS, estimator="mean"), "estimator must be one of 'mle', .* got 'mean'"),
        (
            lambda: VonMisesFisher.fit(ROWS, mu=[1, 0, 0], estimator="unbiased"),
            "estimator must be 'mle' or 'banerjee' where mu is given, got 'unbiased'",
        ),
    ],
)
def test_what_cannot_be_is_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: VonMisesFisher([1j, 0], 1.0), "mu must have dtype float32 or float64, got complex128"),
        (
            lambda: VonMisesFisher([1, 0], 1.0).logpdf([True, False]),
            "x must have dtype float32 or float64, got bool",
        ),
        (lambda: VonMisesFisher([1, 0], 1.0).rvs(1.5), "size must be an integer, got 1.5"),
        (lambda: VonMisesFisher([1, 0], 1.0).kl_divergence(1.0), "other must be a VonMisesFisher, got float"),
        (
            lambda: VonMisesFisher.fit(np.eye(3, dtype=int)),
            "rows must have dtype float32 or float64, got int64",
        ),
        (
            lambda: VonMisesFisher.fit(sparse.eye_array(3, dtype=int)),
            "rows must have dtype float32 or float64, got int64",
        ),
    ],
)
def test_wrong_types_are_named(call, match):
    with pytest.raises(TypeError, match=match):
        call()
