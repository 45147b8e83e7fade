"""Moments of per-sample gradients: against NumPy, and what merging must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from refsgd import Moments

floats = {
    np.float32: st.floats(-(2.0**40), 2.0**40, width=32),
    np.float64: st.floats(-1e100, 1e100),
}


def gradients(n, d, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(0.5, 2, size=(n, d)).astype(dtype)


def assert_close(moments, rows):
    """Equal to NumPy's means in float64, to the rounding of a sum of n terms in the dtype of ``rows``."""
    exact = rows.astype(np.float64)
    # A term added is rounded by eps / 2 of the sum so far; squares and the division once more each.
    bound = (len(rows) + 2) * np.finfo(rows.dtype).eps
    largest = np.abs(exact).max(axis=0, initial=0)
    tiny = np.finfo(rows.dtype).tiny  # squares below it are denormal and lose digits
    assert moments.n_samples == len(rows)
    assert (np.abs(moments.mean - exact.mean(axis=0)) <= bound * largest + tiny).all()
    assert (np.abs(moments.mean_sq - (exact**2).mean(axis=0)) <= bound * largest**2 + tiny).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("d", [1, 15, 16, 17, 4097])
def test_moments_are_means_of_columns(backend, n, d, dtype):
    rows = gradients(n, d, dtype=dtype)
    moments = Moments.from_rows(rows, backend=backend)
    assert_close(moments, rows)
    assert moments.mean.dtype == moments.mean_sq.dtype == dtype
    assert moments.mean.shape == moments.mean_sq.shape == (d,)
    reference = Moments.from_rows(rows, backend="numpy")
    np.testing.assert_array_equal(moments.mean, reference.mean)
    np.testing.assert_array_equal(moments.mean_sq, reference.mean_sq)


@settings(max_examples=30)
@given(data=st.data(), dtype=st.sampled_from([np.float32, np.float64]))
def test_any_finite_rows_have_their_moments(backend, data, dtype):
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)
    rows = data.draw(hnp.arrays(dtype, shapes, elements=floats[dtype]))
    assert_close(Moments.from_rows(rows, backend=backend), rows)


def test_moments_of_one_row_are_the_row_and_its_square(backend):
    rows = gradients(1, 33)
    moments = Moments.from_rows(rows, backend=backend)
    np.testing.assert_array_equal(moments.mean, rows[0])
    np.testing.assert_array_equal(moments.mean_sq, rows[0] ** 2)


def test_no_parameters_have_empty_moments(backend):
    moments = Moments.from_rows(np.empty((3, 0)), backend=backend)
    assert (moments.n_samples, moments.mean.shape, moments.mean_sq.shape) == (3, (0,), (0,))


def test_order_in_memory_does_not_matter(backend):
    rows = gradients(6, 9)
    expected = Moments.from_rows(rows, backend=backend)
    wide = np.repeat(np.repeat(rows, 2, axis=0), 3, axis=1)
    for same in (np.asfortranarray(rows), wide[::2, ::3], rows.tolist()):
        moments = Moments.from_rows(same, backend=backend)
        np.testing.assert_array_equal(moments.mean, expected.mean)
        np.testing.assert_array_equal(moments.mean_sq, expected.mean_sq)


def test_rows_that_are_not_finite_show_in_their_columns(backend):
    rows = gradients(3, 4)
    rows[1, 2], rows[2, 3] = np.nan, np.inf
    moments = Moments.from_rows(rows, backend=backend)
    assert (
        np.isfinite(moments.mean).tolist()
        == np.isfinite(moments.mean_sq).tolist()
        == [True, True, False, False]
    )


def test_rows_are_not_changed(backend):
    rows = gradients(5, 4)
    before = rows.copy()
    moments = Moments.from_rows(rows, backend=backend)
    moments.mean[:] = 0
    np.testing.assert_array_equal(rows, before)


@settings(max_examples=50)
@given(
    cuts=st.tuples(st.integers(1, 28), st.integers(1, 28)),
    seed=st.integers(0, 100),
    dtype=st.sampled_from([*floats]),
)
def test_merge_is_associative_and_equal_to_one_pass(cuts, seed, dtype):
    rows = gradients(30, 5, seed, dtype)
    low, high = min(cuts), max(cuts) + 1
    one, two, three = (Moments.from_rows(part) for part in (rows[:low], rows[low:high], rows[high:]))
    for merged in (one.merge(two).merge(three), one.merge(two.merge(three)), three.merge(one).merge(two)):
        assert_close(merged, rows)
        assert merged.mean.dtype == merged.mean_sq.dtype == dtype


@settings(max_examples=20)
@given(order=st.permutations(range(12)))
def test_merge_takes_any_order(order):
    rows = gradients(12, 3)
    merged = Moments.from_rows(rows[order[:1]])
    for j in order[1:]:
        merged = merged.merge(Moments.from_rows(rows[[j]]))
    assert_close(merged, rows)


def test_merge_leaves_both_sides_alone():
    one, two = Moments.from_rows(gradients(3, 4)), Moments.from_rows(gradients(5, 4, seed=1))
    before = [array.copy() for array in (*one[1:], *two[1:])]
    one.merge(two)
    for array, old in zip((*one[1:], *two[1:]), before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert (one.n_samples, two.n_samples) == (3, 5)


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        (np.ones(3), ValueError, r"rows must have shape \(n, d\), got \(3,\); pass one row per sample"),
        (np.ones((1, 2, 3)), ValueError, r"rows must have shape \(n, d\), got \(1, 2, 3\)"),
        (
            np.ones((0, 3)),
            ValueError,
            r"rows must have at least one row, got \(0, 3\); drop empty minibatches",
        ),
        (np.ones((2, 3), int), TypeError, "rows must have dtype float32 or float64, got int64"),
        (np.ones((2, 3), complex), TypeError, "rows must have dtype float32 or float64, got complex128"),
        (np.ones((2, 3), object), TypeError, "rows must have dtype float32 or float64, got object"),
    ],
)
def test_refused_rows(rows, error, match):
    with pytest.raises(error, match=match):
        Moments.from_rows(rows)


def test_unknown_backend_is_refused():
    with pytest.raises(ValueError, match=r"backend must be one of .*, got 'gpu'"):
        Moments.from_rows(np.ones((2, 3)), backend="gpu")


def test_merge_needs_mean_squares_and_equal_dimensions():
    whole, lean = Moments.from_rows(gradients(3, 4)), Moments(3, np.ones(4))
    for one, two in ((whole, lean), (lean, whole)):
        with pytest.raises(
            ValueError, match="mean_sq must be given on both sides, got None; keep the mean sq"
        ):
            one.merge(two)
    with pytest.raises(
        ValueError, match=r"other\.mean must have shape \(4,\), got \(5,\); merge equal dimensions"
    ):
        whole.merge(Moments.from_rows(gradients(3, 5)))
