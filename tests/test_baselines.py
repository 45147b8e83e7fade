"""The baselines: against plain loops, closed forms, and as runs that are saved, resumed and refused."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import scipy.sparse

import refsgd.sgd.scipy_method
from refsgd import Moments
from refsgd.baselines import SGD, AdaGrad, Adam, RMSprop

RULES = [SGD(0.05, decay=0.1), AdaGrad(0.5), RMSprop(0.02), Adam(0.05)]
every_rule = pytest.mark.parametrize("rule", RULES, ids=["sgd", "adagrad", "rmsprop", "adam"])


def draws(n_steps, n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n_steps, n, d))


def drive(run, samples, scale=1.0):
    """Tell the gradients of ``scale |x - sample|**2 / 2``; return the trajectory of x."""
    xs = []
    for c in samples:
        run.tell(scale * (run.ask() - c))
        xs.append(run.x.copy())
    return np.array(xs)


def assert_same(one, other):
    """Bit for bit the same run."""
    saved, expected = one.state_dict(), other.state_dict()
    assert saved.keys() == expected.keys()
    for name in saved:
        assert saved[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(saved[name], expected[name], err_msg=name)
    np.testing.assert_array_equal(one.rates, other.rates)


def started(rule, d=3, steps=0, n=2):
    run = rule.start(np.linspace(-2.0, 3.0, d))
    drive(run, draws(steps, n, d))
    return run


# -- slow twins: one parameter, from the papers


class PlainSGD:
    def __init__(self, rate, decay=0.0):
        self.rate, self.decay, self.t = rate, decay, 0

    def step(self, g):
        rate = self.rate / (1 + self.decay * self.t)
        self.t += 1
        return rate * g


class PlainAdaGrad:
    """Duchi, Hazan & Singer, figure 1: ``s_t = |g_{1:t}|`` and ``H_t = delta + s_t``."""

    def __init__(self, rate, eps=1e-10):
        self.rate, self.eps, self.gs = rate, eps, []

    def step(self, g):
        self.gs.append(g)
        return self.rate * g / (self.eps + math.hypot(*self.gs))


class PlainRMSprop:
    """Tieleman & Hinton, slide 29: ``MeanSquare(t) = 0.9 MeanSquare(t - 1) + 0.1 g**2``."""

    def __init__(self, rate, beta=0.99, eps=1e-8):
        self.rate, self.beta, self.eps, self.mean_square = rate, beta, eps, 0.0

    def step(self, g):
        self.mean_square = self.beta * self.mean_square + (1 - self.beta) * g**2
        return self.rate * g / (math.sqrt(self.mean_square) + self.eps)


class PlainAdam:
    """Kingma & Ba, algorithm 1."""

    def __init__(self, rate=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
        self.rate, self.beta1, self.beta2, self.eps = rate, beta1, beta2, eps
        self.m = self.v = 0.0
        self.t = 0

    def step(self, g):
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g**2
        m_hat = self.m / (1 - self.beta1**self.t)
        v_hat = self.v / (1 - self.beta2**self.t)
        return self.rate * m_hat / (math.sqrt(v_hat) + self.eps)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize(
    ("rule", "plain"),
    [
        (SGD(0.05), lambda: PlainSGD(0.05)),
        (SGD(0.1, decay=0.05), lambda: PlainSGD(0.1, 0.05)),
        (AdaGrad(0.5), lambda: PlainAdaGrad(0.5)),
        (AdaGrad(0.5, eps=0.3), lambda: PlainAdaGrad(0.5, 0.3)),
        (RMSprop(0.02), lambda: PlainRMSprop(0.02)),
        (RMSprop(0.02, beta=0.9, eps=0.3), lambda: PlainRMSprop(0.02, 0.9, 0.3)),
        (Adam(), PlainAdam),
        (Adam(0.05, beta1=0.5, beta2=0.9, eps=0.3), lambda: PlainAdam(0.05, 0.5, 0.9, 0.3)),
    ],
    ids=lambda value: repr(value) if isinstance(value, refsgd.baselines.Baseline) else None,
)
def test_run_is_what_plain_loops_give(backend, rule, plain, n):
    curvatures, x0 = [1.0, 0.01, 5.0, 0.0], [5.0, -40.0, 0.1, 2.0]
    run = rule.start(np.array(x0), backend=backend)
    x, plains = list(x0), [plain() for _ in x0]
    for c in draws(200, n, 4, seed=3):
        gradients = [[curvatures[i] * (x[i] - row[i]) for row in c] for i in range(4)]
        x = [x[i] - plains[i].step(math.fsum(gradients[i]) / n) for i in range(4)]
        run.tell(np.array(curvatures) * (run.ask() - c))
        # Other orders of the same sums: a few roundings a step, none of which the rules amplify.
        np.testing.assert_allclose(run.x, x, rtol=1e-12, atol=1e-12)
    assert x[3] == 2.0  # never a gradient
    assert (run.x[:3] != x0[:3]).all()


# -- closed forms


@pytest.mark.parametrize("rate", [1e-3, 0.5])
def test_first_step_of_adam_is_the_rate_along_the_sign(rate):
    g = np.array([1e-3, -7.0, 1e5, -1.0])
    run = Adam(rate).start(np.zeros(4))
    run.tell(g[np.newaxis])
    np.testing.assert_allclose(run.x, -rate * g / (np.abs(g) + 1e-8), rtol=1e-14)  # a few roundings
    np.testing.assert_allclose(run.x, -rate * np.sign(g), rtol=1.1e-5)  # eps / |g| is at most 1e-5


def test_adam_goes_at_its_rate_down_a_constant_slope():
    run = Adam(0.01).start(np.zeros(2))
    for t in range(1, 2001):
        run.tell(np.array([[3.0, -0.2]]))
        np.testing.assert_allclose(run.x, [-0.01 * t, 0.01 * t], rtol=6e-8)  # eps / |g| is 5e-8


def test_adagrad_goes_as_the_root_of_time_down_a_constant_slope():
    run = AdaGrad(0.1).start(np.zeros(2))
    drops = 0.1 / np.sqrt(np.arange(1, 101))
    for drop in np.cumsum(drops):
        run.tell(np.array([[3.0, -0.2]]))
        np.testing.assert_allclose(run.x, [-drop, drop], rtol=1e-8)  # eps / |g| is 5e-10


def test_sgd_with_decaying_rate_averages_the_samples():
    samples = draws(100, 1, 3)
    run = SGD(1.0, decay=1.0).start(np.full(3, 7.0))
    drive(run, samples)
    np.testing.assert_allclose(run.x, samples.mean(axis=(0, 1)), atol=1e-14)  # of 100 numbers near 1


# -- the interface of a run


@every_rule
def test_rates_are_what_the_latest_step_used(rule):
    run = started(rule, d=4)
    np.testing.assert_array_equal(run.rates, np.zeros(4))
    for c in draws(20, 3, 4):
        before, grad = run.x.copy(), (run.x - c).mean(axis=0)
        run.tell(run.x - c)
        direction = run.state_dict()["g_avg"] if isinstance(rule, Adam) else grad
        # x is of the order of 1: what a step loses is a rounding of x, and the mean is summed otherwise.
        np.testing.assert_allclose(before - run.x, run.rates * direction, rtol=1e-10, atol=1e-15)
    assert run.rates.shape == (4,) and (run.rates > 0).all()


def test_rate_of_sgd_counts_the_steps_before():
    run = SGD(0.5, decay=0.25).start(np.zeros(2))
    rates = []
    for _ in range(4):
        run.tell(np.ones((1, 2)))
        rates.append(run.rates.tolist())
    assert rates == [[0.5 / (1 + 0.25 * t)] * 2 for t in range(4)]


@every_rule
def test_asking_gives_x_and_telling_counts(rule):
    run = started(rule)
    assert (run.n_steps, run.n_samples, run.batch_size) == (0, 0, 1)
    point = run.ask()
    np.testing.assert_array_equal(point, run.x)
    for n in (3, 1, 5):
        drive(run, draws(1, n, 3))
        assert run.batch_size == n
    assert (run.n_steps, run.n_samples, run.n_gradients) == (3, 9, 3)
    assert not run.is_open
    assert rule.requires == ()


@every_rule
def test_x_is_a_view_that_follows_the_run(rule):
    run = started(rule)
    view, point = run.x, run.ask()
    drive(run, draws(1, 2, 3))
    np.testing.assert_array_equal(view, started(rule, steps=1).x)
    assert np.shares_memory(view, run.x) and np.shares_memory(point, run.x)


@every_rule
def test_float32_stays_float32(backend, rule):
    run = rule.start(np.linspace(-2, 3, 5, dtype=np.float32), backend=backend)
    for c in draws(15, 3, 5):  # gradients in float64
        run.tell(run.x - c)
        assert {a.dtype for a in (run.x, run.rates, run.ask())} == {np.dtype(np.float32)}
    saved = run.state_dict()
    assert {saved[name].dtype for name in ("x", *rule.averages)} == {np.dtype(np.float32)}
    twin = rule.start(np.linspace(-2, 3, 5), backend=backend)
    drive(twin, draws(15, 3, 5))
    # 15 steps of some ten roundings each, of numbers up to 3: 15 * 10 * 3 * 6e-8 if all went one way.
    np.testing.assert_allclose(run.x, twin.x, atol=3e-5)


def test_float32_stays_float32_beside_hyper_parameters_of_numpy():
    for rule in (SGD(np.float64(0.1)), Adam(np.logspace(-3, -1, 3)[0], eps=np.float64(1e-8))):
        run = rule.start(np.ones(2, np.float32))
        drive(run, [np.zeros((1, 2), np.float32)] * 3)
        assert run.x.dtype == run.rates.dtype == np.float32
    assert SGD(np.float64(0.1)) == SGD(0.1)
    assert repr(SGD(np.float64(0.1))) == "SGD(rate=0.1, decay=0.0)"


@every_rule
@pytest.mark.parametrize("n", [1, 5])
def test_rows_moments_and_tuples_give_the_same_run(backend, rule, n):
    forms = [
        lambda rows: rows,
        lambda rows: np.asfortranarray(rows),
        lambda rows: rows.tolist(),
        lambda rows: Moments.from_rows(rows, backend=backend),
        lambda rows: tuple(Moments.from_rows(rows, backend=backend)),
        lambda rows: tuple(Moments.from_rows(rows, backend=backend))[:2],  # only the mean is used
        scipy.sparse.csr_array,
    ]
    runs = [rule.start(np.linspace(-2, 3, 5), backend=backend) for _ in forms]
    for form, run in zip(forms, runs, strict=True):
        for c in draws(30, n, 5):
            run.tell(form(run.x - c))
    for run in runs[1:]:
        assert_same(run, runs[0])


@every_rule
def test_mean_gradient_counts_as_one_sample(rule):
    mean, row = started(rule), started(rule)
    for c in draws(30, 1, 3):
        mean.tell((mean.x - c)[0])
        row.tell(row.x - c)
    assert_same(mean, row)
    assert mean.n_samples == 30


@every_rule
def test_gradient_may_be_a_view_of_the_point(rule):
    """Of ``x**2 / 2`` the gradient is x itself."""
    view, copy = rule.start(np.array([3.0, -1.0])), rule.start(np.array([3.0, -1.0]))
    for _ in range(30):
        view.tell(view.ask()[np.newaxis])
        copy.tell(copy.ask()[np.newaxis].copy())
    assert_same(view, copy)


@every_rule
def test_start_keeps_its_own_copy_of_x0(rule):
    x0 = np.array([1.0, 2.0])
    drive(rule.start(x0), draws(3, 2, 2))
    np.testing.assert_array_equal(x0, [1.0, 2.0])


@every_rule
def test_scipy_calls_solve_with_the_rule(rule, monkeypatch):
    calls = []
    monkeypatch.setattr(
        refsgd.sgd.scipy_method, "solve", lambda *args, **options: calls.append((args, options))
    )
    rule("fun", "x0", ("X", "y"), jac="jac", epochs=3)
    assert calls == [((rule, "fun", "x0", ("X", "y")), {"jac": "jac", "epochs": 3})]


# -- checkpoints


@every_rule
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saved_run_goes_on_to_the_last_bit_from_any_step(rule, dtype):
    samples, x0 = draws(25, 3, 5).astype(dtype), np.linspace(-2, 3, 5, dtype=dtype)
    straight, files = rule.start(x0), []
    for c in samples:
        files.append(io.BytesIO())
        np.savez(files[-1], **straight.state_dict())
        drive(straight, [c])
    for at, file in enumerate(files):
        file.seek(0)
        other = rule.start(np.zeros(5, dtype))
        with np.load(file) as arrays:
            other.load_state_dict(arrays)
        assert other.n_steps == at
        drive(other, samples[at:])
        assert_same(other, straight)


@every_rule
def test_saved_state_does_not_follow_the_run(rule):
    run = started(rule, steps=5)
    saved = run.state_dict()
    before = {name: array.copy() for name, array in saved.items()}
    drive(run, draws(3, 2, 3))
    for name in saved:
        np.testing.assert_array_equal(saved[name], before[name])


@every_rule
def test_run_does_not_follow_what_was_loaded(rule):
    run, other = started(rule, steps=5), started(rule)
    saved = run.state_dict()
    other.load_state_dict(saved)
    for name in ("x", *rule.averages):
        saved[name][:] = 7.0
    assert_same(run, other)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": np.array(99)}, "state must be of version 1, got version 99"),
        ({"rule": np.array("AdaGrad")}, "rule of state must be Adam, got AdaGrad"),
        ({"rate": np.array(0.1)}, r"rate of state must be 0\.05, got 0\.1"),
        ({"beta1": np.array([0.9, 0.9])}, r"beta1 of state must be 0\.9, got \[0\.9 0\.9\]"),
        (
            {"x": np.zeros(3, np.float32)},
            r"x of state must have shape \(3,\) and dtype float64, got \(3,\) and float32",
        ),
        ({"g_avg": np.ones(4)}, r"g_avg of state must have shape \(3,\) and dtype float64, got \(4,\)"),
        ({"g2_avg": np.ones((3, 1))}, r"g2_avg of state must have shape \(3,\)"),
        ({"counters": np.array([1, 2])}, r"counters of state must have shape \(3,\)"),
        (
            {"g_avg": None},
            r"state must have the entries .*'x'.*, got none of \['g_avg'\]; pass the complete one",
        ),
    ],
)
def test_foreign_checkpoint_is_refused(change, match):
    rule = Adam(0.05)
    run, untouched = started(rule, steps=4), started(rule, steps=4)
    saved = started(rule, steps=7).state_dict() | change
    saved = {name: array for name, array in saved.items() if array is not None}
    with pytest.raises(ValueError, match=match):
        run.load_state_dict(saved)
    assert_same(run, untouched)


@every_rule
def test_checkpoint_of_every_other_rule_is_refused(rule):
    for other in (*(r for r in RULES if r != rule), type(rule)(0.7)):
        run, untouched = started(rule, steps=4), started(rule, steps=4)
        with pytest.raises(ValueError, match=r"^(rule|rate) of state must"):
            run.load_state_dict(started(other, steps=4).state_dict())
        assert_same(run, untouched)


# -- what is refused

GOOD = np.ones((2, 3))


@every_rule
@pytest.mark.parametrize(
    ("gradient", "error", "match"),
    [
        (
            [],
            ValueError,
            r"grad must have shape \(3,\), got \(0,\); pass the mean gradient \(d,\) or one row",
        ),
        (
            [GOOD, GOOD],
            ValueError,
            r"grad must have shape \(n, 3\), got \(2, 2, 3\); pass one row per sample",
        ),
        (GOOD[:, :2], ValueError, r"grad must have shape \(n, 3\), got \(2, 2\); pass one row per sample"),
        (GOOD[0, :2], ValueError, r"grad must have shape \(3,\), got \(2,\)"),
        (GOOD[:0], ValueError, "grad must have at least one row"),
        (GOOD.astype(int), TypeError, "grad must have dtype float32 or float64, got int64"),
        (None, TypeError, "grad must have dtype float32 or float64, got object"),
        ((2, np.ones(4)), ValueError, r"mean of grad must have shape \(3,\), got \(4,\)"),
        ((0, np.ones(3)), ValueError, "n_samples of grad must be at least 1, got 0"),
        (
            GOOD * [1, np.nan, 1],
            FloatingPointError,
            "grad must be finite, .* at step 4, got 1 of 3 entries",
        ),
        (GOOD * [1, 1, -np.inf], FloatingPointError, "grad must be finite, .*at step 4, got 1 of 3"),
        (
            (1, np.full(3, 1e200)),
            FloatingPointError,
            r"its square too, at step 4, got a largest .* 1e\+200",
        ),
    ],
)
def test_refused_gradient_leaves_the_run_as_it_was(rule, gradient, error, match):
    run, untouched = started(rule, steps=4), started(rule, steps=4)
    with pytest.raises(error, match=match):
        run.tell(gradient)
    assert_same(run, untouched)
    for each in (run, untouched):
        drive(each, draws(3, 2, 3, seed=1))
    assert_same(run, untouched)


@pytest.mark.parametrize(
    ("rule", "grad", "step", "what"),
    [
        (SGD(1e308), 1.0, 1, "x"),
        (AdaGrad(1.0), 9e153, 2, "g2_sum"),
        (RMSprop(1e308), 1.0, 0, "x"),
        (Adam(1e308, beta1=0.0), 1.0, 1, "x"),
    ],
    ids=["sgd", "adagrad", "rmsprop", "adam"],
)
def test_step_to_what_is_not_finite_is_not_taken(rule, grad, step, what):
    run, untouched = rule.start(np.zeros(2)), rule.start(np.zeros(2))
    for _ in range(step):
        run.tell(np.full((1, 2), grad))
        untouched.tell(np.full((1, 2), grad))
    match = f"{what} must be finite at step {step}, got 2 of 2 .*; choose a smaller rate or a smaller unit"
    with pytest.raises(FloatingPointError, match=match):
        run.tell(np.full((1, 2), grad))
    assert_same(run, untouched)


@every_rule
@pytest.mark.parametrize(
    ("x0", "error", "match"),
    [
        (np.ones((2, 2)), ValueError, r"x0 must have shape \(d,\), got \(2, 2\); pass one flat vector"),
        (np.ones(0), ValueError, r"x0 must have at least one parameter, got \(0,\)"),
        (np.ones(2, int), TypeError, "x0 must have dtype float32 or float64, got int64"),
        (np.array([1, np.nan]), ValueError, "x0 must be finite, got 1 of 2 entries"),
    ],
)
def test_refused_x0(rule, x0, error, match):
    with pytest.raises(error, match=match):
        rule.start(x0)


@every_rule
def test_unknown_backend_is_refused(rule):
    with pytest.raises(ValueError, match="backend must be one of 'auto', 'c', 'numba', 'numpy', got 'gpu'"):
        rule.start(np.ones(2), backend="gpu")


@pytest.mark.parametrize("rule", [SGD, AdaGrad, RMSprop, Adam])
@pytest.mark.parametrize("rate", [0, -0.1, math.nan, math.inf])
def test_refused_rate(rule, rate):
    with pytest.raises(
        ValueError, match=r"rate must be positive and finite, got .*; try 0\.1, 0\.01, 0\.001"
    ):
        rule(rate)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: SGD("0.1"), TypeError, "rate must be a number, got '0.1'"),
        (lambda: SGD(True), TypeError, "rate must be a number, got True"),
        (lambda: SGD(0.1, decay=-1), ValueError, "decay must be finite, at least 0, got -1; pass 0 for a"),
        (lambda: SGD(0.1, decay=math.inf), ValueError, "decay must be finite, at least 0, got inf"),
        (lambda: AdaGrad(0.1, eps=0), ValueError, "eps must be positive and finite, got 0; keep the default"),
        (lambda: RMSprop(0.1, beta=1), ValueError, r"beta must lie in \[0, 1\), got 1; keep the default"),
        (lambda: RMSprop(0.1, eps=math.nan), ValueError, "eps must be positive and finite, got nan"),
        (lambda: Adam(beta1=1.0), ValueError, r"beta1 must lie in \[0, 1\), got 1\.0"),
        (lambda: Adam(beta2=-0.1), ValueError, r"beta2 must lie in \[0, 1\), got -0\.1"),
        (lambda: Adam(beta2=None), TypeError, "beta2 must be a number, got None"),
    ],
)
def test_refused_hyper_parameter(make, error, match):
    with pytest.raises(error, match=match):
        make()
