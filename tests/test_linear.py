"""Linear models: the kernels against the oracle, the oracle against plain loops, and what users rely on."""

import copy
import math
import pickle
from typing import get_args

import numpy as np
import pytest
from backends import compared_with_numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_linear import PlainLinear
from scipy import sparse

from refsgd import kernels
from refsgd.kernels import contract, linear_numpy
from refsgd.kernels.contract import Csr
from refsgd.linear import model as linear
from refsgd.linear.losses import LOSSES, MARGIN_LOSSES, RESIDUAL_LOSSES, LossName
from refsgd.linear.model import LinearModel

DIM = 12


def problem(loss, n=40, seed=0, density=0.4, spread=1.0, dtype=np.float64):
    """Sparse rows with features of different scales, and targets that fit the loss."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, DIM)) * (rng.random((n, DIM)) < density) * np.exp(spread * rng.normal(size=DIM))
    z = X @ (rng.normal(size=DIM) / np.abs(X).max(axis=0).clip(1e-9))
    if loss in MARGIN_LOSSES:
        y = np.where(z + 0.3 * rng.normal(size=n) > 0, 1.0, -1.0)
    elif loss == "multinomial":
        y = rng.integers(0, 3, n).astype(float)
    elif loss == "poisson":
        y = rng.poisson(np.exp(np.clip(z, -3, 3))).astype(float)
    else:
        y = z + 0.3 * rng.normal(size=n)
    return sparse.csr_array(X.astype(dtype)), y.astype(dtype)


def make(loss, **options):
    return LinearModel(DIM, loss, n_outputs=3 if loss == "multinomial" else 1, **options)


def close(a, b, rtol):
    """Relative to the largest entry: small ones are differences of large ones."""
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(np.abs(b).max(), 1e-300))


@compared_with_numpy
@pytest.mark.parametrize("alpha", [0.0, 0.01])
@pytest.mark.parametrize(("batch_size", "average"), [(1, False), (1, True), (7, False), (7, True)])
@pytest.mark.parametrize("loss", LOSSES)
def test_kernel_equals_the_oracle(backend, loss, batch_size, average, alpha):
    options = {"batch_size": batch_size, "average": average, "alpha": alpha}
    for dtype, rtol in ((np.float64, 1e-9), (np.float32, 2e-3)):  # steps amplify rounding
        X, y = problem(loss, n=40 if dtype == np.float64 else 12, dtype=dtype)
        ours, oracle = (make(loss, dtype=dtype, backend=name, **options) for name in (backend, "numpy"))
        weights = np.r_[0.0, np.full(len(y) - 1, 1.5)]
        order = np.random.default_rng(1).permutation(len(y))
        losses = ours.learn(X, y, weights, order), oracle.learn(X, y, weights, order)
        assert losses[0] == pytest.approx(losses[1], rel=rtol)
        close(ours.coef, oracle.coef, rtol)
        close(ours.intercept, oracle.intercept, rtol)
        close(ours._records[..., 4:7], oracle._records[..., 4:7], rtol)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.05])
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "multinomial"])
def test_oracle_equals_plain_loops_that_penalise_at_each_sample(loss, alpha, fit_intercept):
    X, y = problem(loss)
    model = make(loss, alpha=alpha, fit_intercept=fit_intercept, average=True, backend="numpy")
    plain = PlainLinear(DIM, LOSSES[loss], model.epsilon, alpha, fit_intercept)
    if loss in RESIDUAL_LOSSES and fit_intercept:
        plain.theta[-1] = y[0]
    thetas = []
    for row, target in zip(X.toarray(), y, strict=True):
        plain.learn(row, target)
        thetas.append(plain.theta.copy())
    model.learn(X, y)
    close(model._records[:, 0, 0], plain.theta, 1e-9)
    # windows end at 1, 2, 4, ... samples: the latest one, and the one before it
    close(np.r_[model.coef, model.intercept], np.mean(thetas[16:40], axis=0), 1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_slope_and_curvature_are_derivatives_of_the_value(loss):
    terms = LOSSES[loss]
    scores = np.linspace(-3.1, 3.3, 23)
    for y in (-1.0, 1.0) if loss in MARGIN_LOSSES else (0.0, 1.0, 2.0):
        for z in scores:
            if loss == "multinomial":
                at = np.array([z, 0.2, -0.4])
                shifted = [at + np.eye(3)[0] * e for e in (-1e-5, 1e-5)]
                low, high = (terms.value(s, y, 0.0) for s in shifted)
                slope = terms.slope(at, y, 0.0)[0]
            else:
                epsilon = 0.0 if loss == "absolute_error" else 0.5
                low, high = (terms.value(z + e, y, epsilon) for e in (-1e-5, 1e-5))
                slope = terms.slope(z, y, epsilon)
            assert slope == pytest.approx((high - low) / 2e-5, abs=1e-4)


@pytest.mark.parametrize("y", [-1.0, 1.0, 0.3])
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "multinomial"])
def test_one_newton_step_in_the_score_never_makes_a_loss_much_worse(loss, y):
    if loss in MARGIN_LOSSES:
        y = math.copysign(1.0, y)
    if loss == "poisson":
        y = abs(y)
    for z in np.linspace(-30, 30, 121):
        terms, epsilon = LOSSES[loss], 0.0 if loss == "absolute_error" else 0.1
        value, slope, curv = (
            terms.value(z, y, epsilon),
            terms.slope(z, y, epsilon),
            terms.curvature(z, y, epsilon, 1.0),
        )
        assert curv > 0
        after = terms.value(z - slope / curv, y, epsilon)
        assert after <= value + 1.0  # the scale of the losses themselves


@pytest.mark.parametrize("form", ["csr_matrix", "wide", "dense", "fortran", "explicit zeros", "unsorted"])
@pytest.mark.parametrize("loss", ["log_loss", "multinomial"])
def test_every_form_of_the_same_rows_learns_the_same(backend, loss, form):
    X, y = problem(loss)
    other = X.copy()
    if form == "csr_matrix":
        other = sparse.csr_matrix(X)
    elif form == "wide":
        other.indices, other.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    elif form in ("dense", "fortran"):
        other = np.asarray(X.toarray(), order="C" if form == "dense" else "F")
    elif form == "explicit zeros":
        other = sparse.csr_array(np.where(X.toarray() == 0, 7.0, X.toarray()))
        other.data[other.data == 7.0] = 0.0
    elif form == "unsorted":
        for begin, end in zip(X.indptr[:-1], X.indptr[1:], strict=True):
            other.indices[begin:end], other.data[begin:end] = (
                X.indices[begin:end][::-1],
                X.data[begin:end][::-1],
            )
    models = make(loss, backend=backend), make(loss, backend=backend)
    losses = models[0].learn(X, y), models[1].learn(other, y)
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    close(models[1].coef, models[0].coef, 1e-9)


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("loss", LOSSES)
def test_units_of_features_do_not_matter(backend, loss, batch_size):
    X, y = problem(loss)
    factors = 2.0 ** np.random.default_rng(3).integers(-30, 30, DIM)
    plain, scaled = (make(loss, batch_size=batch_size, backend=backend) for _ in range(2))
    for _ in range(3):
        assert plain.learn(X, y) == scaled.learn(sparse.csr_array(X * factors), y)
    np.testing.assert_array_equal(scaled.coef * factors, plain.coef)  # powers of 2: exactly


@pytest.mark.parametrize("loss", RESIDUAL_LOSSES)
def test_origin_of_the_targets_does_not_matter(backend, loss):
    X, y = problem(loss)
    y = np.round(64 * y) / 64  # so that adding 2**20 loses nothing
    here, there = make(loss, backend=backend), make(loss, backend=backend)
    assert here.learn(X, y) == pytest.approx(there.learn(X, y + 2.0**20), rel=1e-6)
    close(there.coef, here.coef, 1e-6)  # scores of 2**20 are rounded to 1e-10


def test_first_entry_that_is_small_by_chance_does_no_harm(backend):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, DIM))
    y = np.where(X.sum(axis=1) + rng.logistic(size=200) > 0, 1.0, -1.0)
    X[0, 0] = 1e-8
    assert make("log_loss", backend=backend).learn(X, y) < 1.0


def test_row_far_out_does_not_overshoot(backend):
    x = np.r_[np.ones(50), 1e4, np.ones(50)][:, None] * np.eye(1, DIM)
    model = make("squared_error", fit_intercept=False, backend=backend)
    y = 2 * x[:, 0] + np.random.default_rng(0).normal(size=101)
    for _ in range(5):
        model.learn(x, y)
    assert model.coef[0] == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_are_relative_without_a_penalty(backend, loss):
    X, y = problem(loss)
    plain, heavy = make(loss, backend=backend), make(loss, backend=backend)
    assert plain.learn(X, y) == pytest.approx(heavy.learn(X, y, np.full(40, 8.0)), rel=1e-12)
    np.testing.assert_allclose(heavy.coef, plain.coef, rtol=1e-9, atol=1e-12)


def test_sample_of_weight_zero_changes_no_coefficient(backend):
    X, y = problem("log_loss")
    model = make("log_loss", backend=backend)
    assert model.learn(X, y, np.zeros(40)) == 0.0
    assert not model.coef.any()


def test_minibatch_of_one_repeated_row_moves_as_one_sample(backend):
    X = np.array([[1.0, 0, 2.0] + [0.0] * 9])
    once, five = make("squared_error", backend=backend), make("squared_error", batch_size=5, backend=backend)
    once.learn(X, [3.0])
    five.learn(np.repeat(X, 5, axis=0), np.full(5, 3.0))
    np.testing.assert_allclose(five.coef, once.coef, rtol=1e-12)


def test_cutting_the_samples_into_calls_changes_nothing(backend, monkeypatch):
    X, y = problem("log_loss")
    whole, cut = (make("log_loss", alpha=0.01, average=True, backend=backend) for _ in range(2))
    whole.learn(X, y)
    monkeypatch.setattr(linear, "CHUNK", 11)
    cut.learn(X[:13], y[:13])
    cut.learn(X[13:], y[13:])
    close(cut.coef, whole.coef, 1e-10)  # decay in more factors


def test_mean_loss_is_that_before_each_step(backend):
    X, y = problem("squared_error")
    X = sparse.csr_array(np.sign(X.toarray()))  # entries of one size: no parameter is rescaled
    model, total = make("squared_error", backend=backend), 0.0
    model.learn(X[:1], y[:1])  # the intercept starts there
    for row, target in zip(X.toarray()[1:], y[1:], strict=True):
        total += 0.5 * float(model.decision_function(row[None])[0] - target) ** 2
        model.learn(row[None], [target])
    assert make("squared_error", backend=backend).learn(X, y) == pytest.approx(total / 40, rel=1e-9)


def test_penalty_pulls_towards_the_ridge_solution(backend):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, DIM))
    y = X @ np.ones(DIM) + 0.1 * rng.normal(size=150)
    model = make("squared_error", alpha=1.0, fit_intercept=False, average=True, backend=backend)
    for _ in range(15):
        model.learn(X, y, order=rng.permutation(150))
    ridge = np.linalg.solve(X.T @ X / 150 + np.eye(DIM), X.T @ y / 150)
    np.testing.assert_allclose(model.coef, ridge, rtol=0.05)  # a tenth of it is the noise of single samples


def test_multinomial_learns_what_one_vs_rest_cannot(backend):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    X = np.zeros((200, DIM))
    X[:, 0] = y + 0.1 * rng.normal(size=200)  # the middle class is no half space
    model = make("multinomial", backend=backend)
    for _ in range(10):
        model.learn(X, y, order=rng.permutation(200))
    assert (model.decision_function(X).argmax(axis=1) == y).mean() > 0.97


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("loss", ["log_loss", "multinomial"])
def test_resumes_bitwise(backend, loss, average):
    X, y = problem(loss)
    model = make(loss, alpha=0.01, average=average, backend=backend)
    model.learn(X, y)
    copies = [
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        make(loss, alpha=0.01, average=average, backend=backend),
    ]
    copies[2].load_state_dict(model.state_dict())
    model.learn(X, y)
    for other in copies:
        other.learn(X, y)
        np.testing.assert_array_equal(other._records, model._records)
        np.testing.assert_array_equal(other.coef, model.coef)
        assert other._records.ctypes.data % 64 == 0


def test_state_of_another_model_is_refused_and_nothing_changed():
    X, y = problem("log_loss")
    model = make("log_loss")
    model.learn(X, y)
    before = model.state_dict()
    state = LinearModel(DIM + 1, "log_loss").state_dict()
    with pytest.raises(ValueError, match=r"records of state must have shape \(13, 1, 8\) and dtype float64"):
        model.load_state_dict(state)
    with pytest.raises(ValueError, match=r"state must have the entries .*, got none of \['totals'\]"):
        model.load_state_dict({name: value for name, value in before.items() if name != "totals"})
    with pytest.raises(ValueError, match="state must be of version 1, got version 9"):
        model.load_state_dict(before | {"version": np.array(9)})
    np.testing.assert_array_equal(model._records, before["records"])


@pytest.mark.parametrize("average", [False, True])
def test_growing_equals_having_had_the_room_all_along(backend, average):
    X, y = problem("log_loss")
    wide = sparse.csr_array((X.data, X.indices, X.indptr), shape=(40, DIM + 5))
    small, large = (
        make("log_loss", average=average, backend=backend),
        LinearModel(DIM + 5, "log_loss", average=average, backend=backend),
    )
    small.learn(X, y)
    large.learn(wide, y)
    small.grow(DIM + 5)
    np.testing.assert_array_equal(small._records, large._records)
    np.testing.assert_array_equal(small.coef, large.coef)
    with pytest.raises(ValueError, match="n_features must be at least 17"):
        small.grow(3)


def test_rates_have_the_shape_of_coefficients_and_nan_where_nothing_was_seen(backend):
    X, y = problem("multinomial")
    X = sparse.csr_array(X.toarray() * (np.arange(DIM) != 4))
    model = make("multinomial", backend=backend)
    model.learn(X, y)
    assert model.rates.shape == model.coef.shape == (3, DIM)
    assert np.isnan(model.rates[:, 4]).all()
    assert (np.delete(model.rates, 4, axis=1) >= 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_parameters_stay_finite_whatever_comes(dtype, data):
    loss = data.draw(st.sampled_from(sorted(LOSSES)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    reach = 39 if dtype == np.float32 else 299
    scale = 2.0 ** rng.uniform(-reach - 20, reach - 6, DIM)
    X = np.clip(rng.standard_cauchy((30, DIM)), -50, 50) * (rng.random((30, DIM)) < 0.5) * scale
    y = problem(loss, n=30)[1]
    if loss not in (*MARGIN_LOSSES, "multinomial"):
        y = np.abs(y) * 10.0 ** rng.uniform(-30, 30)
    model = make(loss, dtype=dtype, alpha=data.draw(st.sampled_from([0.0, 1e-4, 10.0])),
                 batch_size=data.draw(st.sampled_from([1, 4])), average=data.draw(st.booleans()))  # fmt: skip
    for _ in range(3):
        model.learn(X.astype(dtype), y.astype(dtype), 10.0 ** rng.uniform(-10, 10, 30))
    assert np.isfinite(model._records).all()
    assert np.isfinite(model.coef).all()


def bad_rows():
    X, _ = problem("log_loss")
    broken, short = X.copy(), X.copy()
    broken.indices = np.where(X.indices == 3, DIM, X.indices)
    short.indptr = X.indptr[::-1].copy()
    cut = X.copy()
    cut.indptr = X.indptr[:-3].copy()
    infinite, negative = X.copy(), X.copy()
    infinite.data[0] = np.inf
    negative.indices = np.where(X.indices == 3, -1, X.indices)
    return {
        "csc": (X.tocsc(), TypeError, "X must be CSR or an array, got csc_array"),
        "features": (X[:, :5], ValueError, r"X must have shape \(n, 12\), got \(40, 5\)"),
        "index": (broken, ValueError, "indices from 0 to 11, got 0 to 12"),
        "negative": (negative, ValueError, "indices from 0 to 11, got -1 to 11"),
        "indptr": (short, ValueError, "rising indptr"),
        "rows": (cut, ValueError, "rising indptr"),
        "infinite": (infinite, ValueError, "X must be within"),
        "nan": (np.full((40, DIM), np.nan), ValueError, "X must be within"),
        "huge": (np.full((40, DIM), 1e200), ValueError, "X must be within"),
    }


@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("flags", range(8))
def test_row_flaws_are_found_and_nothing_else(backend, dtype, index_type, flags):
    row_flaws, bound, rng = kernels.load(backend).row_flaws, 8.0, np.random.default_rng(flags)
    for n, longest in ((1, 1), (3, 5), (200, 40), (70, 0)):
        lengths = rng.integers(0, longest + 1, n)
        indptr = np.r_[0, np.cumsum(lengths)]
        columns = np.concatenate([np.arange(0, 2 * k, 2) for k in lengths]).astype(index_type)
        data, d = rng.uniform(-bound, bound, columns.size).astype(dtype), max(2 * longest, 1)
        wanted = 0
        if flags & contract.ENTRY_BEYOND and data.size:
            data[rng.integers(data.size)] = rng.choice([np.nan, -np.inf, 8.1, -8.1])
            wanted |= contract.ENTRY_BEYOND
        assert row_flaws(Csr(None, None, data), d, bound) == wanted
        if flags & contract.INDEX_FALLS and lengths.max() > 1:
            at = indptr[rng.choice(np.flatnonzero(lengths > 1))] + 1
            columns[at] = columns[at - 1]
        if flags & contract.INDEX_OUTSIDE and columns.size:
            columns[rng.integers(columns.size)] = rng.choice([-1, d])
            wanted |= contract.INDEX_OUTSIDE
        if any((np.diff(row) <= 0).any() for row in np.split(columns, indptr[1:-1])):
            wanted |= contract.INDEX_FALLS
        assert row_flaws(Csr(indptr, columns, data), d, bound) == wanted


@pytest.mark.parametrize("case", bad_rows())
def test_bad_rows_are_refused_before_anything_is_learnt(case):
    X, error, match = bad_rows()[case]
    model = make("log_loss")
    with pytest.raises(error, match=match):
        model.learn(X, np.ones(40))
    assert not model._records.any()


@pytest.mark.parametrize("form", [sparse.csr_array, np.asarray])
def test_rows_are_checked_once_for_all_models_that_they_fit(backend, form):
    X, y = problem("log_loss")
    plain, other = make("log_loss", backend=backend), make("log_loss", backend=backend)
    plain.learn(X, y)
    samples = plain.checked(form(X.toarray()))
    assert other.checked(samples) is samples
    other.learn(samples, y)
    close(other.coef, plain.coef, 1e-9)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 13\), got \(40, 12\)"):
        LinearModel(DIM + 1, "log_loss").learn(samples, y)
    with pytest.raises(TypeError, match="X must be samples checked in float32, got float64"):
        make("log_loss", dtype=np.float32).learn(samples, y)


@pytest.mark.parametrize(
    ("loss", "y", "match"),
    [
        ("log_loss", 0.0, "y must be -1 or 1 with loss='log_loss', got 0.0 in row 0"),
        ("multinomial", 3.0, "y must be 0, 1, ... 2"),
        ("poisson", -1.0, "y must be 0 or more"),
        ("squared_error", np.nan, "y must be finite"),
    ],
)
def test_bad_targets_are_refused(loss, y, match):
    with pytest.raises(ValueError, match=match):
        make(loss).learn(np.ones((2, DIM)), np.full(2, y))


def test_other_bad_arguments_are_refused():
    X, y = problem("log_loss")
    with pytest.raises(ValueError, match="weights must be 0 or more, got 1 negative"):
        make("log_loss").learn(X, y, np.r_[-1.0, np.ones(39)])
    with pytest.raises(ValueError, match="order must hold rows 0 to 39, got 0 to 40"):
        make("log_loss").learn(X, y, order=np.arange(41))
    with pytest.raises(ValueError, match="n_outputs must be 1 with loss='hinge'"):
        LinearModel(3, "hinge", n_outputs=2)
    with pytest.raises(ValueError, match="alpha must be at least 0"):
        LinearModel(3, "hinge", alpha=-1.0)
    with pytest.raises(ValueError, match="loss must be one of"):
        LinearModel(3, "perceptron")


def test_every_loss_has_a_kernel_number():
    assert sorted({loss.number for loss in LOSSES.values()}) == list(range(contract.MULTINOMIAL + 1))
    assert tuple(LOSSES) == tuple(get_args(LossName))
    assert kernels.load("numpy").linear is linear_numpy.linear
