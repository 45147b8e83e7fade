"""What is no direction, concentration or sample is refused by name at every door, and leaves no trace."""

import re

import numpy as np
import pytest
from scipy import sparse

from refsgd import DirectionStats, VonMisesFisher, vmf
from refsgd.directional import estimators

OF_KAPPA = [vmf.log_normalizer, vmf.log_h, vmf.kl_to_uniform, vmf.entropy, vmf.mean_resultant_length]
OF_KAPPA += [vmf.mean_resultant_length_complement, vmf.mean_resultant_length_derivative]
OF_SAMPLE = [
    estimators.unbiased,
    estimators.marginal,
    estimators.score_interval,
    estimators.isotropic_uniformity,
]
LAW = VonMisesFisher([1.0, 0.0, 0.0], 2.0)
ROWS = np.eye(3)[[0, 1, 2, 0, 1, 0]]

NOT_REAL = {
    "complex": 1j,
    "str": "2",
    "None": None,
    "bool": True,
    "object": np.array([2.0, None], dtype=object),
    "sparse": sparse.eye_array(3),
    "date": np.datetime64("2020-01-01"),
}
every_wrong_type = pytest.mark.parametrize("value", NOT_REAL.values(), ids=NOT_REAL)


def refused(error, name, got, call):
    """Whether the message is of the one form: name, requirement, value, remedy."""
    with pytest.raises(error, match=rf"^{re.escape(name)} must .+, got {got}; .+\.$"):
        call()


# functions of numbers


@every_wrong_type
@pytest.mark.parametrize("function", OF_KAPPA)
def test_numbers_that_are_not_real_are_refused(function, value):
    refused(TypeError, "kappa", "dtype .+", lambda: function(value, 3))
    refused(TypeError, "dim", "dtype .+", lambda: function(1.0, value))


@every_wrong_type
@pytest.mark.parametrize("function", [vmf.concentration, estimators.banerjee])
def test_lengths_that_are_not_real_are_refused(function, value):
    refused(TypeError, "r", "dtype .+", lambda: function(value, 3))
    refused(TypeError, "dim", "dtype .+", lambda: function(0.5, value))
    if value is not None:  # its default
        refused(TypeError, "one_minus_r", "dtype .+", lambda: function(0.5, 3, value))


@pytest.mark.parametrize("function", OF_KAPPA)
def test_numbers_out_of_range_are_counted(function):
    refused(
        ValueError, "kappa", r"2 of 3 values outside \(first: -0.5\)", lambda: function([1, -0.5, -np.inf], 3)
    )
    for dim in (1.99, -3, np.nan, np.inf):
        refused(
            ValueError, "dim", r"1 of 2 values that are not \(first: .+\)", lambda d=dim: function(1, [3, d])
        )
    shapes = r"\(3,\), \(2,\)"
    refused(ValueError, "kappa and dim", shapes, lambda: function(np.ones(3), [2, 3]))
    assert np.isnan(function(np.nan, 3))  # legal: one missing value does not spoil a table


@pytest.mark.parametrize("function", [vmf.concentration, estimators.banerjee])
def test_lengths_out_of_range_are_counted(function):
    for r in (-1e-9, 1.0000001, np.inf):
        refused(ValueError, "r", r"1 of 2 values outside \(first: .+\)", lambda r=r: function([0.5, r], 3))
        refused(ValueError, "one_minus_r", "1 of 1 values outside .+", lambda b=r: function(0.5, 3, b))
    refused(ValueError, "one_minus_r", "r .+ off 1 by 0.25", lambda: function(0.5, 3, 0.25))
    refused(ValueError, "dim", "1 of 1 values that are not .+", lambda: function(0.5, 1))
    refused(ValueError, "r and one_minus_r", r"\(2,\), \(3,\)", lambda: function([0.5, 0.5], 3, [0.5] * 3))
    names = "r and one_minus_r and dim"
    refused(ValueError, names, r"\(2,\), \(2,\), \(3,\)", lambda: function([0.5, 0.5], [3] * 3))
    assert np.isnan(function(np.nan, 3)) and np.isnan(function(0.5, 3, np.nan))


def test_integers_and_every_float_are_real():
    for kind in (int, np.int8, np.uint64, np.float16, np.float32, np.longdouble):
        assert vmf.log_h(kind(2), kind(3)) == vmf.log_h(2.0, 3.0)
    assert vmf.concentration(1, 3) == np.inf and vmf.concentration(np.float16(0.5), 3) == vmf.concentration(
        0.5, 3
    )


@pytest.mark.parametrize("function", [*OF_KAPPA, vmf.concentration, estimators.banerjee])
def test_no_numbers_give_no_numbers(function):
    assert function([], 3).shape == function(np.empty((2, 0)), 3).shape[1:] == (0,)


# estimators on one sample


@every_wrong_type
@pytest.mark.parametrize("function", OF_SAMPLE)
def test_samples_that_are_not_real_are_refused(function, value):
    refused(TypeError, "r", "dtype .+", lambda: function(value, 3, 10))
    refused(TypeError, "dim", "dtype .+", lambda: function(0.5, value, 10))
    refused(TypeError, "n", "dtype .+", lambda: function(0.5, 3, value))


@pytest.mark.parametrize("function", OF_SAMPLE)
def test_samples_out_of_range_are_refused(function):
    for r in (-0.1, 1.1, np.inf):
        refused(ValueError, "r", "1 of 1 values outside .+", lambda r=r: function(r, 3, 10))
    for dim in (1, np.nan, np.inf):
        refused(ValueError, "dim", "1 of 1 values that are not .+", lambda d=dim: function(0.5, d, 10))
    for n in (1, 0, -2, np.nan, np.inf):
        refused(ValueError, "n", ".+", lambda n=n: function(0.5, 3, n))
    refused(ValueError, "r", r"shape \(2,\)", lambda: function([0.5, 0.6], 3, 10))
    refused(ValueError, "dim", r"shape \(2,\)", lambda: function(0.5, [3, 4], 10))
    refused(ValueError, "n", r"shape \(0,\)", lambda: function(0.5, 3, []))
    assert np.isnan(function(np.nan, 3, 10)).all()


@pytest.mark.parametrize("function", OF_SAMPLE[:3])
def test_complements_of_another_sample_are_refused(function):
    refused(ValueError, "one_minus_r", "r .+ off 1 by 0.4", lambda: function(0.5, 3, 10, one_minus_r=0.9))
    refused(
        ValueError, "one_minus_r", "1 of 1 values outside .+", lambda: function(0.5, 3, 10, one_minus_r=2.0)
    )
    refused(TypeError, "one_minus_r", "dtype <U1", lambda: function(0.5, 3, 10, one_minus_r="a"))
    assert np.isnan(function(0.5, 3, 10, one_minus_r=np.nan)).all()


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 95, np.nan, np.inf])
def test_levels_out_of_range_are_refused(level):
    got = re.escape(f"{level:g}")
    refused(ValueError, "level", got, lambda: estimators.score_interval(0.5, 3, 10, level))
    refused(ValueError, "level", got, lambda: seen().interval(level))
    refused(ValueError, "level", got, lambda: seen().interval(level, "score"))


@every_wrong_type
def test_levels_that_are_not_real_are_refused(value):
    refused(TypeError, "level", "dtype .+", lambda: seen().interval(value))
    refused(TypeError, "level", "dtype .+", lambda: seen().interval(value, "score"))


@pytest.mark.parametrize("function", [estimators.signflip_uniformity, lambda g: jackknife(gram=g)])
def test_gram_matrices_that_are_none_are_refused(function):
    refused(ValueError, "gram", r"\(4,\)", lambda: function(np.ones(4)))
    refused(ValueError, "gram", r"\(3, 4\)", lambda: function(np.ones((3, 4))))
    refused(ValueError, "gram", "16 of 16 entries that are not .+", lambda: function(np.full((4, 4), np.nan)))
    refused(TypeError, "gram", "int64", lambda: function(np.eye(4, dtype=np.int64)))
    refused(TypeError, "gram", "<U1", lambda: function("a"))


def test_folds_that_do_not_fit_are_refused():
    for name in ("weight", "weight2", "sq_distance"):
        refused(ValueError, name, r"\(3,\)", lambda name=name: jackknife(**{name: np.ones(3)}))
        refused(ValueError, name, "1 of 4 .+", lambda name=name: jackknife(**{name: [1.0, 1.0, np.nan, 1.0]}))
        refused(TypeError, name, "complex128", lambda name=name: jackknife(**{name: np.ones(4, complex)}))
    for dim in (1, np.nan, np.inf):
        refused(ValueError, "dim", "1 of 1 values that are not .+", lambda d=dim: jackknife(dim=d))
    for level in (0.0, 2.0, np.nan):
        refused(ValueError, "level", ".+", lambda v=level: jackknife(level=v))


def jackknife(**changed):
    arguments = {
        "gram": np.eye(4),
        "weight": np.full(4, 2.0),
        "weight2": np.full(4, 2.0),
        "sq_distance": np.ones(4),
    }
    return estimators.jackknife_interval(**{**arguments, "dim": 3, **changed})


# the law


@every_wrong_type
def test_concentrations_of_a_law_that_are_not_real_are_refused(value):
    refused(TypeError, "kappa", "dtype .+", lambda: VonMisesFisher([1, 0], value))
    if value is not None:  # its default
        refused(TypeError, "kappa", "dtype .+", lambda: VonMisesFisher.fit(ROWS, kappa=value))


@pytest.mark.parametrize("kappa", [-1.0, -np.inf, np.nan])
def test_concentrations_of_a_law_out_of_range_are_refused(kappa):
    refused(ValueError, "kappa", str(kappa), lambda: VonMisesFisher([1, 0], kappa))
    refused(ValueError, "kappa", str(kappa), lambda: VonMisesFisher.fit(ROWS, kappa=kappa))


def test_a_law_has_one_concentration():
    refused(ValueError, "kappa", r"shape \(2,\)", lambda: VonMisesFisher([1, 0], [1.0, 2.0]))
    refused(ValueError, "kappa", r"shape \(0,\)", lambda: VonMisesFisher([1, 0], []))


@pytest.mark.parametrize(
    "door", [lambda mu: VonMisesFisher(mu, 1.0), lambda mu: VonMisesFisher.fit(ROWS, mu=mu)]
)
def test_mean_directions_that_are_none_are_refused(door):
    for mu in ([1, 1, 0], [0, 0, 0], [1.001, 0, 0]):
        refused(ValueError, "mu", "length .+", lambda mu=mu: door(mu))
    for entry in (np.nan, np.inf):
        refused(ValueError, "mu", "1 of 3 entries that are not .+", lambda e=entry: door([1.0, e, 0.0]))
    for mu in ([], [[1.0, 0.0, 0.0]], 1.0, [1.0]):
        refused(ValueError, "mu", ".+", lambda mu=mu: door(mu))
    for mu in ([1j, 0, 0], ["1", "0", "0"], [True, False, False], np.array([1, 0, None])):
        refused(TypeError, "mu", ".+", lambda mu=mu: door(mu))


@pytest.mark.parametrize("method", ["pdf", "logpdf"])
def test_points_that_are_none_are_refused(method):
    door = getattr(LAW, method)
    for row in ([0.0, 0.0, 0.0], [np.nan, 0.0, 1.0], [np.inf, 0.0, 0.0], [0.5, 0.5, 0.5], [1e200, 0.0, 0.0]):
        refused(
            ValueError, "x", r"1 of 2 that are not \(first: row 1, .+\)", lambda r=row: door([[0, 1, 0], r])
        )
    for x in (1.0, [], [1.0, 0.0], np.empty((2, 0)), np.ones((3, 2))):
        refused(ValueError, "x", r"\(.*\)", lambda x=x: door(x))
    for x in (["1", "0", "0"], [1j, 0, 0], [True, False, False], np.array([1, 0, None])):
        refused(TypeError, "x", ".+", lambda x=x: door(x))
    assert door(np.empty((0, 3))).shape == (0,)


@every_wrong_type
def test_confidences_that_are_not_real_are_refused(value):
    refused(TypeError, "confidence", "dtype .+", lambda: LAW.interval(value))


@pytest.mark.parametrize("size", [-1, (2, -3)])
def test_sizes_below_zero_are_refused(size):
    refused(ValueError, "size", "-[13]", lambda: LAW.rvs(size))


@pytest.mark.parametrize("size", [1.5, "2", None, True, [2, 3], (2, 0.5), np.nan])
def test_sizes_that_are_no_integers_are_refused(size):
    refused(TypeError, "size", ".+", lambda: LAW.rvs(size))


@pytest.mark.parametrize("value", ["law", None, LAW.mu])
def test_divergences_from_what_is_no_law_are_refused(value):
    refused(TypeError, "other", type(value).__name__, lambda: LAW.kl_divergence(value))


def with_row(row):
    return np.vstack([ROWS, [row]])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize(
    "row", [[0.0] * 3, [np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0], [-np.inf, np.inf, 0.0], [2.0, 0, 0]]
)
def test_rows_to_fit_that_are_none_are_counted(form, row):
    got = r"1 of 7 .*\(first: row 6.*\)"
    refused(ValueError, "rows", got, lambda: VonMisesFisher.fit(form(with_row(row))))
    if row[0] != 2.0:
        refused(ValueError, "rows", got, lambda: VonMisesFisher.fit(form(with_row(row)), normalize=True))


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_samples_to_fit_that_are_none_are_refused(form):
    fit = VonMisesFisher.fit
    refused(ValueError, "n", "0", lambda: fit(form(ROWS[:0])))
    refused(ValueError, "rows", "1", lambda: fit(form(ROWS[:1])))
    refused(ValueError, "dim", "1", lambda: fit(form(np.ones((3, 1)))))
    for dtype in (np.int64, np.complex128, np.bool_):
        refused(TypeError, "rows", np.dtype(dtype).name, lambda t=dtype: fit(form(ROWS.astype(t))))
    for weight in (0.0, -1.0):
        refused(ValueError, "weights", "1 of 6 .+", lambda w=weight: fit(form(ROWS), weights=[1.0] * 5 + [w]))
    for weight in (np.nan, np.inf):
        refused(ValueError, "weights", "1 of 6 .+", lambda w=weight: fit(form(ROWS), weights=[1.0] * 5 + [w]))
    refused(ValueError, "weights", r"\(5,\)", lambda: fit(form(ROWS), weights=np.ones(5)))
    refused(ValueError, "weights", r"\(6, 1\)", lambda: fit(form(ROWS), weights=np.ones((6, 1))))
    refused(TypeError, "weights", "int64", lambda: fit(form(ROWS), weights=np.ones(6, np.int64)))
    for estimator in ("MLE", None, 3):
        refused(
            ValueError,
            "estimator",
            re.escape(repr(estimator)),
            lambda e=estimator: fit(form(ROWS), estimator=e),
        )


@pytest.mark.parametrize("rows", [ROWS[0], ROWS[None], 1.0, [], sparse.coo_array(ROWS[0])])
def test_rows_of_another_shape_do_not_fit(rows):
    refused(ValueError, "rows", r"\(.*\)", lambda: VonMisesFisher.fit(rows))


# statistics


def seen(n=6, dim=3, n_folds=16):
    stats = DirectionStats(dim, n_folds)
    stats.update(np.vstack([np.eye(dim)] * 3)[:n])
    return stats


def unchanged(stats, error, name, got, call):
    before = stats.state_dict()
    refused(error, name, got, call)
    np.testing.assert_equal(stats.state_dict(), before)


@pytest.mark.parametrize("row", [[0.0] * 3, [np.nan, 0.0, 0.0], [0.0, np.inf, 0.0], [np.inf, -np.inf, 0.0]])
def test_rows_to_take_in_that_are_none_are_counted_and_leave_no_trace(row):
    stats = seen()
    unchanged(stats, ValueError, "rows", r"1 of 7 .*\(first: row 6\)", lambda: stats.update(with_row(row)))
    unchanged(stats, ValueError, "rows", r"1 of 1 .*\(first: row 0\)", lambda: stats.update(row))
    if any(row):  # only zero rows can be dropped
        unchanged(stats, ValueError, "rows", "1 of 7 .+", lambda: stats.update(with_row(row), zero="drop"))


def test_rows_and_weights_of_another_shape_or_type_leave_no_trace():
    stats = seen()
    for rows in (1.0, [], ROWS[:, :2], ROWS[None], np.empty((2, 0))):
        unchanged(stats, ValueError, "rows", r"\(.*\)", lambda r=rows: stats.update(r))
    for dtype in (np.int64, np.complex128, np.bool_, object, np.str_):
        unchanged(stats, TypeError, "rows", ".+", lambda t=dtype: stats.update(ROWS.astype(t)))
    for weights in (np.ones(5), np.ones((6, 1)), []):
        unchanged(stats, ValueError, "weights", r"\(.*\)", lambda w=weights: stats.update(ROWS, w))
    for weight in (0.0, -1.0, np.nan, np.inf):
        unchanged(
            stats, ValueError, "weights", "1 of 6 .+", lambda w=weight: stats.update(ROWS, [1.0] * 5 + [w])
        )
    unchanged(stats, TypeError, "weights", "int64", lambda: stats.update(ROWS, np.ones(6, np.int64)))
    unchanged(stats, TypeError, "weights", "<U1", lambda: stats.update(ROWS, ["1"] * 6))


def test_statistics_of_another_kind_do_not_merge():
    stats = seen()
    unchanged(stats, ValueError, "other.dim", "4", lambda: stats.merge(seen(dim=4)))
    unchanged(stats, ValueError, "other.n_folds", "8", lambda: stats.merge(seen(n_folds=8)))
    unchanged(stats, ValueError, "other.dim", "4", lambda: stats + DirectionStats(4))
    unchanged(stats, ValueError, "other.n_folds", "15", lambda: stats + seen(n_folds=15))


def test_statistics_about_another_reference_merge():
    # Another first row is no error: the sums are moved. A rounding of each term.
    first, second, whole = DirectionStats(3), DirectionStats(3), DirectionStats(3)
    rows = np.random.default_rng(0).normal(size=(20, 3))
    first.update(rows[:9])
    second.update(rows[9:])
    whole.update(rows)
    assert (first + second).one_minus_r == pytest.approx(whole.one_minus_r, rel=1e-14)


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ((1,), ValueError, "dim"),
        ((-3,), ValueError, "dim"),
        ((2.0,), TypeError, "dim"),
        (("3",), TypeError, "dim"),
        ((None,), TypeError, "dim"),
        ((3, 0), ValueError, "n_folds"),
        ((3, 21), ValueError, "n_folds"),
        ((3, 1.5), TypeError, "n_folds"),
    ],
)
def test_statistics_of_no_space_are_refused(arguments, error, name):
    refused(error, name, ".+", lambda: DirectionStats(*arguments))


def test_what_too_few_rows_do_not_tell_is_refused_and_leaves_no_trace():
    stats = seen(1)
    for call in (
        stats.concentration,
        lambda: stats.concentration("unbiased"),
        lambda: stats.interval(method="score"),
        stats.interval,
        stats.uniformity_pvalue,
        lambda: stats.uniformity_pvalue("isotropic"),
    ):
        unchanged(stats, ValueError, "n", "1", call)
