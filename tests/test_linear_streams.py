"""Linear estimators on streams, on bad input, and on problems that nobody chose."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import sparse

from refsgd.linear import losses
from refsgd.linear.losses import MARGIN_LOSSES
from refsgd.linear.model import LinearModel

pytest.importorskip("sklearn")

from sklearn.datasets import load_iris

from refsgd.adapters.classifier import VSGDClassifier
from refsgd.adapters.regressor import REGRESSION_LOSSES, VSGDRegressor

IRIS = load_iris(return_X_y=True)
SHUFFLED = np.random.default_rng(0).permutation(150)
X, y = IRIS[0][SHUFFLED], IRIS[1][SHUFFLED]


# -- streams


@pytest.mark.parametrize("step", [1, 7, 150])
def test_a_stream_may_be_cut_anywhere(step):
    classifier, regressor = VSGDClassifier("hinge", alpha=1e-3), VSGDRegressor()
    for i in range(0, 150, step):
        classifier.partial_fit(X[i : i + step], y[i : i + step] == 1, classes=[False, True])
        regressor.partial_fit(sparse.csr_array(X[i : i + step]), y[i : i + step])
    assert classifier.n_iter_ == regressor.n_iter_ == regressor.loss_curve_.size == 1
    model = LinearModel(4, "squared_error")
    model.learn(sparse.csr_array(X), y)
    np.testing.assert_array_equal(regressor.coef_, model.coef)
    whole = VSGDClassifier("hinge", alpha=1e-3).partial_fit(X, y == 1, classes=[False, True])
    # exp(-passed log(1 + rate alpha)) is multiplied up in other pieces
    np.testing.assert_allclose(classifier.coef_, whole.coef_, rtol=1e-11)


def test_a_class_that_comes_late_was_announced():
    model = VSGDClassifier().partial_fit(X[y < 2], y[y < 2], classes=[2, 0, 1])
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    model.partial_fit(X, y)
    assert set(model.predict(X)) == {0, 1, 2}


def test_a_stream_follows_fit_and_keeps_the_dtype():
    model = VSGDClassifier(random_state=0, max_iter=2, tol=None).fit(X.astype(np.float32), y)
    assert model.partial_fit(X, y).coef_.dtype == np.float32
    assert model.predict_proba(X).dtype == np.float32


def test_a_stream_may_carry_no_weight_for_a_while():
    model = VSGDRegressor().partial_fit(X, y)
    before = model.coef_
    model.partial_fit(X, y, sample_weight=np.zeros(150))
    np.testing.assert_array_equal(model.coef_, before)
    assert model.loss_curve_ == 0.0


def test_ctrl_c_leaves_a_stream_that_goes_on(monkeypatch):
    learn = LinearModel.learn

    def half(model, rows, targets, weights, order):
        learn(model, rows, targets, weights, order[:75])
        raise KeyboardInterrupt

    model = VSGDRegressor()
    with monkeypatch.context() as patched:
        patched.setattr(LinearModel, "learn", half)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X, y)
    assert model.predict(X).shape == (150,) and model.n_iter_ == 0
    model.partial_fit(X[75:], y[75:])
    np.testing.assert_array_equal(model.coef_, VSGDRegressor().partial_fit(X, y).coef_)


# -- refusals

BAD = X.copy()
BAD[3, 2] = np.nan


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"loss": "squared_error"}, ValueError, "loss must be one of 'log_loss', .*, got 'squared_error'"),
        ({"multi_class": "ovo"}, ValueError, "multi_class must be one of 'ovr', 'softmax', got 'ovo'"),
        (
            {"multi_class": "softmax", "loss": "hinge"},
            ValueError,
            "loss with multi_class=\"softmax\" must be one of 'log_loss', got 'hinge'",
        ),
        ({"alpha": -1.0}, ValueError, "alpha must be at least 0 and finite, got -1.0"),
        ({"alpha": np.nan}, ValueError, "alpha must be at least 0 and finite, got nan"),
        ({"tol": -1.0}, ValueError, "tol must be 0 or more, or None, got -1.0"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1, got 0"),
        ({"max_iter": 1.5}, TypeError, "max_iter must be an integer, got 1.5"),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be at least 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must be between 0 and 1, got 1.0"),
        ({"early_stopping": True, "validation_fraction": 0.999}, ValueError, "got 150 of 150 samples"),
        ({"class_weight": "even"}, ValueError, "class_weight must be one of 'balanced', got 'even'"),
        ({"class_weight": {7: 1.0}}, ValueError, "not in class_weight"),
        ({"class_weight": {0: -1.0}}, ValueError, "class_weight must be 0 or more, got"),
        ({"backend": "cuda"}, ValueError, "backend must be one of 'auto', 'c', 'numba', 'numpy', got 'cuda'"),
    ],
)
def test_bad_parameter_is_refused_by_fit(change, error, match):
    with pytest.raises(error, match=match):
        VSGDClassifier(**change).fit(X, y)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((BAD, y), ValueError, "NaN"),
        ((X, np.zeros(150)), ValueError, "y must have at least 2 classes, got 1 class; collect"),
        ((X, y, np.ones(149)), ValueError, r"sample_weight must have shape \(150,\), got \(149,\); pass one"),
        (
            (X, y, -np.ones(150)),
            ValueError,
            "sample_weight must be 0 or more, got 150 of 150 that are negative",
        ),
        ((X, y, np.zeros(150)), ValueError, "sample_weight must not be all zero, got 150 entries of 0"),
        ((X, y, np.full(150, np.inf)), ValueError, "sample_weight must be finite"),
    ],
)
def test_bad_samples_are_refused_by_fit(arguments, error, match):
    with pytest.raises(error, match=match):
        VSGDClassifier().fit(*arguments)


def test_regression_refuses_what_its_loss_cannot_take():
    with pytest.raises(ValueError, match=r"loss must be one of 'squared_error', .*, got 'hinge'"):
        VSGDRegressor("hinge").fit(X, y)
    with pytest.raises(ValueError, match="epsilon must be at least 0 and finite, got -1"):
        VSGDRegressor("huber", epsilon=-1).fit(X, y)
    with pytest.raises(ValueError, match='y with loss="poisson" must be 0 or more, got 50 of 150 below 0'):
        VSGDRegressor("poisson").fit(X, y - 1)


@pytest.mark.parametrize(
    ("begun", "change", "arguments", "match"),
    [
        (False, {}, (X, y), "classes must be given at the first call of partial_fit, got None; pass all"),
        (False, {}, (X, y, [0, 1]), r"y must have labels of \[0 1\], got .*2.* \(first: row"),
        (True, {}, (X, y + 1), r"y must have labels of \[0 1 2\], got"),
        (True, {}, (X, y, [0, 1, 2, 3]), r"classes must stay \[0 1 2\], got \[0 1 2 3\]; fit anew"),
        (True, {}, (X[:, :3], y), "3 features"),
        (True, {}, (BAD, y), "NaN"),
        (True, {}, (X, y, None, -np.ones(150)), "sample_weight must be 0 or more"),
        (
            True,
            {"loss": "hinge"},
            (X, y),
            "loss must stay what learning began with .'log_loss'., got 'hinge'",
        ),
        (True, {"alpha": -1.0}, (X, y), "alpha must be at least 0"),
        (True, {"class_weight": "balanced"}, (X, y), "class_weight must be a dict or None for partial_fit"),
    ],
)
def test_a_partial_fit_that_fails_leaves_the_model_as_it_was(begun, change, arguments, match):
    model = VSGDClassifier()
    if begun:
        model.partial_fit(X, y, classes=[0, 1, 2])
        before = model.coef_, model.intercept_, model.rates_, model.loss_curve_, model.predict(X)
    model.set_params(**change)
    with pytest.raises(ValueError, match=match):
        model.partial_fit(*arguments)
    if begun:
        after = model.coef_, model.intercept_, model.rates_, model.loss_curve_, model.predict(X)
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, other)
    else:
        assert not hasattr(model, "coef_")
        model.set_params(loss="log_loss").partial_fit(X[:, :2], y, classes=[0, 1, 2])  # begins as if new


# -- problems that nobody chose


def problem(loss, seed, n, d, mix, offset, share, signal, noise, heavy, odds, log_unit, dtype):
    """Rows and targets, of features whose units differ by up to a million."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_t(3, size=(n, d)) if heavy else rng.normal(size=(n, d))
    rows = rows @ (np.eye(d) + mix * rng.normal(size=(d, d)) / np.sqrt(d)) + offset
    rows = rows * (rng.random((n, d)) < share)
    sizes = np.sqrt((rows**2).mean(axis=0))
    score = rows @ (rng.normal(size=d) / np.where(sizes > 0, sizes, 1)) / np.sqrt(d)
    score = signal * (score - np.median(score)) + noise * rng.logistic(size=n)
    rows = (rows * 10.0 ** rng.uniform(-3, 3, d)).astype(dtype)
    if loss in MARGIN_LOSSES:
        score += 1e-9 * rng.normal(size=n)
        return rows, np.where(score > np.quantile(score, odds), 1.0, -1.0)
    if loss == "poisson":
        return rows, rng.poisson(np.exp(np.clip(score, -10, 6))).astype(float)
    return rows, (score + 100 * odds) * 10.0**log_unit


PROBLEMS = {
    "seed": st.integers(0, 2**32),
    "n": st.integers(20, 200),
    "d": st.integers(1, 30),
    "mix": st.sampled_from([0.0, 0.5, 5.0]),
    "offset": st.sampled_from([0.0, 1.0, 10.0]),
    "share": st.sampled_from([1.0, 0.3, 0.03]),
    "signal": st.sampled_from([0.0, 1.0, 5.0]),
    "noise": st.sampled_from([0.0, 1.0, 3.0]),
    "heavy": st.booleans(),
    "odds": st.sampled_from([0.5, 0.8, 0.95]),
    "log_unit": st.integers(-3, 3),
    "dtype": st.sampled_from([np.float64, np.float32]),
}


def best_constant(loss, y, epsilon):
    """Least mean loss of a constant score, over many."""
    scores = np.linspace(-8, 8, 161) if loss in (*MARGIN_LOSSES, "poisson") else np.append(y, y.mean())
    return losses.values(loss, scores[:, None], y[None, :], epsilon).mean(axis=1).min()


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("loss", [*MARGIN_LOSSES, *REGRESSION_LOSSES])
@settings(max_examples=30, derandomize=True, phases=[Phase.explicit, Phase.generate])  # a bound of these
@given(form=st.fixed_dictionaries(PROBLEMS))
def test_it_never_diverges(loss, average, form):
    rows, y = problem(loss, **form)
    epsilon = 0.1 * float(np.std(y))
    options = {"average": average, "max_iter": 30, "tol": None, "random_state": 0, "backend": "auto"}
    if loss in MARGIN_LOSSES:
        model = VSGDClassifier(loss, **options).fit(rows, y)
    else:
        model = VSGDRegressor(loss, epsilon=epsilon, **options).fit(rows, y)
    assert np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()
    reached = losses.values(loss, model._scores(rows), y, epsilon).mean()
    constant = best_constant(loss, y, epsilon)
    is_count = loss == "poisson"  # whose loss has no zero
    excess = losses.excess_of_constant(loss, y, np.ones(y.size), 0.0) if is_count else constant
    # where there is nothing to learn the last of 600 steps has its noise, and the mean has little
    slack = 0.15 if average else 1.5
    assert reached <= constant + slack * excess + 1e-4 * np.abs(y).max()  # float32 holds y to 1e-7
