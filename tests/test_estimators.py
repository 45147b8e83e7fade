import mpmath
import numpy as np
import oracles_directional as oracle
import pytest
from scipy import stats as scipy_stats

from refsgd.directional import DirectionStats, estimators, vmf
from refsgd.directional.concentration import ratio, triple


def test_mean_pairwise_cosine_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(12, 4)) + 0.3, rng.uniform(0.5, 2.0, 12)
    r, one_minus_r = oracle.lengths(rows, weights)
    u, one_minus_u = estimators.mean_pairwise_cosine(r, weights.sum() ** 2 / (weights**2).sum(), one_minus_r)
    assert u == pytest.approx(oracle.mean_pairwise_cosine(rows, weights), rel=1e-13)
    assert one_minus_u == pytest.approx(1.0 - u, rel=1e-14)


def test_unbiased_inverts_the_square_of_the_ratio():
    n, dim = 50, 7
    for kappa in (0.5, 5.0, 1e4):
        a = oracle.triple(kappa, dim)[0]
        with mpmath.workdps(60):
            r2_complement = (1 - a * a) * (n - 1) / n  # 1 - r**2 for which 1 - U = 1 - A**2
            r = mpmath.sqrt(1 - r2_complement)
            r, b = float(r), float(r2_complement / (1 + r))
        assert estimators.unbiased(r, dim, n, b) == pytest.approx(kappa, rel=1e-12)


def test_many_more_dimensions_than_directions_fool_the_mle_only():
    # Two hundred uniform directions; the pairwise cosine has deviation sqrt(2/(d n (n-1))) = 7e-5 about 0.
    dim = 20_000
    stats = DirectionStats(dim)
    stats.update(np.random.default_rng(0).normal(size=(200, dim)))
    assert stats.concentration("mle") > 1_000.0
    assert stats.concentration("banerjee") > 1_000.0
    assert stats.concentration("unbiased") < 400.0
    assert stats.concentration("marginal") < 400.0
    assert stats.interval()[0] == stats.interval(method="score")[0] == 0.0


@pytest.mark.parametrize(("r", "dim", "n"), [(0.5, 3, 10), (0.2, 100, 40), (0.9, 5, 4), (0.999999, 30, 8)])
def test_marginal_solves_its_equation(r, dim, n):
    kappa = estimators.marginal(r, dim, n)
    assert kappa < estimators.mle(r, dim)
    # A(kappa) - r A(n r kappa) rounds by 1e-16, which the slope of A carries to kappa.
    assert ratio(kappa, dim) == pytest.approx(r * ratio(n * r * kappa, dim), rel=1e-12)
    with mpmath.workdps(40):
        a, b = oracle.triple(kappa, dim)[1], oracle.triple(n * r * kappa, dim)[1]
        assert float((1 - mpmath.mpf(r) + r * b) / a) == pytest.approx(1.0, rel=1e-9)


def test_marginal_is_zero_up_to_the_resultant_of_uniform_directions():
    assert estimators.marginal(0.1, 1000, 100) == 0.0
    assert estimators.marginal(0.1, 1000, 99.9) == 0.0
    assert 0.0 < estimators.marginal(0.1, 1000, 100.1) < 50.0


def test_estimators_of_a_large_sample_agree():
    for estimate in (estimators.unbiased, estimators.marginal):
        assert estimate(0.6, 10, 10**9) == pytest.approx(estimators.mle(0.6, 10), rel=1e-7)
    assert estimators.banerjee(0.6, 10) == pytest.approx(estimators.mle(0.6, 10), rel=0.02)


@pytest.mark.parametrize(
    ("r", "dim", "n"), [(0.5, 3, 100), (0.3, 1000, 50), (0.999, 4, 20), (1 - 1e-9, 1e6, 5)]
)
def test_score_interval_ends_where_u_is_z_deviations_off(r, dim, n):
    one_minus_u = estimators.mean_pairwise_cosine(r, n)[1]
    for end, side in zip(estimators.score_interval(r, dim, n), (1.0, -1.0), strict=True):
        a, b, slope = triple(end, dim)
        variance = 4 * a**2 * slope / n + 2 * (slope**2 + (dim - 1) * (a / end) ** 2) / (n * (n - 1))
        z = (b * (1 + a) - one_minus_u) / np.sqrt(variance)
        assert z == pytest.approx(side * 1.959963984540054, rel=1e-5)


def test_score_interval_of_spread_directions_starts_at_zero():
    assert estimators.score_interval(0.1, 3, 30)[0] == 0.0
    assert estimators.score_interval(0.0, 3, 1000, level=0.5) == (0.0, 0.0)  # more even than chance


def test_intervals_widen_with_their_level():
    stats = DirectionStats(5)
    stats.update(oracle.von_mises_fisher(100, 5, 8.0, np.random.default_rng(0)))
    for method in ("jackknife", "score"):
        inner, outer = stats.interval(0.5, method), stats.interval(0.99, method)
        assert outer[0] < inner[0] < stats.concentration("unbiased") < inner[1] < outer[1]


def test_jackknife_is_open_above_where_one_block_makes_all_the_difference():
    stats = DirectionStats(3)
    stats.update(np.array([[1.0, 0.0, 0.0]] * 4 + [[0.0, 1.0, 0.0]]))
    assert stats.interval() == (0.0, np.inf)


def test_intervals_cover_and_tests_keep_their_size_on_gradients_of_unequal_variance():
    # 200 samples: at true coverage 0.95 and size 0.05 each bound below is broken with probability below 1e-3.
    rng = np.random.default_rng(7)
    dim, n, repeats = 100, 40, 200
    deviation = np.arange(1, dim + 1) ** -0.5
    large = DirectionStats(dim)
    large.update(0.1 + deviation * rng.normal(size=(100_000, dim)))
    truth = large.concentration("unbiased")
    covered = rejected = 0
    for _ in range(repeats):
        stats, null = DirectionStats(dim, 12), DirectionStats(dim, 12)
        stats.update(0.1 + deviation * rng.normal(size=(n, dim)))
        null.update(deviation * rng.normal(size=(n, dim)))
        low, high = stats.interval()
        covered += low <= truth <= high
        rejected += null.uniformity_pvalue() <= 0.05
    assert covered >= 0.9 * repeats
    assert rejected <= 0.11 * repeats


def test_score_interval_covers_on_von_mises_fisher_directions():
    # 200 samples: at true coverage 0.95 the bound is broken with probability below 1e-3.
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        stats = DirectionStats(100)
        stats.update(oracle.von_mises_fisher(10, 100, 30.0, rng))
        low, high = stats.interval(method="score")
        covered += low <= 30.0 <= high
    assert covered >= 180


@pytest.mark.parametrize("kappa_over_dim", [0.03, 1.0, 1e4])
@pytest.mark.parametrize("dim", [2, 3, 10, 100, 10_000, 1_000_000])
def test_score_interval_covers_in_every_dimension(dim, kappa_over_dim):
    # The share of 4,000 samples of 10 in its acceptance region. A true coverage of 0.95 breaks a bound with
    # probability below 1e-8, one of 0.92 or 0.99 passes with probability 0.01 or less. Over n = 5 to 30 and
    # d = 2 to 1e9 it is 0.942 to 0.964.
    n, repeats, kappa = 10, 4000, kappa_over_dim * dim
    u = pairwise_cosines(n, dim, kappa, repeats, np.random.default_rng(dim))
    a, _, slope = triple(kappa, dim)
    deviation = np.sqrt(4 * a**2 * slope / n + 2 * (slope**2 + (dim - 1) * (a / kappa) ** 2) / (n * (n - 1)))
    z = (u - a**2) / deviation / 1.959963984540054
    assert 0.93 < np.mean(abs(z) <= 1.0) < 0.98
    for i in np.argsort(abs(abs(z) - 1.0))[:2]:  # the interval is that region, seen from a sample
        low, high = estimators.score_interval(np.sqrt((u[i] * (n - 1) + 1) / n), dim, n)
        assert (low <= kappa <= high) == (abs(z[i]) <= 1.0)


def pairwise_cosines(n, dim, kappa, repeats, rng):
    """U of von Mises-Fisher samples in O(n**2) whatever d: directions across are drawn in their own span."""
    below, across = (v.reshape(repeats, n) for v in vmf.random_heights(kappa, dim, repeats * n, rng))
    normal, m = rng.normal(size=(repeats, n, min(n, dim - 1))), dim - 1
    if m > n:  # Bartlett's decomposition
        normal = np.tril(normal, -1)
        normal[:, range(n), range(n)] = np.sqrt(rng.chisquare(m - np.arange(n), (repeats, n)))
    v = normal * (across / np.linalg.norm(normal, axis=2))[:, :, None]
    r2 = (1.0 - below.mean(axis=1)) ** 2 + (v.mean(axis=1) ** 2).sum(axis=1)
    return (n * r2 - 1.0) / (n - 1.0)


@pytest.mark.parametrize(("n", "dim"), [(3, 50), (5, 3), (9, 2), (10, 3), (30, 60)])
def test_isotropic_pvalues_of_uniform_directions_are_uniform(n, dim):
    # 4,000 samples: a distance of 0.032 has probability below 1e-3 for exactly uniform values; 0.01 is the
    # test's own error at n = 3, where only three moments are matched.
    rng = np.random.default_rng(n)
    u = rng.normal(size=(4000, n, dim))
    u /= np.linalg.norm(u, axis=2, keepdims=True)
    lengths = np.linalg.norm(u.mean(axis=1), axis=1)
    p = [estimators.isotropic_uniformity(r, dim, n) for r in lengths]
    assert scipy_stats.kstest(p, "uniform").statistic < 0.042


def test_isotropic_pvalue_holds_in_huge_dimensions():
    # The chi-squared variable has 1e9 degrees and is normal to 1e-4: its tail at z = 2.
    n, dim = 1000, 1e9
    r = np.sqrt((1.0 + 2.0 * np.sqrt(2.0 * (n - 1) / (n * dim))) / n)
    assert estimators.isotropic_uniformity(r, dim, n) == pytest.approx(0.02275, rel=1e-3)


def test_sign_flips_are_symmetric_in_the_folds():
    rng = np.random.default_rng(0)
    sums = rng.normal(size=(9, 4)) + 0.4
    flipped = sums * rng.choice([-1.0, 1.0], 9)[:, None]
    order = rng.permutation(9)
    p = estimators.signflip_uniformity(sums @ sums.T)
    assert estimators.signflip_uniformity((sums @ sums.T)[np.ix_(order, order)]) == p
    assert 2.0**-8 <= p < estimators.signflip_uniformity(flipped @ flipped.T) <= 1.0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: estimators.unbiased(0.5, 3, 1),
            "n must be greater than 1, got 1; collect at least two directions",
        ),
        (lambda: estimators.marginal(0.5, 3, 1), "n must be greater than 1"),
        (lambda: estimators.score_interval(0.5, 3, 1), "n must be greater than 1"),
        (lambda: estimators.score_interval(0.5, 3, 9, 95), "level must be between 0 and 1, got 95"),
        (lambda: estimators.isotropic_uniformity(0.5, 3, 2), "n must be at least 3, got 2"),
        (lambda: estimators.signflip_uniformity(np.eye(1)), "have at least 2 folds with directions, got 1"),
        (
            lambda: estimators.jackknife_interval(np.eye(2), *np.ones((3, 2)), 3),
            "have at least 3 folds with directions, got 2",
        ),
    ],
)
def test_what_cannot_be_estimated_is_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()
