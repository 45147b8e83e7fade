"""The linear estimators in scikit-learn's form. The rule itself is tested with `refsgd.linear`."""

import io
import pickle
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import refsgd
from refsgd.linear import losses
from refsgd.linear import model as linear
from refsgd.linear.model import LinearModel

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from refsgd.adapters.classifier import VSGDClassifier
from refsgd.adapters.regressor import REGRESSION_LOSSES, VSGDRegressor

IRIS = load_iris(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
FIXED = {"max_iter": 3, "tol": None, "random_state": 0}


def numbers(n=300, d=4):
    """Features of several units, targets with noise of 0.1, and the coefficients in features of size 1."""
    rng = np.random.default_rng(0)
    X, coef = rng.normal(size=(n, d)), rng.normal(size=d)
    units = 10.0 ** rng.integers(-3, 4, d)
    return X * units, X @ coef + 3.0 + 0.1 * rng.normal(size=n), coef, units


# -- scikit-learn

LEFT_OUT = {
    f"check_sample_weight_equivalence_on_{kind}_data": "a weight of 2 is one longer step and not two "
    "at other times, as for SGDClassifier, which is excused from the same checks"
    for kind in ("dense", "sparse")
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:max_iter must suffice")
@estimator_checks.parametrize_with_checks(
    [
        VSGDClassifier(),
        VSGDClassifier("hinge", early_stopping=True, n_jobs=2),
        VSGDRegressor(),
        VSGDRegressor("absolute_error", alpha=1e-3, early_stopping=True),
        VSGDRegressor("poisson"),
    ],
    expected_failed_checks=lambda _: LEFT_OUT,
)
def test_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:max_iter must suffice")
@estimator_checks.parametrize_with_checks(
    [VSGDClassifier(multi_class="softmax")], expected_failed_checks=lambda _: LEFT_OUT
)
def test_softmax_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", [VSGDClassifier(**FIXED), VSGDRegressor(**FIXED)], ids=["c", "r"])
def test_a_weight_of_0_is_as_good_as_left_out(estimator):
    X, y = CANCER
    weights = np.random.default_rng(0).integers(0, 3, y.size).astype(float)
    kept = weights > 0
    weighted = clone(estimator).fit(X, y, sample_weight=weights)
    left_out = clone(estimator).fit(X[kept], y[kept], sample_weight=weights[kept])
    np.testing.assert_array_equal(weighted.coef_, left_out.coef_)
    np.testing.assert_array_equal(weighted.loss_curve_, left_out.loss_curve_)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "bsr", "64-bit csr", "strided csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_takes_every_form_of_rows_and_keeps_the_dtype(form, container, dtype):
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(60, 5)).astype(dtype) * (rng.random((60, 5)) < 0.5)
    y = dense[:, 0] > dense[:, 1]
    rows = container(dense).asformat(form[-3:])
    if form == "64-bit csr":
        rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    if form == "strided csr":
        rows.data, rows.indices = np.repeat(rows.data, 2)[::2], np.repeat(rows.indices, 2)[::2]
    one, other = (VSGDClassifier(**FIXED).fit(given, y) for given in (dense, rows))
    assert one.coef_.dtype == other.intercept_.dtype == other.predict_proba(rows).dtype == dtype
    np.testing.assert_array_equal(other.coef_, one.coef_)
    np.testing.assert_array_equal(other.predict(rows), one.predict(np.asfortranarray(dense)))


def test_integers_are_learnt_in_float64_and_entries_held_twice_are_added():
    counts, y = np.random.default_rng(0).poisson(1.0, (50, 3)), np.arange(50) % 2
    once = VSGDClassifier(**FIXED).fit(counts, y)
    assert once.coef_.dtype == np.float64
    columns, values = np.tile(np.repeat([0, 1, 2], 2), 50), np.repeat(counts.ravel(), 2) * 0.5
    twice = sparse.csr_array((values, columns, 6 * np.arange(51)), shape=(50, 3))
    np.testing.assert_array_equal(VSGDClassifier(**FIXED).fit(twice, y).coef_, once.coef_)
    assert twice.nnz == 300  # and what was given is as it was


def test_rows_are_checked_once_for_all_epochs_and_classes(monkeypatch):
    looks = []
    monkeypatch.setattr(linear, "has_rising_indptr", lambda n, *_: looks.append(n) or True)
    VSGDClassifier(**FIXED).fit(sparse.csr_array(IRIS[0]), IRIS[1])
    assert looks == [150]


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_what_is_out_of_range_is_refused_before_anything_is_set_up(form):
    X, y = np.ones((4, 3), np.float32), [0, 1, 0, 1]
    for value, match in ((np.nan, "Input X contains NaN"), (np.inf, "Input X contains inf"), (1e13, "±1e")):
        X[2, 1] = value
        for learn in ("fit", "partial_fit"):
            for estimator in (VSGDClassifier(), VSGDRegressor()):
                classes = (
                    {"classes": [0, 1]} if (learn, type(estimator)) == ("partial_fit", VSGDClassifier) else {}
                )
                with pytest.raises(ValueError, match=match):
                    getattr(estimator, learn)(form(X), y, **classes)
                with pytest.raises(NotFittedError):
                    estimator.predict(form(np.ones((1, 3))))


def test_pickle_and_clone():
    for estimator in (VSGDClassifier(**FIXED).fit(*IRIS), VSGDRegressor(**FIXED).fit(*IRIS)):
        again = pickle.loads(pickle.dumps(estimator))
        np.testing.assert_array_equal(again.predict(IRIS[0]), estimator.predict(IRIS[0]))
        np.testing.assert_array_equal(again.partial_fit(*IRIS).coef_, estimator.partial_fit(*IRIS).coef_)
        assert not hasattr(clone(estimator), "coef_")


@pytest.mark.slow
def test_takes_its_place_in_pipelines_searches_and_calibration():
    model = VSGDClassifier(max_iter=20, tol=None, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model)
    search = GridSearchCV(pipeline, {"vsgdclassifier__alpha": [1e-4, 10.0]}, cv=3).fit(*CANCER)
    assert search.best_params_ == {"vsgdclassifier__alpha": 1e-4}
    assert cross_val_score(pipeline, *CANCER, cv=3).mean() > 0.94
    margins = make_pipeline(
        StandardScaler(), CalibratedClassifierCV(clone(model).set_params(loss="hinge"), cv=3)
    )
    assert margins.fit(*CANCER).predict_proba(CANCER[0]).shape == (569, 2)


# -- classes


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge", "modified_huber"])
def test_one_against_the_rest_is_a_binary_model_a_class(loss):
    X, y = IRIS
    names = np.array(["setosa", "versicolor", "virginica"])
    every = VSGDClassifier(loss, **FIXED).fit(X, names[y])
    assert (every.coef_.shape, every.intercept_.shape, every.rates_.shape) == ((3, 4), (3,), (3, 4))
    parts = [VSGDClassifier(loss, **FIXED).fit(X, y == k) for k in range(3)]
    np.testing.assert_array_equal(every.coef_, np.vstack([part.coef_ for part in parts]))
    np.testing.assert_allclose(every.loss_curve_, sum(part.loss_curve_ for part in parts), rtol=1e-14)
    scores = np.stack([part.decision_function(X) for part in parts], axis=1)
    np.testing.assert_allclose(every.decision_function(X), scores, rtol=1e-11, atol=1e-11)  # order of sums
    np.testing.assert_array_equal(every.predict(X), names[scores.argmax(axis=1)])


def test_threads_change_nothing():
    one, many = (VSGDClassifier(**FIXED, n_jobs=n_jobs).fit(*IRIS) for n_jobs in (None, 3))
    np.testing.assert_array_equal(one.coef_, many.coef_)


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
def test_probabilities_of_two_classes_and_of_three(loss):
    X, y = IRIS
    two = VSGDClassifier(loss, **FIXED).fit(X, y > 0)
    z = two.decision_function(X)
    p = 1 / (1 + np.exp(-z)) if loss == "log_loss" else (np.clip(z, -1, 1) + 1) / 2
    np.testing.assert_allclose(two.predict_proba(X), np.stack([1 - p, p], axis=1), atol=1e-15)
    three = VSGDClassifier(loss, **FIXED).fit(X, y)
    z = three.decision_function(X)
    p = 1 / (1 + np.exp(-z)) if loss == "log_loss" else (np.clip(z, -1, 1) + 1) / 2
    shares = np.where(p.sum(axis=1, keepdims=True) > 0, p / p.sum(axis=1, keepdims=True).clip(1e-300), 1 / 3)
    np.testing.assert_allclose(three.predict_proba(X), shares, rtol=1e-13)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(three.predict_log_proba(X), np.log(shares), rtol=1e-12, atol=1e-15)


def test_log_probabilities_do_not_underflow():
    X = np.array([[1.0], [-1.0]])
    model = VSGDClassifier(random_state=0, tol=None, max_iter=5).fit(X, [1, 0])
    far = 1e4 / model.coef_[0, 0]
    log_p = model.predict_log_proba([[far], [-far]])
    assert log_p[0, 0] < -5e3 and log_p[1, 1] < -5e3
    np.testing.assert_array_equal(log_p[[0, 1], [1, 0]], 0.0)


@pytest.mark.parametrize("name", ["predict_proba", "predict_log_proba"])
def test_margins_have_no_probabilities(name):
    model = VSGDClassifier("hinge", **FIXED).fit(*CANCER)
    assert not hasattr(model, name)
    with pytest.raises(AttributeError) as caught:
        getattr(model, name)
    assert "loss must be 'log_loss' or 'modified_huber' for probabilities" in str(caught.value.__cause__)


def test_softmax_of_two_classes_is_the_binary_model():
    models = [VSGDClassifier(multi_class=how, **FIXED).fit(*CANCER) for how in ("ovr", "softmax")]
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)


def test_softmax_learns_one_model_whose_probabilities_add_up():
    model = VSGDClassifier(multi_class="softmax", max_iter=100, tol=None, random_state=0).fit(*IRIS)
    z = model.decision_function(IRIS[0])
    assert model.coef_.shape == model.rates_.shape == (3, 4)
    np.testing.assert_allclose(z, IRIS[0] @ model.coef_.T + model.intercept_, rtol=1e-12)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(IRIS[0]), p, rtol=1e-12)
    np.testing.assert_allclose(model.predict_log_proba(IRIS[0]), np.log(p), rtol=1e-10, atol=1e-14)
    assert model.score(*IRIS) > 0.95
    assert model.loss_curve_[-1] == pytest.approx(-np.log(p)[np.arange(150), IRIS[1]].mean(), abs=0.05)


def test_weights_of_classes_are_weights_of_their_samples():
    X, y = IRIS
    y = y[:120]
    X = X[:120]
    given = {0: 2.0, 2: 0.5}
    by_class = VSGDClassifier(class_weight=given, **FIXED).fit(X, y)
    by_sample = VSGDClassifier(**FIXED).fit(X, y, sample_weight=[given.get(label, 1.0) for label in y])
    np.testing.assert_array_equal(by_class.coef_, by_sample.coef_)


def test_balanced_weights_of_three_classes_have_the_mean_1():
    X, y = IRIS[0][:120], IRIS[1][:120]
    options = {"alpha": 0.1, **FIXED}  # without a penalty, a common factor of all weights changes nothing
    balanced = VSGDClassifier(class_weight="balanced", **options).fit(X, y)
    by_hand = VSGDClassifier(class_weight={0: 0.8, 1: 0.8, 2: 2.0}, **options).fit(X, y)
    np.testing.assert_allclose(balanced.coef_, by_hand.coef_, rtol=1e-12)  # 0.8 rounded in two ways
    np.testing.assert_allclose(balanced.loss_curve_, by_hand.loss_curve_, rtol=1e-12)


# -- what is learnt


def test_it_comes_to_logistic_regression_whatever_the_units():
    X, y = CANCER
    X, alpha = (X - X.mean(axis=0)) / X.std(axis=0), 0.01
    exact = LogisticRegression(C=1 / (alpha * y.size), tol=1e-8, max_iter=1000).fit(X, y)
    model = VSGDClassifier(alpha=alpha, max_iter=30, tol=None, random_state=0).fit(X, y)
    best, reached = (
        np.logaddexp(0, -(2 * y - 1) * each.decision_function(X)).mean() + alpha / 2 * (each.coef_**2).sum()
        for each in (exact, model)
    )
    assert best < reached < 1.1 * best  # online steps


def test_units_that_are_powers_of_2_change_no_bit():
    X, y = CANCER
    units = 2.0 ** np.random.default_rng(0).integers(-20, 20, X.shape[1])
    one, other = (VSGDClassifier(**FIXED).fit(rows, y) for rows in (X, X * units))
    np.testing.assert_array_equal(other.coef_ * units, one.coef_)
    np.testing.assert_array_equal(other.rates_ * units**2, one.rates_)
    one, other = (VSGDRegressor(random_state=0).fit(X, target) for target in (X[:, 0], 2.0**40 * X[:, 0]))
    assert one.n_iter_ == other.n_iter_
    np.testing.assert_array_equal(other.coef_, 2.0**40 * one.coef_)


@pytest.mark.parametrize(
    ("loss", "near"),
    # Noise of 0.1 over 300 rows leaves 0.006 a coefficient, and online steps several times that; a slope that
    # does not fall towards the optimum makes it slow.
    [("squared_error", 0.05), ("huber", 0.05), ("epsilon_insensitive", 0.05), ("absolute_error", 0.5)],
)
def test_regression_finds_the_coefficients(loss, near):
    X, y, coef, units = numbers()
    model = VSGDRegressor(loss, max_iter=60, tol=None, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.coef_ * units, coef, atol=near)
    np.testing.assert_allclose(model.intercept_, [3.0], atol=near)
    assert model.score(X, y) > 0.95


def test_poisson_predicts_means_as_the_exact_fit_does():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))
    y = rng.poisson(np.exp(X @ [0.5, -0.3, 0.2] + 1.0))
    model = VSGDRegressor("poisson", max_iter=30, tol=None, random_state=0).fit(X, y)
    exact = PoissonRegressor(alpha=0.0, tol=1e-8).fit(X, y)
    np.testing.assert_allclose(model.predict(X), exact.predict(X), rtol=0.1)  # online steps
    np.testing.assert_allclose(model.predict(X), np.exp(X @ model.coef_ + model.intercept_), rtol=1e-13)
    assert np.isfinite(model.predict(1e9 * X)).all()


def test_a_penalty_shrinks_coefficients_and_not_the_intercept():
    X, y, _, units = numbers()
    X = X / units
    sizes = [np.abs(VSGDRegressor(alpha=a, **FIXED).fit(X, y).coef_).sum() for a in (0.0, 1.0, 100.0)]
    assert sizes[0] > 1.5 * sizes[1] > 15 * sizes[2]
    assert VSGDRegressor(alpha=100.0, max_iter=30, tol=None).fit(X, y).intercept_[0] == pytest.approx(
        3, abs=0.5
    )


def test_averages_are_of_the_steps():
    plain, averaged = (VSGDClassifier(average=a, **FIXED).fit(*CANCER) for a in (False, True))
    assert not np.array_equal(plain.coef_, averaged.coef_)
    z = CANCER[0] @ averaged.coef_[0] + averaged.intercept_
    np.testing.assert_allclose(averaged.decision_function(CANCER[0]), z, rtol=1e-9, atol=1e-9)


def test_minibatches_learn_too():
    assert (
        VSGDClassifier(batch_size=10, max_iter=20, tol=None, random_state=0).fit(*CANCER).score(*CANCER) > 0.9
    )


# -- epochs


def test_fit_ends_when_the_loss_stalls():
    model = VSGDClassifier(random_state=0, n_iter_no_change=3, tol=1e-2).fit(*IRIS)
    curve = model.loss_curve_
    assert model.n_iter_ == curve.size
    has_stalled = [curve[i] > curve[:i].min(initial=np.inf) - 1e-2 for i in range(curve.size)]
    assert has_stalled[-3:] == [True] * 3
    assert not any(all(has_stalled[i - 3 : i]) for i in range(3, curve.size))


def test_too_few_epochs_warn_unless_they_were_asked_for():
    with pytest.warns(
        ConvergenceWarning, match="max_iter must suffice, got 2 epochs with the loss still falling"
    ):
        VSGDClassifier(max_iter=2).fit(*IRIS)
    assert VSGDClassifier(max_iter=2, tol=None).fit(*IRIS).n_iter_ == 2


@pytest.mark.parametrize("kind", [VSGDClassifier, VSGDRegressor])
def test_early_stopping_keeps_the_coefficients_that_were_best_on_rows_set_aside(kind):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 100)), (rng.random(200) < 0.3).astype(int)  # nothing to learn: it overfits
    model = kind(early_stopping=True, validation_fraction=0.25, random_state=0).fit(X, y)
    curve = model.validation_loss_curve_
    assert curve.size == model.loss_curve_.size == model.n_iter_
    assert curve.argmin() < curve.size - 1
    task = model._task(X, None, y, None, np.array([0, 1])) if kind is VSGDClassifier else None
    task = task or model._task(X, y, None, is_new=False)[0]
    learnt, held = model._split(task, np.random.RandomState(0))
    assert (sorted([*learnt, *held]), len(held)) == (list(range(200)), 50)
    assert abs(y[held].mean() - y.mean()) <= 1 / 50 or kind is VSGDRegressor
    target = 2.0 * y - 1.0 if kind is VSGDClassifier else y
    z = X @ model.coef_.ravel() + model.intercept_
    values = losses.values(model.loss, z[held], target[held], 0.1)
    assert values.mean() == pytest.approx(curve.min(), rel=1e-12)
    assert model.validation_score_ == pytest.approx(model.score(X[held], y[held]), rel=1e-12)


def test_a_warm_start_goes_on_with_coefficients_and_rates():
    source = np.random.RandomState(0)
    model = VSGDClassifier(max_iter=2, tol=None, warm_start=True, random_state=source)
    model.fit(*IRIS).fit(*IRIS)
    straight = VSGDClassifier(max_iter=4, tol=None, random_state=0).fit(*IRIS)
    np.testing.assert_array_equal(model.coef_, straight.coef_)
    np.testing.assert_array_equal(model.rates_, straight.rates_)
    model.set_params(alpha=1e3).fit(*IRIS)
    assert np.abs(model.coef_).max() < 0.1 * np.abs(straight.coef_).max()
    cold = VSGDClassifier(max_iter=2, tol=None, random_state=0)
    np.testing.assert_array_equal(clone(cold).fit(*IRIS).coef_, cold.fit(*IRIS).fit(*IRIS).coef_)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_ends_fit_with_what_it_has(monkeypatch, n_jobs):
    learn, calls = LinearModel.learn, []

    def interrupted(model, *args):
        calls.append(threading.current_thread())
        if len(calls) == 8:  # in the third epoch of three models
            raise KeyboardInterrupt
        return learn(model, *args)

    monkeypatch.setattr(LinearModel, "learn", interrupted)
    model = VSGDClassifier(random_state=0, n_jobs=n_jobs)
    with pytest.warns(ConvergenceWarning, match="epochs must run to their end, got Ctrl-C after 2 of them"):
        model.fit(*IRIS)
    assert model.n_iter_ == model.loss_curve_.size == 2
    assert model.score(*IRIS) > 0.5
    before = model.coef_
    assert n_jobs == 1 or not any(thread.is_alive() for thread in calls)
    np.testing.assert_array_equal(model.coef_, before)
    model.partial_fit(*IRIS)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("verbose", [False, True])
def test_verbose_shows_a_bar_on_a_terminal(monkeypatch, verbose):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    VSGDClassifier(max_iter=7, tol=None, verbose=verbose).fit(*IRIS)
    assert ("/7 " in terminal.getvalue()) == verbose


# -- the package


@pytest.mark.process
def test_the_package_offers_both():
    assert (refsgd.VSGDClassifier, refsgd.VSGDRegressor) == (VSGDClassifier, VSGDRegressor)
    assert {"VSGDClassifier", "VSGDRegressor"} < set(dir(refsgd))
    program = (
        "import sys, refsgd\nsys.modules['sklearn'] = None\n"
        "for name in ('VSGDClassifier', 'VSGDRegressor'):\n"
        "    try: getattr(refsgd, name)\n"
        "    except ImportError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for line, name in zip(run.stdout.splitlines(), ("VSGDClassifier", "VSGDRegressor"), strict=True):
        assert line.startswith(f"refsgd.{name} is not available (")
        assert 'pip install "refsgd[sklearn]"' in line


def test_losses_are_those_of_the_rule():
    assert set(REGRESSION_LOSSES) == {
        "squared_error", "huber", "epsilon_insensitive", "absolute_error", "poisson"
    }  # fmt: skip


def test_what_is_not_fitted_says_so():
    for estimator in (VSGDClassifier(), VSGDRegressor()):
        assert not hasattr(estimator, "coef_")
        with pytest.raises(NotFittedError):
            estimator.predict(IRIS[0])


@pytest.mark.slow
def test_the_example_of_the_guide_prints_what_it_claims(capsys):
    text = (Path(__file__).parents[1] / "docs" / "linear.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```\n\n((?:    [^\n]*\n)+)", text, re.DOTALL)
    assert len(blocks) >= 2
    for code, claim in blocks:
        exec(code, {})
        assert capsys.readouterr().out == textwrap.dedent(claim)
