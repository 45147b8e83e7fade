import pickle

import numpy as np
import oracles_directional as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsgd.directional import DirectionMonitor, estimators


def gradients(n, dim, seed=0, mean=0.3):
    return np.random.default_rng(seed).normal(size=(n, dim)) + mean


def of(rows):
    monitor = DirectionMonitor()
    for row in rows:
        monitor.update(row)
    return monitor


def assert_same(a, b, rel=0.0):
    assert a.groups.keys() == b.groups.keys()
    for name in a.groups:
        assert_same(a.groups[name], b.groups[name], rel)
    for name, one, other in zip(a._fields[:-1], a, b, strict=False):
        np.testing.assert_allclose(other, one, rtol=rel, atol=rel, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_report_is_what_all_gradients_together_give(dtype):
    rows = gradients(40, 6).astype(dtype)
    report = of(rows).report()
    exact = rows.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    r, one_minus_r = oracle.lengths(exact, np.ones(40))
    assert (report.n, report.n_zero, report.dim) == (40, 0, 6)
    mean = np.linalg.norm(exact.mean(axis=0))
    assert report.snr == pytest.approx(mean / np.sqrt(exact.var(axis=0, ddof=1).sum()), rel=1e-13)
    assert report.norm_snr == pytest.approx(norms.mean() / norms.std(ddof=1), rel=1e-13)
    assert report.mean_resultant_length == pytest.approx(r, rel=1e-14)
    assert report.kappa == pytest.approx(r * (6 - r**2) / (1 - r**2), rel=1e-13)
    assert report.kappa_unbiased == pytest.approx(estimators.unbiased(r, 6, 40, one_minus_r), rel=1e-12)
    assert report.kappa_interval[0] < report.kappa_unbiased < report.kappa_interval[1]
    assert report.uniformity_pvalue == oracle.signflip_pvalue(exact, np.ones(40), 16)


def test_zero_gradient_counts_for_the_moments_alone():
    rows = gradients(20, 4)
    rows[[0, 7]] = 0.0
    report, without = of(rows).report(), of(rows[rows.any(axis=1)]).report()
    assert (report.n, report.n_zero) == (20, 2)
    mean = np.linalg.norm(rows.mean(axis=0))
    assert report.snr == pytest.approx(mean / np.sqrt(rows.var(axis=0, ddof=1).sum()), rel=1e-13)
    assert report[5:11] == without[5:11]  # all of directions


def test_scatter_about_a_far_mean_keeps_its_digits():
    # Entries near 1e6 are rounded by 1e-10, 1e-7 of the scatter; sums of squares near 1e12 would be by 1e-4.
    noise = 1e-3 * gradients(200, 5, mean=0.0)
    report = of(1e6 + noise).report()
    scatter = np.sqrt(noise.var(axis=0, ddof=1).sum())
    assert report.snr == pytest.approx(1e6 * np.sqrt(5.0) / scatter, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 30), other_cut=st.integers(0, 30))
def test_merged_monitors_report_as_one(cut, other_cut):
    rows = gradients(30, 4)
    low, high = sorted((cut, other_cut))
    merged = of(rows[:low])
    merged.merge(of(rows[low:high]))
    merged.merge(of(rows[high:]))
    # The interval goes through differences of leave-one-out estimates, which lose three digits.
    assert_same(of(rows).report(), merged.report(), rel=1e-11)


def test_merge_with_itself_counts_gradients_twice():
    rows = gradients(10, 4)
    monitor = of(rows)
    monitor.merge(monitor)
    assert_same(of(np.vstack([rows, rows])).report(), monitor.report(), rel=1e-11)


def test_reset_forgets_everything():
    monitor = of(gradients(10, 4))
    monitor.reset()
    assert_same(monitor.report(), DirectionMonitor().report())
    monitor.update(np.ones(7))
    assert monitor.report().dim == 7


def test_what_is_not_determined_is_nan():
    empty, one, two = (of(gradients(n, 3)).report() for n in (0, 1, 2))
    assert (empty.n, empty.dim, one.n, one.dim) == (0, 0, 1, 3)
    assert np.isnan([*empty[3:8], *empty.kappa_interval, empty.uniformity_pvalue]).all()
    assert np.isnan([*one[3:8], *one.kappa_interval, one.uniformity_pvalue]).all()
    assert np.isfinite([*two[3:8], two.uniformity_pvalue]).all() and np.isnan(two.kappa_interval).all()


def test_only_zero_gradients_have_no_direction():
    report = of(np.zeros((5, 3))).report()
    assert (report.n, report.n_zero) == (5, 5)
    assert np.isnan([report.snr, report.kappa, report.uniformity_pvalue]).all()


def test_equal_gradients_are_pure_signal():
    report = of(np.tile([1.0, 2.0, 2.0], (5, 1))).report()
    assert (report.snr, report.norm_snr, report.kappa_unbiased) == (np.inf, np.inf, np.inf)


def test_pickled_monitor_goes_on_exactly():
    rows = gradients(20, 3)
    straight = of(rows[:12])
    copied = pickle.loads(pickle.dumps(straight))
    for row in rows[12:]:
        straight.update(row)
        copied.update(row)
    assert straight.report() == copied.report()


@pytest.mark.parametrize(
    ("g", "error", "match"),
    [
        (np.ones(4), ValueError, r"g must have shape \(3,\), got \(4,\)"),
        (np.ones((1, 3)), ValueError, r"g must have shape \(3,\), got \(1, 3\)"),
        (np.array([1.0, np.nan, 2.0]), ValueError, "g must be finite, got 1 of 3 entries"),
        (np.ones(3, dtype=int), TypeError, "g must have dtype float32 or float64"),
    ],
)
def test_refused_gradient_leaves_no_trace(g, error, match):
    monitor = of(gradients(8, 3))
    before = monitor.report()
    with pytest.raises(error, match=match):
        monitor.update(g)
    assert monitor.report() == before


def test_monitors_of_other_models_do_not_merge():
    monitor = of(gradients(4, 3))
    with pytest.raises(ValueError, match=r"other must have gradients of shape \(3,\), got \(4,\)"):
        monitor.merge(of(gradients(4, 4)))
    with pytest.raises(ValueError, match="dim must be at least 2, got 1"):
        DirectionMonitor().update(np.ones(1))
