"""The models: per-sample gradients, moments and curvatures against slow twins and finite differences."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import oracles_models as oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from refsgd.models import MLP, Logistic, Softmax

LINEAR = [Logistic(4), Logistic(4, l2=0.3), Softmax(4, 3), Softmax(4, 3, l2=0.3)]
NETWORKS = [
    MLP((4, 5, 3)),
    MLP((4, 5, 3), "relu", l2=0.3),
    MLP((4, 5, 6, 3), l2=0.3),
    MLP((4, 5, 6, 3), "relu"),
]
MODELS = LINEAR + NETWORKS

# Sums of some ten terms of order 1 in float64: 1e-12 leaves room for a few thousand roundings.
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}

every_model = pytest.mark.parametrize("model", MODELS, ids=repr)


def widths_of(model):
    if isinstance(model, MLP):
        return model.widths
    return (model.n_features, model.n_classes if isinstance(model, Softmax) else 1)


def problem(model, n=6, dtype=np.float64, seed=0):
    """Parameters, samples and labels of order 1."""
    rng = np.random.default_rng(seed)
    widths = widths_of(model)
    x = rng.normal(size=model.n_params).astype(dtype)
    X = rng.normal(size=(n, widths[0])).astype(dtype)
    return x, X, rng.integers(0, max(2, widths[-1]), n)


def oracle_options(model):
    return {"l2": model.l2, "activation": getattr(model, "activation", "tanh")}


def central_differences(fun, x, step=1e-5):
    """``d fun / d x_i`` on a last axis; error about step**2 + 1e-16 / step, here 1e-10."""
    columns = []
    for i in range(len(x)):
        shift = np.zeros_like(x)
        shift[i] = step
        columns.append((fun(x + shift) - fun(x - shift)) / (2 * step))
    return np.stack(columns, axis=-1)


@st.composite
def networks(draw):
    widths = *draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)), draw(st.integers(2, 5))
    return MLP(widths, draw(st.sampled_from(["tanh", "relu"])), draw(st.sampled_from([0.0, 0.3])))


# Gradients and their moments


@every_model
def test_losses_match_plain_loops(model):
    x, X, y = problem(model)
    expected = [
        oracles.loss(widths_of(model), x, *row, **oracle_options(model)) for row in zip(X, y, strict=True)
    ]
    assert_allclose(model.losses(x, X, y), expected, **ROUNDING)
    assert model.loss(x, X, y) == pytest.approx(np.mean(expected), rel=1e-12)


@every_model
def test_gradients_match_plain_loops(model):
    x, X, y = problem(model)
    expected = [
        oracles.grad(widths_of(model), x, *row, **oracle_options(model)) for row in zip(X, y, strict=True)
    ]
    assert_allclose(model.grad(x, X, y), expected, **ROUNDING)


@every_model
def test_gradients_match_central_differences_of_losses(model):
    x, X, y = problem(model)
    numerical = central_differences(lambda x: model.losses(x, X, y), x)
    # Ten times the 1e-10 of the differences, on derivatives of order up to 10; no kink lies within a step.
    assert_allclose(model.grad(x, X, y), numerical, rtol=1e-8, atol=1e-8)


def test_gradients_match_torch_autograd():
    torch = pytest.importorskip("torch")
    model = MLP((4, 5, 6, 3), l2=0.3)
    x, X, y = problem(model)
    for sample, label, row in zip(X, y, model.grad(x, X, y), strict=True):
        parameters = torch.tensor(x, requires_grad=True)
        z, penalty, start = torch.tensor(sample), 0.0, 0
        for n_in, n_out in ((4, 5), (5, 6), (6, 3)):
            W = parameters[start : start + n_in * n_out].reshape(n_in, n_out)
            start += n_in * n_out
            z = (z if n_in == 4 else torch.tanh(z)) @ W + parameters[start : start + n_out]
            start += n_out
            penalty = penalty + model.l2 / 2 * (W**2).sum()
        (torch.logsumexp(z, 0) - z[int(label)] + penalty).backward()
        assert_allclose(row, parameters.grad.numpy(), **ROUNDING)


@given(model=networks(), n=st.integers(1, 20), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_moments_are_statistics_of_the_gradients(model, n, seed):
    x, X, y = problem(model, n, seed=seed)
    rows = model.grad(x, X, y)
    count, mean, mean_sq = model.moments(x, X, y)
    assert count == n
    assert_allclose(mean, rows.mean(axis=0), **ROUNDING)
    # Relative to the largest square, since the sum of data and penalty may cancel.
    assert_allclose(mean_sq, (rows**2).mean(axis=0), rtol=1e-12, atol=1e-12 * (1 + (rows**2).max()))


@pytest.mark.parametrize("model", LINEAR, ids=repr)
@pytest.mark.parametrize("n", [1, 2, 17])
def test_moments_of_linear_models_are_statistics_of_the_gradients(model, n):
    x, X, y = problem(model, n)
    rows = model.grad(x, X, y)
    count, mean, mean_sq = model.moments(x, X, y)
    assert count == n
    assert_allclose(mean, rows.mean(axis=0), **ROUNDING)
    assert_allclose(mean_sq, (rows**2).mean(axis=0), **ROUNDING)


@every_model
def test_moments_without_squares_have_the_same_mean(model):
    x, X, y = problem(model)
    count, mean, mean_sq = model.moments(x, X, y, squares=False)
    assert (count, mean_sq) == (len(X), None)
    assert_array_equal(mean, model.moments(x, X, y)[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mean_square_is_never_below_square_of_mean_where_penalty_cancels_the_data(dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1, 200)).astype(dtype)
    model = Logistic(200, l2=1.0)
    p = 0.3  # with y = 0 the gradient of the data is p X, and W = -p X takes it back
    W = -p * X[0]
    x = np.append(W, np.log(p / (1 - p)) - W @ X[0]).astype(dtype)
    _, mean, mean_sq = model.moments(x, X, np.array([0]))
    assert np.abs(mean[:-1]).max() < 1e-5
    assert (mean_sq[:-1] >= mean[:-1] ** 2).all()


@given(model=networks(), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_permuting_samples_permutes_rows(model, seed):
    x, X, y = problem(model, 8, seed=seed)
    order = np.random.default_rng(seed).permutation(8)
    for method in (model.losses, model.grad, model.diag_hess):
        assert_allclose(method(x, X[order], y[order]), method(x, X, y)[order], **ROUNDING)


@every_model
def test_one_sample_gives_its_row_of_the_batch(model):
    x, X, y = problem(model)
    assert_allclose(model.grad(x, X[2:3], y[2:3]), model.grad(x, X, y)[2:3], **ROUNDING)
    _, mean, mean_sq = model.moments(x, X[2:3], y[2:3])
    assert_allclose(mean, model.grad(x, X, y)[2], **ROUNDING)
    assert_allclose(mean_sq, mean**2, **ROUNDING)


# Curvature


@pytest.mark.parametrize("model", LINEAR, ids=repr)
def test_curvature_of_linear_models_is_the_diagonal_of_the_hessian(model):
    x, X, y = problem(model)
    hessians = central_differences(lambda x: model.grad(x, X, y), x)
    # Ten times the 1e-10 of the differences, on derivatives of order up to 10.
    assert_allclose(model.diag_hess(x, X, y), np.diagonal(hessians, axis1=1, axis2=2), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_curvature_with_one_hidden_layer_is_the_gauss_newton_diagonal(activation):
    model = MLP((4, 5, 3), activation)
    x, X, y = problem(model)
    for sample, row in zip(X, model.diag_hess(x, X, y), strict=True):

        def scores(x, sample=sample):
            return np.array(oracles.forward(model.widths, x, sample, activation)[1][-1])

        jacobian = central_differences(scores, x)
        p = np.array(oracles.probabilities(scores(x)))
        # Ten times the 1e-10 of the differences, on squares of order up to 10.
        assert_allclose(row, np.diag(jacobian.T @ np.diag(p * (1 - p)) @ jacobian), rtol=1e-8, atol=1e-8)


@every_model
def test_curvature_matches_plain_loops(model):
    x, X, y = problem(model)
    expected = [
        oracles.diag_gauss_newton(widths_of(model), x, sample, **oracle_options(model)) for sample in X
    ]
    assert_allclose(model.diag_hess(x, X, y), expected, **ROUNDING)


# Models against each other


def test_softmax_is_an_mlp_without_hidden_layer():
    softmax, network = Softmax(4, 3, l2=0.3), MLP((4, 3), l2=0.3)
    x, X, y = problem(softmax)
    for name in ("losses", "grad", "diag_hess", "moments"):
        for one, other in zip(getattr(softmax, name)(x, X, y), getattr(network, name)(x, X, y), strict=True):
            assert_array_equal(one, other)


def test_logistic_is_softmax_with_the_scores_of_one_class_held_at_zero():
    model, softmax = Logistic(4), Softmax(4, 2)
    x, X, y = problem(model)
    x2 = np.stack([np.zeros_like(x), x], axis=1).ravel()
    assert_allclose(model.losses(x, X, y), softmax.losses(x2, X, y), **ROUNDING)
    assert_allclose(model.grad(x, X, y), softmax.grad(x2, X, y)[:, 1::2], **ROUNDING)
    assert_array_equal(model.predict(x, X), softmax.predict(x2, X))


# Precision


@every_model
def test_float32_stays_float32_and_agrees_with_float64(model):
    x, X, y = problem(model, dtype=np.float32)
    wide = x.astype(np.float64), X.astype(np.float64), y
    pairs = [
        (getattr(model, name)(x, X, y), getattr(model, name)(*wide))
        for name in ("losses", "grad", "diag_hess")
    ]
    pairs += list(zip(model.moments(x, X, y)[1:], model.moments(*wide)[1:], strict=True))
    for narrow, reference in pairs:
        assert narrow.dtype == np.float32
        # A hundred roundings of 6e-8 on values of order up to 10.
        assert_allclose(narrow, reference, rtol=1e-5, atol=1e-5)


def test_samples_are_converted_to_the_dtype_of_the_parameters():
    model = Softmax(4, 3)
    x, X, y = problem(model, dtype=np.float32)
    assert_array_equal(model.grad(x, X.astype(np.float64), y), model.grad(x, X, y))


def test_penalty_given_as_numpy_scalar_leaves_float32():
    model = Softmax(4, 3, l2=np.float64(0.3))
    assert model.grad(*problem(model, dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("score", [-1e4, 1e4])
@pytest.mark.parametrize("model", [Logistic(1), Softmax(1, 2), MLP((1, 1, 2), "relu")], ids=repr)
def test_extreme_scores_give_finite_losses_and_gradients(model, score, label, dtype):
    x = {
        Logistic: [score, 0],
        Softmax: [0, score, 0, 0],
        MLP: [1, 0, 0, score, 0, 0],
    }[type(model)]
    args = np.array(x, dtype), np.ones((1, 1), dtype), np.array([label])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_array_equal(model.losses(*args), 0 if (score > 0) == label else 1e4)
        assert np.isfinite(model.grad(*args)).all()
        assert np.isfinite(model.diag_hess(*args)).all()
        assert all(np.isfinite(moment).all() for moment in model.moments(*args)[1:])


@pytest.mark.parametrize("model", [Logistic(1), Softmax(1, 2)], ids=repr)
def test_gradient_of_a_confident_sample_keeps_its_digits_in_float32(model):
    # p - 1 is -2e-9 here and would round to 0.
    score = np.float32(20)
    x = np.array([0, score] if isinstance(model, Logistic) else [0, 0, 0, score], np.float32)
    row = model.grad(x, np.ones((1, 1), np.float32), np.array([1]))[0]
    assert row[-1] == pytest.approx(-np.exp(-20.0), rel=1e-5)  # exp(-20) in float32: 20 * 6e-8


@every_model
def test_one_parameter_that_is_nan_shows_in_the_loss(model):
    x, X, y = problem(model)
    x[0] = np.nan
    assert np.isnan(model.loss(x, X, y))


def all_results(model, x, X, y):
    """All that the model computes from labelled samples."""
    methods = (model.losses, model.loss, model.grad, model.diag_hess, model.error)
    return [*(method(x, X, y) for method in methods), *model.moments(x, X, y)[1:]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@every_model
def test_parameters_that_are_not_finite_show_in_the_results_and_raise_nothing(model, value, dtype):
    x, X, y = problem(model, dtype=dtype)
    x[:] = value
    with np.errstate(all="raise"):
        losses, loss, grad, curv, _, mean, mean_sq = all_results(model, x, X, y)
    for result in (losses, loss, grad, curv, mean, mean_sq):
        assert not np.isfinite(result).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_model
def test_overflow_raises_nothing(model, dtype):
    x, X, y = problem(model, dtype=dtype)
    x[:] = np.finfo(dtype).max
    with np.errstate(all="raise"):
        all_results(model, x, 10 * X, y)


def test_samples_too_large_for_float32_raise_nothing():
    x, X, y = problem(Softmax(4, 3))
    with np.errstate(all="raise"):
        assert np.isnan(Softmax(4, 3).loss(x.astype(np.float32), 1e300 * X, y))


def test_errors_stay_as_the_caller_set_them():
    with np.errstate(all="raise"):
        before = np.geterr()
        model = Logistic(4)
        model.loss(*problem(model))
        with pytest.raises(ValueError, match="x must have shape"):
            model.loss(np.zeros(3), np.zeros((1, 4)), [0])
        assert np.geterr() == before


# Starting points and labels


@pytest.mark.parametrize("model", LINEAR, ids=repr)
def test_linear_models_start_at_zero(model):
    x0 = model.init(random_state=3, dtype=np.float32)
    assert_array_equal(x0, np.zeros(model.n_params))
    assert x0.dtype == np.float32


def parts_of_the_start(activation):
    """Weights of both layers of a network with 100 inputs and 80 hidden units, and its biases."""
    x0 = MLP((100, 80, 50), activation).init(random_state=0)
    return x0[:8000], x0[8080:12080], np.append(x0[8000:8080], x0[12080:])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_networks_start_with_lecun_uniform_weights_into_the_output_and_zero_biases(activation):
    _, output, biases = parts_of_the_start(activation)
    assert_uniform(output, (3 / 80) ** 0.5)
    assert not biases.any()


def test_networks_start_with_lecun_uniform_weights_into_tanh_units():
    assert_uniform(parts_of_the_start("tanh")[0], 0.03**0.5)


def test_networks_start_with_he_normal_weights_into_relu_units():
    hidden = parts_of_the_start("relu")[0]
    # The deviation of n normals is known to 1 / sqrt(2 n), here 0.8 %: false alarm on one seed in 5,000.
    assert hidden.std() == pytest.approx(0.02**0.5, rel=0.03)
    # The Kolmogorov-Smirnov test: on one in a thousand. The seed is fixed.
    assert stats.kstest(hidden, stats.norm(scale=0.02**0.5).cdf).pvalue > 1e-3


def assert_uniform(weights, bound):
    assert np.abs(weights).max() <= bound
    # The Kolmogorov-Smirnov test: false alarm on one seed in a thousand. The seed is fixed.
    assert stats.kstest(weights, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_seed_and_its_generator_give_the_same_start(activation):
    model = MLP((4, 5, 3), activation)
    start = model.init(random_state=7)
    assert_array_equal(start, model.init(random_state=np.random.default_rng(7)))
    assert not np.array_equal(start, model.init(random_state=8))


@every_model
def test_predicted_labels_have_the_least_loss(model):
    x, X, _ = problem(model, n=20)
    labels = range(max(2, widths_of(model)[-1]))
    by_label = [model.losses(x, X, np.full(20, label)) for label in labels]
    assert_array_equal(model.predict(x, X), np.argmin(by_label, axis=0))


@every_model
def test_error_counts_wrong_labels(model):
    x, X, _ = problem(model, n=20)
    y = model.predict(x, X)
    assert model.error(x, X, y) == 0
    y[:5] = (y[:5] + 1) % 2
    assert model.error(x, X, y) == 0.25


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_labels_may_have_any_integer_type(dtype):
    model = Logistic(4)
    x, X, y = problem(model)
    assert_array_equal(model.grad(x, X, y.astype(dtype)), model.grad(x, X, y))


@every_model
def test_descent_along_the_mean_gradient_lowers_the_loss(model):
    x, X, y = problem(model)
    assert model.loss(x - 1e-3 * model.moments(x, X, y, squares=False)[1], X, y) < model.loss(x, X, y)


# Arguments


@every_model
def test_arguments_are_left_alone(model):
    x, X, y = problem(model)
    for array in (x, X, y):
        array.flags.writeable = False
    for name in ("losses", "grad", "diag_hess", "moments"):
        getattr(model, name)(x, X, y)


def test_strided_and_fortran_ordered_arguments_give_the_same():
    model = MLP((4, 5, 3))
    x, X, y = problem(model)
    assert_array_equal(model.grad(np.repeat(x, 2)[::2], np.asfortranarray(X), y), model.grad(x, X, y))


@every_model
@pytest.mark.parametrize("name", ["losses", "loss", "grad", "moments", "diag_hess", "error"])
def test_no_samples_are_refused(model, name):
    x, X, y = problem(model)
    with pytest.raises(ValueError, match=r"X must have at least one row, got \(0, 4\)"):
        getattr(model, name)(x, X[:0], y[:0])


def test_labels_out_of_range_are_counted():
    model = Softmax(4, 3)
    x, X, y = problem(model)
    y[[2, 5]] = 3, -1
    with pytest.raises(
        ValueError, match=r"y must hold labels from 0 to 2, got 2 of 6 that do not \(first: row 2, label 3\)"
    ):
        model.grad(x, X, y)


def test_labels_of_minus_one_are_refused_by_logistic_regression():
    x, X, y = problem(Logistic(4))
    with pytest.raises(
        ValueError, match=r"y must hold labels from 0 to 1, .* encode the classes as integers"
    ):
        Logistic(4).losses(x, X, 2 * y - 1)


@pytest.mark.parametrize("dtype", [np.float64, np.str_])
def test_labels_that_are_no_integers_are_refused(dtype):
    x, X, y = problem(Logistic(4))
    with pytest.raises(TypeError, match="y must hold integers, got dtype"):
        Logistic(4).losses(x, X, y.astype(dtype))


def test_arguments_of_another_shape_or_dtype_are_refused():
    model = Softmax(4, 3)
    x, X, y = problem(model)
    with pytest.raises(ValueError, match=r"x must have shape \(15,\), got \(14,\); .*init"):
        model.grad(x[1:], X, y)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 4\), got \(4,\); pass one row per sample"):
        model.grad(x, X[0], y[:1])
    with pytest.raises(ValueError, match=r"y must have shape \(6,\), got \(5,\)"):
        model.grad(x, X, y[1:])
    with pytest.raises(TypeError, match="X must have dtype float32 or float64, got int64"):
        model.grad(x, X.astype(np.int64), y)


@every_model
def test_other_dtypes_of_the_starting_point_are_refused(model):
    with pytest.raises(TypeError, match="dtype must be float32 or float64, got float16"):
        model.init(dtype=np.float16)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Logistic(0), ValueError, "n_features must be at least 1, got 0"),
        (lambda: Logistic(2.0), TypeError, "n_features must be an integer, got 2.0"),
        (lambda: Softmax(4, 1), ValueError, "n_classes must be at least 2, got 1"),
        (lambda: Logistic(4, l2=-1), ValueError, "l2 must be a finite number of at least 0, got -1"),
        (lambda: MLP((4, 3), l2=np.nan), ValueError, "l2 must be a finite number of at least 0, got nan"),
        (lambda: MLP((4,)), ValueError, r"widths must have at least 2 entries, got \(4,\)"),
        (lambda: MLP((4, 0, 3)), ValueError, r"widths\[1\] must be at least 1, got 0"),
        (lambda: MLP((4, 5, 1)), ValueError, r"widths\[2\] must be at least 2, got 1"),
        (lambda: MLP((4, 3), "gelu"), ValueError, "activation must be one of 'tanh', 'relu', got 'gelu'"),
    ],
)
def test_models_that_make_no_sense_are_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_models_are_values():
    assert MLP([4, 5, 3]) == MLP((4, 5, 3))
    assert hash(Softmax(4, 3)) == hash(Softmax(4, 3, l2=0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Logistic(4).l2 = 1.0
