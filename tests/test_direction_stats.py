import pickle

import numpy as np
import oracles_directional as oracle
import pytest
from backends import compared_with_numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, special

import refsgd
from refsgd.directional import DirectionStats, stats


def sample(n, dim, seed=0, mean=0.5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) + mean, rng.uniform(0.1, 3.0, n)


def of(rows, weights=None, n_folds=16):
    result = DirectionStats(rows.shape[-1], n_folds)
    result.update(rows, weights)
    return result


def in_chunks_of(monkeypatch, size):
    """Few rows are then taken in by chunks as many are."""
    monkeypatch.setattr(stats, "chunk_rows", lambda *_: size)
    monkeypatch.setattr(stats, "MANY", 0)


def assert_same_state(a, b, rtol=0.0):
    # rtol counts against the sum of absolute values: about 1 per row for sums and squared distances.
    for name, value in a.state_dict().items():
        np.testing.assert_allclose(b.state_dict()[name], value, rtol=rtol, atol=rtol * a.n, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "dim"), [(1, 2), (5, 3), (40, 7), (100, 2)])
def test_lengths_match_mpmath(n, dim, weighted):
    rows, weights = sample(n, dim)
    weights = weights if weighted else np.ones(n)
    r, one_minus_r = oracle.lengths(rows, weights)
    found = of(rows, weights)
    assert found.mean_resultant_length == pytest.approx(r, rel=1e-14)
    assert found.one_minus_r == pytest.approx(one_minus_r, rel=1e-13, abs=1e-30)
    along = (weights[:, None] * oracle.unit(rows)).sum(axis=0)
    np.testing.assert_allclose(found.mean_direction, along / np.linalg.norm(along), atol=1e-14)


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-8])
def test_one_minus_r_of_nearly_equal_rows_keeps_its_digits(noise):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=30) + noise * rng.normal(size=(50, 30))
    _, one_minus_r = oracle.lengths(rows, np.ones(50))
    # Normalising rounds each entry by 1e-16, which is 1e-16/noise of what the rows differ by; summing unit
    # rows as they are would leave an error of 1e-16/noise**2, all digits at 1e-8.
    assert of(rows).one_minus_r == pytest.approx(one_minus_r, rel=1e-15 / noise)


def test_equal_rows_have_no_spread():
    found = of(np.tile([3.0, -4.0], (20, 1)))
    assert found.one_minus_r == 0.0
    assert found.concentration("unbiased") == found.concentration("mle") == np.inf
    assert found.interval() == (np.inf, np.inf)
    # times the reciprocal of the length: one rounding more than a division
    np.testing.assert_allclose(found.mean_direction, [0.6, -0.8], rtol=0, atol=1.2e-16)


@settings(deadline=None)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=4),
    seed=st.integers(0, 99),
    n_folds=st.sampled_from([1, 3, 16]),
)
def test_merged_parts_equal_one_pass(cuts, seed, n_folds):
    rows, weights = sample(60, 5, seed)
    whole = of(rows, weights, n_folds)
    merged = DirectionStats(5, n_folds)
    for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), 60], strict=True):
        part = of(rows[low:high], weights[low:high], n_folds)
        for each in (part, whole):
            each.update(np.zeros(5), zero="drop")
        merged.merge(part)
    assert merged.n_zero == len(cuts) + 1
    assert_same_state(whole, merged, rtol=1e-14)


@settings(deadline=None)
@given(first=st.integers(0, 30), second=st.integers(0, 30), third=st.integers(0, 30))
def test_merge_is_associative(first, second, third):
    a, b, c = (of(*sample(n, 4, seed)) for seed, n in enumerate((first, second, third)))
    assert_same_state((a + b) + c, a + (b + c), rtol=1e-14)


def test_merge_with_itself_counts_rows_twice():
    rows, weights = sample(21, 3)
    once, twice = of(rows, weights), of(np.vstack([rows, rows]), np.tile(weights, 2))
    once.merge(once)
    assert_same_state(twice, once, rtol=1e-14)


def test_sum_leaves_its_terms_alone():
    a, b = of(sample(20, 3, 0)[0]), of(sample(20, 3, 1)[0])
    before = a.state_dict(), b.state_dict()
    assert (a + b).n == 40
    for old, now in zip(before, (a.state_dict(), b.state_dict()), strict=True):
        np.testing.assert_equal(now, old)


def test_rows_one_by_one_equal_one_array():
    rows, weights = sample(50, 6)
    streamed = DirectionStats(6)
    for row, w in zip(rows, weights, strict=True):
        streamed.update(row, w)
    assert_same_state(of(rows, weights), streamed, rtol=1e-14)


@pytest.mark.parametrize("chunk", [1, 40, 100, 300])
def test_chunks_do_not_change_the_result(monkeypatch, chunk):
    rows, weights = sample(200, 4)
    rows[[0, 3, 77, 199]] = 0.0
    kept = rows.any(axis=1)
    whole = of(rows[kept], weights[kept])
    in_chunks_of(monkeypatch, chunk)
    parts = DirectionStats(4)
    parts.update(rows, weights, zero="drop")
    assert parts.n_zero == 4
    parts.n_zero = 0
    assert_same_state(whole, parts, rtol=1e-14)


def test_float32_rows_are_accumulated_in_float64():
    rows = sample(100, 5)[0].astype(np.float32)
    assert_same_state(of(rows.astype(np.float64)), of(rows))


@pytest.mark.parametrize("view", [lambda x: np.asfortranarray(x), lambda x: np.repeat(x, 2, axis=1)[:, ::2]])
def test_layout_of_rows_does_not_matter(view):
    rows = sample(40, 5)[0]
    assert_same_state(of(rows), of(view(rows)))


@pytest.mark.parametrize("power", [-1010, -600, 600, 1010])
def test_length_of_rows_does_not_matter(power):
    rows = np.array([[3.0, 4.0, 0.0], [-1.0, 2.0, 5.0], [1.0, 1.0, 1.5]])
    assert_same_state(of(rows), of(np.ldexp(rows, power)))


def test_the_smallest_numbers_have_a_direction():
    np.testing.assert_array_equal(of(np.array([[5e-324, 0.0, 0.0]])).mean_direction, [1.0, 0.0, 0.0])


def test_a_weight_of_two_is_the_row_twice_to_the_mean():
    rows, _ = sample(10, 3)
    doubled = of(np.vstack([rows, rows[:1]]))
    assert of(rows, np.r_[2.0, np.ones(9)]).one_minus_r == pytest.approx(doubled.one_minus_r, rel=1e-14)


def test_effective_n_is_that_of_the_weights():
    rows, weights = sample(30, 3)
    assert of(rows).effective_n == 30.0
    assert of(rows, weights).effective_n == pytest.approx(sum(weights) ** 2 / sum(w * w for w in weights))
    half, other = of(rows[:13], weights[:13]), of(rows[13:], weights[13:])
    assert (half + other).effective_n == pytest.approx(of(rows, weights).effective_n, rel=1e-14)
    assert of(rows[:2], np.array([3.0, 1.0])).effective_n == 1.6


def test_representation_says_what_is_held():
    assert repr(DirectionStats(3)) == "<DirectionStats of 0 directions, dim=3, n_folds=16>"
    stats = DirectionStats(2, 4)
    stats.update(np.array([[3.0, 0.0], [0.0, 0.0], [0.0, 4.0]]), zero="drop")
    text = "2 directions (1 zero rows dropped), dim=2, n_folds=4, mean_resultant_length=0.707"
    assert repr(stats) == f"<DirectionStats of {text}>"


def test_units_of_weights_do_not_matter():
    rows, weights = sample(30, 3)
    a, b = of(rows, weights), of(rows, 1e6 * weights)
    assert a.effective_n == pytest.approx(b.effective_n, rel=1e-14)
    assert a.concentration("unbiased") == pytest.approx(b.concentration("unbiased"), rel=1e-12)
    assert a.interval() == pytest.approx(b.interval(), rel=1e-11)
    assert a.uniformity_pvalue() == b.uniformity_pvalue()


@pytest.mark.parametrize("estimator", ["mle", "banerjee", "unbiased", "marginal"])
def test_concentration_does_not_change_under_rotation(estimator):
    rows, _ = sample(60, 4)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    assert of(rows @ rotation).concentration(estimator) == pytest.approx(
        of(rows).concentration(estimator), rel=1e-12
    )


@pytest.mark.parametrize(("n", "n_folds"), [(40, 8), (9, 16), (6, 3)])
def test_jackknife_and_sign_flips_match_plain_recomputation(n, n_folds):
    rows, weights = sample(n, 5, seed=n, mean=0.4)
    found = of(rows, weights, n_folds)
    floor = 2.0 * oracle.jackknife(rows, weights, n_folds, lambda u: u)[1]
    z, error = oracle.jackknife(
        rows, weights, n_folds, lambda u: np.arctanh(np.sqrt(max((u + floor) / (1.0 + floor), 0.0)))
    )
    reach = special.stdtrit(min(n, n_folds) - 1, 0.75) * error
    for end, at in zip(found.interval(0.5), (z - reach, z + reach), strict=True):
        u = (1.0 + floor) * np.tanh(max(at, 0.0)) ** 2 - floor
        assert float(oracle.triple(end, 5)[0]) ** 2 == pytest.approx(u, rel=1e-11) if end else u <= 0.0
    assert found.uniformity_pvalue() == oracle.signflip_pvalue(rows, weights, n_folds)


def test_state_goes_on_exactly_where_it_was_saved():
    rows, weights = sample(50, 3)
    straight = of(rows[:30], weights[:30])
    loaded = DirectionStats(3)
    loaded.load_state_dict(straight.state_dict())
    pickled = pickle.loads(pickle.dumps(straight))
    for each in (straight, loaded, pickled):
        each.update(rows[30:], weights[30:])
    assert_same_state(straight, loaded)
    assert_same_state(straight, pickled)


def test_saved_state_is_a_copy():
    found = of(sample(5, 3)[0])
    state = found.state_dict()
    found.update(np.ones((1, 3)))
    assert state["n"] == 5 and state["weight"].sum() == 5.0


def bad(rows, at, value):
    rows = rows.copy()
    rows[at] = value
    return rows


ROWS = sample(100, 3)[0]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((bad(ROWS, (slice(90, 93), 1), np.nan),), ValueError, r"be finite, got 3 of 100 .*first: row 90"),
        ((bad(ROWS, (99, 0), -np.inf),), ValueError, r"rows must be finite, got 1 of 100 .*first: row 99"),
        (
            (bad(ROWS, [7, 9], 0.0),),
            ValueError,
            r"2 of 100 .*first: row 7\); remove zero rows or pass zero=\"drop\"",
        ),
        ((ROWS[:, :2],), ValueError, r"rows must have shape \(n, 3\), got \(100, 2\)"),
        ((ROWS.astype(int),), TypeError, "rows must have dtype float32 or float64, got int64"),
        ((ROWS, np.ones(99)), ValueError, r"weights must have shape \(100,\), got \(99,\)"),
        (
            (ROWS, bad(np.ones(100), 4, 0.0)),
            ValueError,
            r"weights must be positive, got 1 of 100 .*first: row 4",
        ),
        ((ROWS, bad(np.ones(100), 4, np.nan)), ValueError, "weights must be finite"),
        ((ROWS, None, "ignore"), ValueError, "zero must be one of 'raise', 'drop'"),
    ],
)
def test_refused_rows_leave_no_trace(monkeypatch, arguments, error, match):
    in_chunks_of(monkeypatch, 30)
    found = of(sample(8, 3, seed=1)[0])
    before = found.state_dict()
    with pytest.raises(error, match=match):
        found.update(*arguments)
    np.testing.assert_equal(found.state_dict(), before)


def test_no_rows_are_no_rows():
    found = of(np.empty((0, 3)))
    assert found.n == 0
    found.update(np.zeros((2, 3)), zero="drop")
    assert (found.n, found.n_zero) == (0, 2)


@pytest.mark.parametrize(
    ("call", "n", "least"),
    [
        (lambda s: s.mean_direction, 0, 1),
        (lambda s: s.one_minus_r, 0, 1),
        (lambda s: s.concentration(), 1, 2),
        (lambda s: s.interval(method="score"), 1, 2),
        (lambda s: s.interval(), 2, 3),
        (lambda s: s.uniformity_pvalue(), 1, 2),
        (lambda s: s.uniformity_pvalue("isotropic"), 2, 3),
    ],
)
def test_too_few_rows_are_counted(call, n, least):
    with pytest.raises(ValueError, match=f"n must be at least {least}, got {n}; update with more rows"):
        call(of(ROWS[:n]))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: DirectionStats(1), "dim must be at least 2, got 1"),
        (lambda: DirectionStats(3, 21), "n_folds must be at most 20, got 21"),
        (lambda: of(ROWS).merge(DirectionStats(4)), "other.dim must be 3, got 4"),
        (lambda: of(ROWS).merge(DirectionStats(3, 8)), "other.n_folds must be 16, got 8"),
        (
            lambda: of(ROWS).load_state_dict(DirectionStats(4).state_dict()),
            r"reference of state must have shape \(3,\) and dtype float64, got \(4,\)",
        ),
        (lambda: of(ROWS).load_state_dict({"version": np.array(0)}), "be of version 2, got version 0"),
        (lambda: of(ROWS).concentration("best"), "estimator must be one of 'mle'"),
        (lambda: of(ROWS).interval(method="wald"), "method must be one of 'jackknife', 'score'"),
        (lambda: of(ROWS).uniformity_pvalue("rayleigh"), "method must be one of 'signflip', 'isotropic'"),
    ],
)
def test_what_does_not_fit_is_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()


# unit rows, CSR rows, backends


def unit_rows_of(n, dim, seed=0):
    rows = sample(n, dim, seed)[0]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_rows_need_no_lengths(dtype, monkeypatch):
    rows = unit_rows_of(200, 40).astype(dtype)
    plain = of(rows)
    for size in (1000, 60):  # at once, and in chunks
        in_chunks_of(monkeypatch, size)
        found = DirectionStats(40)
        found.update(rows, assume_unit=True)
        # lengths are off 1 by rounding in the dtype, on which Q depends to second order beside its own size
        assert found.one_minus_r == pytest.approx(plain.one_minus_r, rel=10 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("size", [1000, 60], ids=["at once", "chunks"])
@pytest.mark.parametrize(
    ("value", "match"),
    [
        (
            0.0,
            r"rows must hold unit vectors, got 2 of 200 that are not \(first: row 17, norm 0\); drop them or",
        ),
        (0.5, "rows must hold unit vectors, got 2 of 200 that are not .*norm 0.5"),
        (1.0 + 1e-9, "rows must hold unit vectors, got 2 of 200 that are not"),
        (np.nan, "rows must be finite, got 2 of 200 bad rows"),
        (np.inf, "rows must be finite, got 2 of 200 bad rows"),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_rows_that_are_no_unit_vectors_leave_no_trace(form, value, match, size, monkeypatch):
    rows, found = unit_rows_of(200, 3), of(sample(8, 3, seed=1)[0])
    rows[[17, 150]] = np.eye(3)[0] * value if np.isfinite(value) else value
    before = found.state_dict()
    in_chunks_of(monkeypatch, size)
    with pytest.raises(ValueError, match=match):
        found.update(form(rows), assume_unit=True)
    np.testing.assert_equal(found.state_dict(), before)


def test_zero_rows_are_dropped_from_unit_rows():
    rows = unit_rows_of(20, 3)
    with_zeros = np.insert(rows, [0, 5, 5], 0.0, axis=0)
    found = DirectionStats(3)
    found.update(with_zeros, zero="drop", assume_unit=True)
    assert (found.n, found.n_zero) == (20, 3)
    found.n_zero = 0
    assert_same_state(of(rows), found, rtol=1e-14)


@pytest.mark.parametrize("noise", [1.0, 1e-6])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csr_matrix, sparse.coo_array])
def test_sparse_rows_count_as_dense_ones(form, index, weighted, noise):
    rng = np.random.default_rng(2)
    held = rng.random((50, 30)) < 0.4
    held[:, 0] = True
    held = held if noise == 1.0 else held[:1]
    rows = np.where(held, rng.normal(size=30) + noise * rng.normal(size=(50, 30)), 0.0)
    weights = rng.uniform(0.5, 2.0, 50) if weighted else None
    csr = form(rows)
    if csr.format == "csr":
        csr.indices, csr.indptr = csr.indices.astype(index), csr.indptr.astype(index)
    found, dense = of(csr[:0] if csr.format == "csr" else csr.tocsr()[:0]), of(rows, weights)
    found.update(csr, weights)
    assert found.one_minus_r == pytest.approx(dense.one_minus_r, rel=1e-15 / noise)
    assert found.interval() == pytest.approx(dense.interval(), rel=1e-14 / noise)
    half = of(rows[:25], None if weights is None else weights[:25])
    half.update(csr.tocsr()[25:], None if weights is None else weights[25:])
    assert_same_state(dense, half, rtol=1e-14)


def test_sparse_rows_with_duplicates_and_extreme_lengths():
    data, columns = [1e300, 1e300, 3e-310, 4e-310], [0, 0, 1, 2]
    rows = sparse.csr_array((data, columns, [0, 2, 4]), shape=(2, 5))
    found = of(rows)
    np.testing.assert_allclose(found.mean_direction, np.array([1, 0.6, 0.8, 0, 0]) / 2**0.5, atol=1e-12)
    assert rows.nnz == 4  # what was given is as it was
    with pytest.raises(ValueError, match=r"have a direction, got 1 of 3 bad rows \(first: row 1\)"):
        found.update(sparse.csr_array(np.eye(3, 5)[[0, 1, 2]] * [[1], [0], [1]]))
    assert found.n == 2


@pytest.mark.parametrize("power", [-1010, -600, 600, 1010])
def test_lengths_of_a_few_rows_among_many_do_not_matter(power, monkeypatch):
    rows = sample(200, 4)[0]
    odd = rows.copy()
    odd[[3, 100]] = np.ldexp(odd[[3, 100]], power)
    in_chunks_of(monkeypatch, 48)
    assert_same_state(of(rows), of(odd), rtol=1e-14)


@compared_with_numpy
def test_statistics_are_the_same_to_the_last_bit_in_every_backend(backend):
    rows, weights = sample(300, 70)

    def found(name):
        refsgd.use_backend(name)
        try:
            result = of(rows.astype(np.float32), weights)
            result.update(rows)
            return result
        finally:
            refsgd.use_backend(None)

    assert_same_state(found("numpy"), found(backend))


def test_tight_rows_after_spread_ones_are_still_told_apart():
    # Sums without the reference are taken only while their rounding is small beside the spread before.
    rng = np.random.default_rng(0)
    spread, tight = rng.normal(size=(3, 20)), np.ones(20) + 1e-9 * rng.normal(size=(3000, 20))
    found = of(spread)
    found.update(tight)
    _, one_minus_r = oracle.lengths(np.vstack([spread, tight]), np.ones(3003))
    assert found.one_minus_r == pytest.approx(one_minus_r, rel=2e-14)  # 16 roundings, and those of sums


@pytest.mark.parametrize("other", [None, 3.0, np.eye(3)])
def test_merge_with_something_else_is_refused(other):
    with pytest.raises(TypeError, match="other must be a DirectionStats, got"):
        DirectionStats(3) + other


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n": np.array("x")}, r"n of state must have shape \(\) and dtype int64, got \(\) and <U1"),
        ({"n": np.array(2.5)}, r"n of state must have shape \(\) and dtype int64, got \(\) and float64"),
        ({"n_zero": np.array(-1)}, "n_zero of state must be 0 or more, got -1"),
        ({"weight": -np.ones(16)}, "weight of state must be 0 or more, got -1"),
        ({"sums": np.full((16, 3), np.nan)}, "sums of state must be finite, got 48 of 48 entries"),
        ({"sums": np.zeros((2, 3))}, r"sums of state must have shape \(16, 3\)"),
        ({"version": np.array(99)}, "state must be of version 2, got version 99"),
    ],
)
def test_state_that_is_none_is_refused_and_nothing_changed(change, match):
    stats = DirectionStats(3)
    stats.update(np.eye(3))
    before = stats.state_dict()
    with pytest.raises(ValueError, match=match):
        stats.load_state_dict(before | change)
    with pytest.raises(ValueError, match=r"state must have the entries .*, got none of \['sq_distance'\]"):
        stats.load_state_dict({name: value for name, value in before.items() if name != "sq_distance"})
    assert all(np.array_equal(stats.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("weight", [1e-200, 1e200])
def test_weights_whose_squares_leave_the_range_are_refused(weight):
    stats = DirectionStats(3)
    with pytest.raises(ValueError, match="weights must be within 1e-100 and 1e"):
        stats.update(np.eye(3), np.array([1.0, weight, 1.0]))
    assert stats.n == 0
