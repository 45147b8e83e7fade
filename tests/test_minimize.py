"""The functional door: minibatches, callbacks, results, and how a run ends."""

from __future__ import annotations

import io
import warnings
from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from scipy.special import expit

from refsgd import VSGD, Moments, NumericalWarning, PublishedVSGD, iterate, minimize
from refsgd.baselines import SGD
from refsgd.models import Logistic
from refsgd.sgd.stopping import MaxSteps

ROWS = np.arange(10.0)[:, np.newaxis] * np.ones(3)  # each row names itself


def slopes(x, X):
    """Per-sample gradients of ``u**2 / 2 + log(1 + u**2) / 2`` with ``u = x - X``."""
    u = x - X
    return u + u / (1 + u * u)


class Recorder:
    """A gradient that keeps the minibatches it saw, and does something else at one call."""

    def __init__(self, trouble=None, at=None):
        self.batches, self.points, self.n_calls = [], [], 0
        self.trouble, self.at = trouble, at

    def __call__(self, x, X):
        self.n_calls += 1
        if self.n_calls == self.at:
            return self.trouble(X)
        self.points.append(x.copy())
        self.batches.append(X[:, 0].tolist())
        return slopes(x, X)


def interrupt(X):
    raise KeyboardInterrupt


def not_a_number(X):
    return np.full(X.shape, np.nan)


def calls(**options):
    """How often grad is called before each step, and in all."""
    grad = Recorder()
    steps = iterate(grad, np.zeros(3), (ROWS,), random_state=0, **options)
    return [0] + [grad.n_calls for _ in steps]


@pytest.fixture(scope="module")
def regression():
    """Logistic regression on features of unlike scales, not separable; with its least loss."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 4)) * [1.0, 0.1, 5.0, 1.0] + [0.0, 0.0, 1.0, -1.0]
    y = (rng.random(1000) < expit(X @ [2.0, -5.0, 0.3, -1.0] + 0.5)).astype(int)
    model = Logistic(4)
    best = scipy.optimize.minimize(
        model.loss, model.init(), (X, y), jac=lambda x, X, y: model.grad(x, X, y).mean(axis=0)
    )
    return model, X, y, best.fun


# -- convergence


@pytest.mark.parametrize(("batch_size", "epochs"), [(1, 2), (10, 5)])
def test_logistic_regression_converges_without_tuning(backend, regression, batch_size, epochs):
    model, X, y, best = regression
    res = minimize(
        model.grad,
        model.init(),
        (X, y),
        fun=model.loss,
        batch_size=batch_size,
        epochs=epochs,
        random_state=0,
        backend=backend,
    )
    # Starts 0.35 above the least loss. Over eight data sets it ended within 0.015 of it.
    assert model.loss(model.init(), X, y) > best + 0.3
    assert best <= res.fun < best + 0.02
    assert res.success


def test_published_rule_may_be_asked_for(regression):
    model, X, y, best = regression
    options = dict(fun=model.loss, batch_size=10, epochs=5, random_state=0)
    res = minimize(model.grad, model.init(), (X, y), method="vsgd-fd", **options)
    rule = minimize(model.grad, model.init(), (X, y), method=PublishedVSGD(), **options)
    default = minimize(model.grad, model.init(), (X, y), **options)
    np.testing.assert_array_equal(res.x, rule.x)
    assert best < default.fun < res.fun < best + 0.05  # slower; within 0.025 over four seeds
    assert res.state["rule"] != default.state["rule"] == "VSGD"
    assert res.njev == 2 * res.nit - 1  # a second point for each minibatch but the first


def test_moments_serve_as_well_as_rows(regression):
    model, X, y, _ = regression
    options = dict(batch_size=10, epochs=2, random_state=0)
    rows = minimize(model.grad, model.init(), (X, y), **options)
    moments = minimize(model.moments, model.init(), (X, y), **options)
    # The same means through other sums: rounding, which secants over short probes amplify.
    np.testing.assert_allclose(moments.x, rows.x, rtol=1e-7)
    merged = minimize(lambda x, X, y: Moments(*model.moments(x, X, y)), model.init(), (X, y), **options)
    np.testing.assert_array_equal(merged.x, moments.x)


def test_mean_is_all_that_the_default_rule_needs(regression):
    """Mean gradients, and moments without mean squares, make the steps of moments; (d,) is one sample."""
    model, X, y, _ = regression
    options = dict(batch_size=10, epochs=2, random_state=0)
    full = minimize(model.moments, model.init(), (X, y), **options)

    def without_squares(x, X, y):
        n, mean, _ = model.moments(x, X, y)
        return Moments(n, mean)

    def mean_only(x, X, y):
        return model.moments(x, X, y)[1]

    moments = minimize(without_squares, model.init(), (X, y), **options)
    mean = minimize(mean_only, model.init(), (X, y), **options)
    for res, n_samples in ((moments, 2000), (mean, 200)):
        np.testing.assert_array_equal(res.x, full.x)
        assert (res.njev, res.nsamples) == (full.njev, n_samples)
    with pytest.raises(ValueError, match=r"mean_sq .*must be given for n_samples > 1, got None"):
        minimize(without_squares, model.init(), (X, y), method="vsgd-fd", **options)


# -- minibatches


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 10, 11])
def test_each_epoch_visits_every_row_once(batch_size):
    grad = Recorder()
    res = minimize(grad, np.zeros(3), (ROWS,), batch_size=batch_size, epochs=3, random_state=0)
    first = calls(batch_size=batch_size, epochs=3)
    batches = [grad.batches[first[step]] for step in range(res.nit)]
    steps = -(-10 // batch_size)
    assert res.nit == 3 * steps
    orders = []
    for epoch in range(3):
        visited = batches[epoch * steps : (epoch + 1) * steps]
        sizes = [len(batch) for batch in visited]
        assert sizes[:-1] == [batch_size] * (steps - 1)
        orders.append([row for batch in visited for row in batch])
        assert sorted(orders[-1]) == ROWS[:, 0].tolist()
    assert len({tuple(order) for order in orders}) == 3


def test_both_points_see_the_same_rows():
    grad = Recorder()
    res = minimize(grad, np.zeros(3), (ROWS,), batch_size=4, epochs=5, random_state=0)
    n_opened = 0
    for first, end in pairwise(calls(batch_size=4, epochs=5)):
        if end - first == 2:
            n_opened += 1
            assert grad.batches[first] == grad.batches[first + 1]
            assert not np.array_equal(grad.points[first], grad.points[first + 1])
        else:
            assert end - first == 1
    assert n_opened == res.njev - res.nit
    assert 9 < n_opened < 14  # all of the start but its first minibatch, and some after it


def test_arrays_are_cut_alike():
    seen = []

    def grad(x, X, y, weights):
        seen.append((X.toarray()[:, 0].tolist(), y.tolist(), weights.tolist()))
        return x - X.toarray()

    args = [scipy.sparse.csr_matrix(ROWS), list(range(10)), ROWS[:, 0]]
    minimize(grad, np.zeros(3), args, batch_size=4, random_state=0)
    assert len(seen) == 5
    assert all(X == y == weights for X, y, weights in seen)


def test_single_array_needs_no_tuple():
    res = minimize(slopes, np.zeros(3), ROWS, random_state=0)
    np.testing.assert_array_equal(res.x, minimize(slopes, np.zeros(3), (ROWS,), random_state=0).x)


@pytest.mark.parametrize(
    ("epochs", "max_iter", "steps"),
    [(None, None, 3), (1, None, 3), (4, None, 12), (None, 7, 7), (2, 100, 6), (2, 4, 4), (None, 1, 1)],
)
def test_epochs_and_max_iter_bound_the_steps(epochs, max_iter, steps):
    grad = Recorder()
    res = minimize(grad, np.zeros(3), (ROWS,), batch_size=4, epochs=epochs, max_iter=max_iter, random_state=0)
    assert (res.nit, res.njev) == (steps, grad.n_calls)
    assert res.nsamples == sum([4, 4, 2][step % 3] for step in range(steps))


def test_without_data_max_iter_is_needed():
    with pytest.raises(
        ValueError, match="max_iter must be given where args is empty, got None; pass max_iter"
    ):
        minimize(lambda x: x[np.newaxis], np.ones(2))
    res = minimize(lambda x: x[np.newaxis], np.ones(2), max_iter=60)
    assert (res.nit, res.nsamples) == (60, 60)
    assert abs(res.x).max() < 0.1


# -- randomness


def test_random_state_makes_a_run_reproducible():
    def run(random_state):
        return minimize(slopes, np.zeros(3), (ROWS,), epochs=4, random_state=random_state).x

    np.testing.assert_array_equal(run(3), run(3))
    np.testing.assert_array_equal(run(3), run(np.random.default_rng(3)))
    assert not np.array_equal(run(3), run(4))
    assert not np.array_equal(run(None), run(None))  # one order in 10! is the same
    rng = np.random.default_rng(3)
    assert not np.array_equal(run(rng), run(rng))


def test_no_global_seed_is_touched():
    np.random.random()  # noqa: NPY002 - so that it differs from every freshly seeded one
    before = np.random.get_state()  # noqa: NPY002 - what must not change
    minimize(slopes, np.zeros(3), (ROWS,), epochs=2)
    after = np.random.get_state()  # noqa: NPY002
    assert before[0] == after[0] and before[2:] == after[2:]
    np.testing.assert_array_equal(before[1], after[1])


# -- callbacks


def test_callback_sees_x_after_each_step():
    seen = []
    res = minimize(
        slopes, np.zeros(3), (ROWS,), epochs=2, random_state=0, callback=lambda xk: seen.append(xk)
    )
    assert len(seen) == 20
    np.testing.assert_array_equal(seen[:10], np.zeros((10, 3)))  # the start
    assert all((one != other).all() for one, other in pairwise(seen[9:]))
    np.testing.assert_array_equal(seen[-1], res.x)


def test_callback_may_take_the_intermediate_result():
    seen = []

    def callback(*, intermediate_result):
        seen.append(intermediate_result)

    res = minimize(slopes, np.zeros(3), (ROWS,), batch_size=4, epochs=5, random_state=0, callback=callback)
    assert [each.nit for each in seen] == list(range(1, 16))
    assert [each.nsamples for each in seen[:4]] == [4, 8, 10, 14]
    np.testing.assert_array_equal(seen[-1].x, res.x)
    assert not np.array_equal(seen[-2].x, res.x)
    assert isinstance(seen[0], scipy.optimize.OptimizeResult)


def test_callback_may_stop_the_run():
    def callback(intermediate_result):
        if intermediate_result.nit == 12:
            raise StopIteration

    res = minimize(slopes, np.zeros(3), (ROWS,), epochs=3, random_state=0, callback=callback)
    shorter = minimize(slopes, np.zeros(3), (ROWS,), max_iter=12, random_state=0)
    assert (res.success, res.status, res.nit) == (True, 1, 12)
    assert res.message == "the callback stopped the run"
    np.testing.assert_array_equal(res.x, shorter.x)


def test_callback_that_changes_its_x_changes_nothing_else():
    def callback(xk):
        xk[:] = np.nan

    res = minimize(slopes, np.zeros(3), (ROWS,), epochs=2, random_state=0, callback=callback)
    np.testing.assert_array_equal(res.x, minimize(slopes, np.zeros(3), (ROWS,), epochs=2, random_state=0).x)


def test_errors_of_the_caller_are_not_swallowed():
    def callback(xk):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        minimize(slopes, np.zeros(3), (ROWS,), callback=callback)
    with pytest.raises(TypeError, match="not a callable"):
        minimize(slopes, np.zeros(3), (ROWS,), callback=5)


def test_stop_iteration_in_the_gradient_is_no_success():
    stream = iter([np.ones((1, 3))] * 5)
    with pytest.raises(StopIteration):
        minimize(lambda x: next(stream), np.zeros(3), max_iter=10)


# -- runs that end early

at_each_point = pytest.mark.parametrize(
    ("step", "second"), [(0, False), *((step, second) for step in (1, 6, 13) for second in (False, True))]
)


@at_each_point
def test_interrupt_returns_what_was_reached(step, second):
    grad = Recorder(interrupt, calls(epochs=3)[step] + 1 + second)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        res = minimize(grad, np.zeros(3), (ROWS,), epochs=3, random_state=0)
    assert (res.success, res.status, res.nit, res.nsamples) == (False, 3, step, step)
    assert "interrupted" in res.message
    if step:
        shorter = minimize(slopes, np.zeros(3), (ROWS,), max_iter=step, random_state=0)
        np.testing.assert_array_equal(res.x, shorter.x)
        np.testing.assert_array_equal(res.rates, shorter.rates)
    else:
        np.testing.assert_array_equal(res.x, np.zeros(3))


@at_each_point
def test_gradient_that_is_not_finite_ends_the_run_at_the_last_good_x(backend, step, second):
    grad = Recorder(not_a_number, calls(epochs=3)[step] + 1 + second)
    what = "grad at the second point" if second else "grad"
    match = f"^{what} must be finite.* at step {step}, got 3 of 3"
    with pytest.warns(NumericalWarning, match=match) as caught:
        res = minimize(
            grad, np.zeros(3), (ROWS,), epochs=3, random_state=0, fun=lambda x, X: 1.0, backend=backend
        )
    assert len(caught) == 1 and caught[0].filename == __file__
    assert (res.success, res.status, res.nit) == (False, 2, step)
    assert f"at step {step}, got 3 of 3 entries that are not (first: index 0, nan)" in res.message
    assert res.njev == grad.n_calls - 1  # all but the one that is refused
    good = np.zeros(3)
    if step:
        shorter = minimize(slopes, np.zeros(3), (ROWS,), max_iter=step, random_state=0, backend=backend)
        good = shorter.x
        assert shorter.state.keys() == res.state.keys()
        for name in shorter.state:
            np.testing.assert_array_equal(shorter.state[name], res.state[name])
    np.testing.assert_array_equal(res.x, good)


def test_state_of_a_run_that_failed_can_be_resumed():
    grad = Recorder(not_a_number, calls(epochs=3)[12] + 1)
    with pytest.warns(NumericalWarning):
        res = minimize(grad, np.zeros(3), (ROWS,), epochs=3, random_state=0)
    run = VSGD().start(np.zeros(3))
    run.load_state_dict(res.state)
    assert run.n_steps == 12
    run.tell(slopes(run.ask(), ROWS[:2]))
    if run.is_open:
        run.tell(slopes(run.ask(), ROWS[:2]))
    assert (run.x != res.x).all()


def test_gradient_may_be_written_to_the_same_array_each_time():
    out = np.empty((1, 2))

    def grad(x):
        out[0] = x
        return out

    res = minimize(grad, np.ones(2), max_iter=100)
    np.testing.assert_array_equal(res.x, minimize(lambda x: x[np.newaxis].copy(), np.ones(2), max_iter=100).x)


# -- results


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_result_is_complete(dtype):
    x0 = np.linspace(-1, 1, 3, dtype=dtype)
    res = minimize(slopes, x0, (ROWS.astype(dtype),), batch_size=4, epochs=5, random_state=0)
    assert isinstance(res, scipy.optimize.OptimizeResult)
    names = ["fun", "message", "nit", "njev", "nsamples", "rates", "state", "status", "success", "x"]
    assert sorted(res) == names
    assert (res.success, res.status, res.nit, res.nsamples) == (True, 0, 15, 50)
    assert res.njev == calls(batch_size=4, epochs=5)[-1]
    assert res.message == "the epochs or steps asked for are done"
    assert np.isnan(res.fun)
    assert res.x.dtype == res.rates.dtype == dtype
    assert (res.rates > 0).all()
    run = VSGD().start(np.zeros(3, dtype))
    run.load_state_dict(res.state)
    np.testing.assert_array_equal(run.x, res.x)
    np.testing.assert_array_equal(run.rates, res.rates)
    np.testing.assert_array_equal(x0, np.linspace(-1, 1, 3, dtype=dtype))


def test_fun_may_give_each_loss_or_their_mean():
    def losses(x, X):
        return ((x - X) ** 2).sum(axis=1)

    options = dict(epochs=2, random_state=0)
    each = minimize(slopes, np.zeros(3), (ROWS,), fun=losses, **options)
    mean = minimize(slopes, np.zeros(3), (ROWS,), fun=lambda x, X: losses(x, X).mean(), **options)
    assert type(each.fun) is float
    assert each.fun == mean.fun == losses(each.x, ROWS).mean()
    assert minimize(lambda x: x[np.newaxis], np.ones(2), max_iter=3, fun=np.sum).fun == 2.0


def test_average_of_x_is_in_the_result_where_the_rule_keeps_it():
    options = dict(epochs=4, random_state=0)
    plain = minimize(slopes, np.zeros(3), (ROWS,), **options)
    res = minimize(slopes, np.zeros(3), (ROWS,), method=VSGD(average=True), **options)
    assert "x_avg" not in plain
    np.testing.assert_array_equal(res.x, plain.x)  # kept beside x
    x_avg = np.zeros(3)
    xs = [step.x.copy() for step in iterate(slopes, np.zeros(3), (ROWS,), **options)]
    for t, x in enumerate(xs[10:], start=1):  # the steps after the start
        x_avg += min(1, 9 / (t + 8)) * (x - x_avg)
    np.testing.assert_allclose(res.x_avg, x_avg, rtol=1e-12)  # 30 roundings, in another order
    res.x_avg[:] = np.nan  # a copy
    assert np.isfinite(res.state["x_avg"]).all()


def test_groups_begin_with_their_first_gradient():
    """The second group has no gradient for 30 steps, and stands still for ten when it begins."""
    data = np.random.default_rng(0).normal([3.0, 3.0, 3.0], 0.1, (200, 3))
    steps = []

    def grad(x, rows):
        return (x - rows) * [1, 1, len(steps) >= 30]

    options = dict(groups=[2, 1], max_iter=200, random_state=0)
    for run in iterate(grad, np.zeros(3), data, **options):
        steps.append(run.x.copy())
    x = np.array(steps)
    assert (x[:40, 2] == 0).all() and x[40, 2] != 0
    assert (x[9, :2] == 0).all() and (x[10, :2] != 0).all()
    assert (x[29] == x[39]).all()  # a third of the parameters is new: all stand still
    np.testing.assert_allclose(x[-1], 3, atol=0.1)


# -- runs that make no sense


def test_loss_that_rises_is_no_success():
    """The gradients are those of another loss."""
    start = np.full(3, 4.5)  # near the mean of the rows
    options = dict(epochs=5, random_state=0, fun=lambda x, X: np.sum((x - X) ** 2, axis=1))
    res = minimize(lambda x, X: slopes(x, X + 10), start, (ROWS,), **options)
    assert (res.success, res.status, res.nit) == (False, 4, 50)
    began = np.sum((start - ROWS) ** 2, axis=1).mean()
    assert res.message == (
        f"the epochs or steps asked for are done, but fun rose from {began:.6g} to {res.fun:.6g}"
    )


@pytest.mark.parametrize(("rise", "status"), [(1.05, 0), (1.15, 4)])
def test_loss_may_rise_by_a_tenth(rise, status):
    losses = iter([-2.0, -2.0 * (2 - rise)])  # a rise is a share of the size of the loss
    res = minimize(slopes, np.zeros(3), (ROWS,), random_state=0, fun=lambda x, X: next(losses))
    assert (res.status, res.success) == (status, status == 0)


def test_loss_that_rises_after_a_stop_is_no_success():
    losses = iter([1.0, 2.0])
    res = minimize(slopes, np.zeros(3), (ROWS,), stop=MaxSteps(5), fun=lambda x, X: next(losses))
    assert (res.status, res.success) == (4, False)
    assert res.message == "5 steps were asked for and are done, but fun rose from 1 to 2"


def test_run_that_finds_trouble_says_so_without_fun():
    """A plane has no curvature: steps grow up to what makes sense."""
    res = minimize(lambda x: np.array([[1.0, -2.0]]), np.zeros(2), max_iter=2000)
    assert (res.status, res.success, res.nit) == (4, False, 2000)
    assert res.message.startswith("the epochs or steps asked for are done, but no curvature was seen up to")
    assert minimize(lambda x: np.array([[1.0, -2.0]]), np.zeros(2), max_iter=20).success


# -- arguments


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"grad": 5}, TypeError, r"grad must be callable, got 5; pass a function grad\(x, \*batch\)"),
        ({"x0": np.zeros((3, 1))}, ValueError, r"x0 must have shape \(d,\), got \(3, 1\)"),
        ({"x0": np.zeros(3, int)}, TypeError, "x0 must have dtype float32 or float64, got int64"),
        ({"x0": np.array([0, np.nan, 0])}, ValueError, "x0 must be finite, got 1 of 3"),
        ({"x0": np.zeros(0)}, ValueError, "x0 must have at least one parameter"),
        (
            {"args": (ROWS, ROWS[:4])},
            ValueError,
            r"args must be arrays that share .* \[\(10, 3\), \(4, 3\)\]; pass \(X, y",
        ),
        (
            {"args": (ROWS, 0.1)},
            ValueError,
            r"args must be arrays .* bind other arguments with functools\.partial",
        ),
        (
            {"args": (ROWS[:0],)},
            ValueError,
            r"args must be arrays that share a non-empty axis 0, got .*\(0, 3\)",
        ),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.0}, TypeError, r"batch_size must be an integer, got 2\.0"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": True}, TypeError, "epochs must be an integer, got True"),
        ({"max_iter": -3}, ValueError, "max_iter must be at least 1, got -3"),
        ({"max_iter": "10"}, TypeError, "max_iter must be an integer, got '10'"),
        ({"method": "adam"}, ValueError, "method must be one of .*'vsgd-b', got 'adam'; choose one of these"),
        ({"method": VSGD}, ValueError, "method must be one of .*'vsgd-b', got <class"),
        ({"backend": "gpu"}, ValueError, "backend must be one of 'auto', 'c', 'numba', 'numpy', got 'gpu'"),
        ({"random_state": -1}, ValueError, "non-negative"),
        ({"grad": lambda x, X: x - X[:, :2]}, ValueError, "broadcast"),
        (
            {"grad": lambda x, X: slopes(x, X)[:, :2]},
            ValueError,
            r"grad must have shape \(n, 3\), got \(1, 2\)",
        ),
        (
            {"grad": lambda x, X: slopes(x, X)[0, :2]},
            ValueError,
            r"grad must have shape \(3,\), got \(2,\); pass the mean gradient \(d,\) or one row per",
        ),
        ({"grad": lambda x, X: None}, TypeError, "grad must have dtype float32 or float64, got object"),
        ({"grad": lambda x, X: (0, x)}, ValueError, "n_samples of grad must be at least 1, got 0"),
        ({"grad": lambda x, X: (4,)}, ValueError, "grad must have the fields n_samples, mean and mean_sq"),
        ({"groups": [1, 1]}, ValueError, r"groups must add up to 3 parameters, got 2; give the number of"),
        ({"groups": [3, 0]}, ValueError, "each of groups must be at least 1, got 0"),
        (
            {"groups": [1, 2], "weighting": "sparse"},
            ValueError,
            "groups must be None with weighting='sparse'",
        ),
        ({"groups": [1, 2], "method": "vsgd-fd"}, ValueError, "groups must be None with method='vsgd-fd'"),
        ({"groups": [1, 2], "method": PublishedVSGD()}, ValueError, "groups must be None with method=Publ"),
        ({"groups": [1, 2], "method": SGD(0.1)}, ValueError, r"groups must be None with method=SGD"),
    ],
)
def test_refused_arguments(change, error, match):
    with pytest.raises(error, match=match):
        minimize(**{"grad": slopes, "x0": np.zeros(3), "args": (ROWS,)} | change)


# -- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("progress", [False, True])
def test_progress_is_silent_without_a_terminal(capfd, progress):
    minimize(slopes, np.zeros(3), (ROWS,), epochs=2, progress=progress)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("progress", [False, True])
def test_progress_shows_on_a_terminal_where_asked_for(monkeypatch, progress):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    minimize(slopes, np.zeros(3), (ROWS,), epochs=2, progress=progress)
    assert ("/20 " in terminal.getvalue()) == progress
