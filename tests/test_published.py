"""The published rule of single rates and its runs: against slow twins, known optima and invariances."""

from __future__ import annotations

import copy
import io
import itertools
import pickle

import numpy as np
import oracles
import pytest
import scipy.sparse
from backends import compared_with_numpy
from driving import assert_same, draws, slopes, tell

import refsgd
from refsgd import Moments, PublishedVSGD
from refsgd.sgd.averages import zeros


def drive(run, samples, gradient=lambda x, c: slopes(x - c)):
    """Tell the per-sample gradients of each minibatch; return the trajectory of x."""
    xs = []
    for c in samples:
        tell(run, lambda point: gradient(point, c))  # noqa: B023
        xs.append(run.x.copy())
    return np.array(xs)


def started(d=3, steps=0, n=2, rule=PublishedVSGD(), backend=None):  # noqa: B008 - frozen
    run = rule.start(np.linspace(-2.0, 3.0, d), backend=backend)
    drive(run, draws(steps, n, d))
    return run


def opened(steps=12, backend=None):
    """A run whose next minibatch is open, and an equal one that is not."""
    run, closed = (started(steps=steps, backend=backend) for _ in range(2))
    run.tell(slopes(run.x - draws(1, 2, 3, seed=7)[0]))
    assert run.is_open and not closed.is_open
    return run, closed


# -- slow twins


@pytest.mark.parametrize("n", [1, 5])
def test_run_is_what_plain_loops_give(backend, n):
    scales = np.array([1.0, 0.01, 30.0, 2.0, 0.0, 1.0])
    x0 = np.array([5.0, -40.0, 0.1, 8.0, 1.0, 3.0])
    oracle, run = oracles.Published(x0), PublishedVSGD().start(x0, backend=backend)

    for c in draws(200, n, 6, seed=3):

        def rows(x, c=c):
            slope = scales * slopes(np.asarray(x) - c)
            slope[:, 4] = c[:, 4]  # noise alone, no curvature
            slope[:, 5] = 0.0  # never a gradient
            return slope

        oracle.step(lambda points: [rows(point) for point in points])
        tell(run, rows)
        # A probe of about |x| / 1000 costs a secant 3 digits, and an error made once lives on in x.
        for name in oracles.NAMES:
            got = getattr(run.state, name)
            np.testing.assert_allclose(got, oracle.values(name), rtol=1e-8, atol=1e-12, err_msg=name)
    assert oracle.outliers > 0
    assert abs(run.x[0]) < 1 < abs(x0[0])
    assert run.x[4] == 1.0 and run.x[5] == 3.0


@pytest.mark.parametrize("n", [1, 5])
def test_any_gradients_give_what_plain_loops_give(backend, n):
    """Gradients of no function, over six decades; probes lost in x; more than 10 parameters."""
    x0 = np.tile([1.0, 2.0**20, -(2.0**20), 0.0, -3.0, 0.0, 5e-4], 3)
    oracle, run = oracles.Published(x0), PublishedVSGD().start(x0, backend=backend)
    rng = np.random.default_rng(1)
    for _ in range(200):
        rows = rng.normal(0.3, 1, size=(2, n, 21)) * 10.0 ** rng.uniform(-3, 3, size=(2, 1, 21))
        rows[0, :, 1::7] *= 1e-13  # a probe of g_avg is shorter than rounding at 2**20,
        rows[0, :, 2::7] *= 1e-13  # on either side of 0
        rows[0, :, 3::7] = 0.0  # no gradient at x = 0: the probe cannot move
        rows[:, :, 5::7] = 0.0
        oracle.step(lambda points: rows[: len(points)])  # noqa: B023
        run.tell(rows[0])
        if run.is_open:
            run.tell(rows[1])
        # Averages of both signs, which cancel; nothing feeds back.
        for name in oracles.NAMES:
            got = getattr(run.state, name)
            np.testing.assert_allclose(got, oracle.values(name), rtol=1e-9, atol=1e-13, err_msg=name)
    assert oracle.outliers > 0


# -- closed forms


@pytest.mark.parametrize("n", [1, 8])
def test_rate_is_the_best_one_for_a_noisy_quadratic(backend, n):
    h, x, sigma = np.array([1.0, 10.0, 0.1]), np.array([2.0, 0.05, 30.0]), np.array([1.0, 0.3, 0.0])
    run = PublishedVSGD().start(x, backend=backend)
    saved = run.state_dict()
    exact = {"g_avg": h * x, "g2_avg": h**2 * (x**2 + sigma**2), "h_avg": h, "h2_avg": h**2}
    run.load_state_dict(saved | exact | {"counters": np.array([100, 100 * n, 199, n])})

    def expected_loss(rate):  # of h x**2 / 2 after a step with noise sigma / sqrt(n)
        return h / 2 * ((1 - rate * h) ** 2 * x**2 + (rate * h * sigma) ** 2 / n)

    # A parabola in the rate: within 1e-6 of its bottom, 1 % to either side is higher.
    assert (expected_loss(run.rates) < expected_loss(1.01 * run.rates)).all()
    assert (expected_loss(run.rates) < expected_loss(0.99 * run.rates)).all()
    np.testing.assert_allclose(run.rates, x**2 / (x**2 + sigma**2 / n) / h, rtol=1e-14)


def test_rule_solves_a_noiseless_quadratic_in_its_first_step(backend):
    h = np.array([1.0, 10.0, 0.1])
    run = PublishedVSGD().start(np.array([10.0, -3.0, 100.0]), backend=backend)
    xs = drive(run, [None] * 11, lambda x, _: (h * x)[np.newaxis])
    assert (xs[:10] == [10.0, -3.0, 100.0]).all()
    # The curvature is a secant over |g_avg|, of the order of x: a few units of rounding.
    np.testing.assert_allclose(xs[10], 0, atol=1e-13)


@pytest.mark.parametrize("n", [1, 4])
def test_noisy_quadratic_is_solved_nearly_as_fast_as_samples_allow(backend, n):
    """The mean of all n t samples has the square error 1 / (n t), which no rule beats.

    300 independent parameters: the ratio to that has a standard deviation of some 10 %. Over 24 seeds and
    settings it lay within 1.5 and 3.4: the bounds are more than four deviations away.
    """
    rng = np.random.default_rng(0)
    run = PublishedVSGD().start(np.full(300, 3.0), backend=backend)
    drive(run, rng.normal(size=(50, n, 300)), lambda x, c: x - c)
    early = run.rates
    drive(run, rng.normal(size=(750, n, 300)), lambda x, c: x - c)
    assert 0.6 < (run.x**2).mean() * n * 800 < 5
    assert run.rates.mean() < early.mean() / 4
    # The best rate of each step is 1 / t.
    assert 0.4 < run.rates.mean() * 800 < 4


def test_rates_grow_again_after_a_change():
    rng = np.random.default_rng(0)
    run = PublishedVSGD().start(np.full(300, 3.0))
    drive(run, rng.normal(size=(800, 4, 300)))
    before = run.rates.mean()
    drive(run, rng.normal(5.0, size=(50, 4, 300)))
    assert run.rates.mean() > 10 * before
    drive(run, rng.normal(5.0, size=(350, 4, 300)))
    assert run.rates.mean() < 5 * before
    assert run.x.mean() == pytest.approx(5.0, abs=0.1)  # deviation of the mean of 300: 0.005


# -- outliers


def scripted(run, steps, gradients=None, curvatures=None):
    """Gradients 1 ± 1 and curvatures 1 ± 0.1 whatever x is: none is far from the average."""
    for k in range(steps):
        sign = -1.0 if k % 2 else 1.0
        g = np.full(3, 1 + sign) if gradients is None else gradients
        h = np.full(3, 1 + 0.1 * sign) if curvatures is None else curvatures
        tell(run, lambda point: g + h * (point - run.x))  # noqa: B023


@pytest.mark.parametrize(
    "outlier", [{"gradients": np.array([1.0, 40.0, 0.0])}, {"curvatures": np.array([1.0, 9.0, 1.1])}]
)
def test_tau_grows_on_outlier(backend, outlier):
    run = PublishedVSGD().start(np.full(3, 5.0), backend=backend)
    blind = PublishedVSGD(outliers=None).start(np.full(3, 5.0), backend=backend)
    for each in (run, blind):
        scripted(each, 40)
    np.testing.assert_array_equal(run.tau, blind.tau)
    was = run.state._replace(**{name: array.copy() for name, array in run.state._asdict().items()})
    for each in (run, blind):
        scripted(each, 1, **outlier)
    grown = run.tau - blind.tau
    assert grown[1] > 0.5
    np.testing.assert_array_equal(grown[[0, 2]], 0)
    # The averages move by 1 / (tau + 1) of the surprise instead of 1 / tau.
    for name in ("g_avg", "h_avg"):
        seen, unseen = (getattr(each.state, name)[1] - getattr(was, name)[1] for each in (run, blind))
        # Averages near 1, of which differences lose up to three digits.
        assert seen * (was.tau[1] + 1) == pytest.approx(unseen * was.tau[1], rel=1e-10)


def test_limit_of_outliers_is_the_one_asked_for(backend):
    lax, strict = (PublishedVSGD(outliers=k).start(np.full(3, 5.0), backend=backend) for k in (8.0, 3.0))
    for run in (lax, strict):
        scripted(run, 60)
        scripted(run, 1, gradients=np.array([1.0, 6.0, 1.0]))  # 5 standard deviations
    assert (strict.tau > lax.tau).tolist() == [False, True, False]


@pytest.mark.parametrize("k", [0, -1.0, np.nan, np.inf])
def test_outliers_must_be_positive(k):
    with pytest.raises(ValueError, match="outliers must be a positive number of standard deviations, or No"):
        PublishedVSGD(outliers=k)


def test_no_limit_of_outliers_is_silent_without_noise(backend):
    run = PublishedVSGD(outliers=None).start(np.ones(2), backend=backend)
    drive(run, [None] * 20, lambda x, _: np.array([[x[0], 0.0]]))
    assert run.x[0] < 1 == run.x[1]


# -- invariances


def test_permuted_parameters_give_the_permuted_trajectory(backend):
    samples, x0 = draws(200, 3, 40), np.linspace(-2, 3, 40)
    order = np.random.default_rng(1).permutation(40)
    xs = drive(PublishedVSGD().start(x0, backend=backend), samples)
    permuted = drive(PublishedVSGD().start(x0[order], backend=backend), samples[:, :, order])
    # Norms add up in another order; see above for the amplification.
    np.testing.assert_allclose(permuted, xs[:, order], rtol=1e-9, atol=1e-11)


@compared_with_numpy
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 37), (1, 4100), (2, 4100)])
def test_backends_agree_to_the_last_bit(backend, dtype, n, d):
    samples = draws(100 if d < 100 else 25, n, d, dtype=dtype)
    x0 = np.linspace(-2, 3, d, dtype=dtype)
    reference = PublishedVSGD().start(x0, backend="numpy")
    run = PublishedVSGD().start(x0, backend=backend)
    np.testing.assert_array_equal(drive(run, samples), drive(reference, samples))
    assert_same(run, reference)


@compared_with_numpy
def test_number_of_threads_changes_no_bit(backend):
    d = 2 * 32768 + 5  # as many spans as threads, up to two
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(3, 2, d))
    averages = dict(zip(oracles.NAMES, rng.uniform(1, 2, size=(6, d)), strict=True))
    runs = []
    threads = refsgd.get_num_threads()
    try:
        for count in (1, 2):
            refsgd.set_num_threads(count)
            run = PublishedVSGD().start(np.linspace(-2, 3, d), backend=backend)
            drive(run, samples)
            run.load_state_dict(run.state_dict() | averages | {"counters": np.array([20, 40, 39, 2])})
            drive(run, samples)
            drive(run, samples[:2, :1])
            runs.append(run)
    finally:
        refsgd.set_num_threads(threads)
    assert_same(*runs)
    assert (runs[0].x != averages["x"]).all()


# -- what may be asked and told


def test_float32_stays_float32(backend):
    run = PublishedVSGD().start(np.linspace(-2, 3, 5, dtype=np.float32), backend=backend)
    for c in draws(15, 3, 5):  # gradients in float64
        run.tell(slopes(run.ask() - c))
        assert {array.dtype for array in (*run.state, run.ask(), run.rates)} == {np.dtype(np.float32)}
        if run.is_open:
            run.tell(slopes(run.ask() - c))
    assert {run.state_dict()[name].dtype for name in oracles.NAMES} == {np.dtype(np.float32)}
    assert not np.array_equal(run.x, np.linspace(-2, 3, 5, dtype=np.float32))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_rows_moments_and_tuples_give_the_same_run(backend, n):
    """Where curvature is of the mean; that of single samples needs the rows of more than one."""
    forms = [
        lambda rows: Moments.from_rows(rows, backend=backend),
        lambda rows: tuple(Moments.from_rows(rows, backend=backend)),
        scipy.sparse.csr_array,
    ]
    if n == 1:
        forms += [lambda rows: rows, lambda rows: rows.tolist()]
    runs = [started(5, backend=backend) for _ in forms]
    for form, run in zip(forms, runs, strict=True):
        drive(run, draws(30, n, 5), lambda x, c, form=form: form(slopes(x - c)))
    for run in runs[1:]:
        assert_same(run, runs[0])


def test_mean_square_may_be_left_out_where_it_is_not_used():
    whole, lean = started(4), started(4)

    def every(point, c):
        return Moments.from_rows(slopes(point - c))

    for c in draws(20, 3, 4):
        tell(whole, lambda point: every(point, c))  # noqa: B023
        lean.tell(every(lean.ask(), c))
        if lean.is_open:
            lean.tell(tuple(every(lean.ask(), c)[:2]))
    for c in draws(20, 1, 4):
        tell(whole, lambda point: every(point, c))  # noqa: B023
        tell(lean, lambda point: Moments(1, slopes(point - c)[0]))  # noqa: B023
    assert_same(whole, lean)
    assert lean.n_samples == 80 and (lean.rates > 0).all()


def test_gradient_without_samples_counts_as_one(backend):
    rows, flat = started(5, backend=backend), started(5, backend=backend)
    drive(rows, draws(30, 1, 5))
    drive(flat, draws(30, 1, 5), lambda x, c: slopes(x - c)[0])
    assert_same(flat, rows)
    assert flat.n_samples == 30


def test_order_in_memory_does_not_matter(backend):
    layouts = [
        np.ascontiguousarray,
        np.asfortranarray,
        lambda rows: np.repeat(np.repeat(rows, 2, axis=0), 3, axis=1)[::2, ::3],
        lambda rows: np.ascontiguousarray(rows[::-1, ::-1])[::-1, ::-1],
    ]
    runs = [started(5, backend=backend) for _ in layouts]
    for layout, run in zip(layouts, runs, strict=True):
        drive(run, draws(20, 4, 5), lambda x, c, layout=layout: layout(slopes(x - c)))
        drive(run, draws(5, 1, 5), lambda x, c, layout=layout: layout(slopes(x - c)))
    for run in runs[1:]:
        assert_same(run, runs[0])
    wide = np.zeros(10)
    wide[::2] = np.linspace(-2.0, 3.0, 5)
    strided = PublishedVSGD().start(wide[::2], backend=backend)
    assert_same(strided, started(5, backend=backend))


def test_strided_moments_are_accepted():
    runs = [started(4) for _ in range(2)]
    for c in draws(15, 3, 4):
        n, mean, mean_sq = Moments.from_rows(slopes(runs[0].x - c))
        tell(runs[0], lambda _: (n, mean.copy(), mean_sq.copy()))  # noqa: B023
        tell(runs[1], lambda _: (n, np.repeat(mean, 2)[::2], np.repeat(mean_sq, 3)[::3]))  # noqa: B023
    assert_same(*runs)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    ("weighting", "form"),
    [
        *itertools.product(["dense", "sparse", "orthogonal"], ["rows", "flat"]),
        *[("dense", "moments"), ("dense", "csr"), ("sparse", "csr")],
    ],
)
def test_gradient_function_may_write_to_one_memory(backend, form, weighting, n):
    """What is held of an open minibatch does not change with the array that was told."""
    out = np.empty((n, 3))
    mean, mean_sq = np.empty((2, 3))
    full = scipy.sparse.csr_array(np.ones((n, 3)))

    def shared(point, c):
        out[:] = slopes(point - c)
        if form == "flat":
            return out[0]
        if form == "moments":
            mean[:], mean_sq[:] = out.mean(axis=0), (out * out).mean(axis=0)
            return n, mean, mean_sq
        if form == "csr":
            full.data[:] = out.ravel()
            return full
        return out

    one, other = (started(rule=PublishedVSGD(weighting=weighting), backend=backend) for _ in range(2))
    drive(one, draws(15, n, 3), shared)
    drive(other, draws(15, n, 3), lambda x, c: copy.deepcopy(shared(x, c)))
    assert_same(one, other)
    assert (one.x != np.linspace(-2, 3, 3)).any()


def test_gradients_may_be_views_of_the_points(backend):
    """Of ``x**2 / 2`` the gradient is x itself."""
    view, own = (PublishedVSGD().start(np.array([3.0, -1.0]), backend=backend) for _ in range(2))
    drive(view, [None] * 30, lambda x, _: x[np.newaxis])
    drive(own, [None] * 30, lambda x, _: x[np.newaxis].copy())
    assert_same(view, own)


@pytest.mark.parametrize("steps", [0, 1, 5, 10, 12])
def test_asking_twice_gives_the_same_point(steps):
    run, asked_once = started(steps=steps), started(steps=steps)
    for _ in range(2):
        np.testing.assert_array_equal(run.ask(), run.x)
    for each in (run, asked_once):
        each.tell(GOOD)
    assert run.is_open == (steps > 0)
    first = run.ask().copy()
    np.testing.assert_array_equal(run.ask(), first)
    assert (first != run.x).all() == run.is_open
    for each in (run, asked_once):
        each.tell(GOOD)
    assert_same(run, asked_once)


def test_probe_is_a_mean_gradient_away():
    run = started(steps=12)
    x, g_avg = run.x.copy(), run.state.g_avg.copy()
    run.tell(GOOD)
    np.testing.assert_array_equal(run.ask(), x + g_avg)


def test_start_leaves_x_alone_and_rates_at_zero(backend):
    run = PublishedVSGD().start(np.linspace(-2.0, 3.0, 4), backend=backend)
    for k, c in enumerate(draws(14, 3, 4)):
        if k < 10:
            np.testing.assert_array_equal(run.x, np.linspace(-2.0, 3.0, 4))
            np.testing.assert_array_equal(run.rates, np.zeros(4))
        else:
            assert (run.rates > 0).all()
        assert (run.n_steps, run.n_samples, run.n_gradients) == (k, 3 * k, max(0, 2 * k - 1))
        run.tell(slopes(run.ask() - c))
        if run.is_open:
            assert (run.n_steps, run.n_samples, run.n_gradients) == (k, 3 * k, 2 * k)
            run.tell(slopes(run.ask() - c))
    assert (run.x != np.linspace(-2.0, 3.0, 4)).all()


def test_start_keeps_its_own_copy_of_x0():
    x0 = np.array([1.0, 2.0])
    run = PublishedVSGD().start(x0)
    drive(run, draws(12, 2, 2))
    np.testing.assert_array_equal(x0, [1.0, 2.0])


def test_minibatches_may_change_in_size():
    run = started()
    for n in (4, 1, 7, 4, 1, 2, 3, 4, 4, 4, 4, 1, 9):
        drive(run, draws(1, n, 3, seed=n))
    assert (run.n_steps, run.n_samples) == (13, 48)
    assert np.isfinite(run.state).all()


# -- checkpoints


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saved_run_goes_on_to_the_last_bit(backend, dtype):
    samples, x0 = draws(35, 3, 5, dtype=dtype), np.linspace(-2, 3, 5, dtype=dtype)
    straight = PublishedVSGD().start(x0, backend=backend)
    saved = []
    for c in samples:
        with io.BytesIO() as file:
            np.savez(file, **straight.state_dict())
            saved.append(file.getvalue())
        drive(straight, [c])
        if straight.n_steps < 20:
            continue
        at = straight.n_steps - 20
        other = PublishedVSGD().start(np.zeros(5, dtype), backend=backend)
        with np.load(io.BytesIO(saved[at])) as arrays:
            other.load_state_dict(arrays)
        assert other.n_steps == at
        drive(other, samples[at : at + 20])
        assert_same(other, straight)


def test_saved_state_does_not_follow_the_run():
    run = started(steps=12)
    saved = run.state_dict()
    before = {name: array.copy() for name, array in saved.items()}
    drive(run, draws(3, 2, 3))
    for name in saved:
        np.testing.assert_array_equal(saved[name], before[name])


@pytest.mark.parametrize("steps", [1, 5, 10, 12])
def test_checkpoint_of_an_open_run_is_that_before_the_minibatch(backend, steps):
    run, closed = opened(steps, backend)
    at_probe = run.ask().copy()
    want = closed.state_dict()
    for name, array in run.state_dict().items():
        np.testing.assert_array_equal(array, want[name], err_msg=name)
    for again in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        assert_same(again, closed)
        drive(again, draws(3, 2, 3, seed=5))
        assert again.n_steps == steps + 3
    np.testing.assert_array_equal(run.ask(), at_probe)  # and is still open
    run.tell(GOOD)
    assert (run.is_open, run.n_steps) == (False, steps + 1)


def test_loading_closes_an_open_minibatch(backend):
    run, closed = opened(backend=backend)
    state = closed.state_dict()
    with pytest.raises(ValueError, match="state must have the entries"):
        run.load_state_dict({"version": state["version"]})
    assert run.is_open
    run.load_state_dict(state)
    assert_same(run, closed)
    for each in (run, closed):
        drive(each, draws(5, 2, 3, seed=5))
    assert_same(run, closed)


@pytest.mark.parametrize("version", [None, 1, 2, 4])
@pytest.mark.parametrize("entries", ["all", "x"])
def test_checkpoint_of_another_version_is_named(version, entries):
    """Whatever else is in it, or not."""
    run, untouched = started(steps=12), started(steps=12)
    state = run.state_dict() if entries == "all" else {"x": run.x.copy()}
    state.pop("version", None)
    if version is not None:
        state["version"] = np.array(version)
    match = (
        f"state must be of version 3, got version {version}; another release of refsgd saved it: .*or start"
    )
    with pytest.raises(ValueError, match=match):
        run.load_state_dict(state)
    assert_same(run, untouched)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rule": np.array("VSGD")}, "rule of state must be PublishedVSGD, got VSGD; load it into an object"),
        ({"curvature": np.array("bbprop")}, "curvature of state must be fd, got bbprop"),
        ({"outliers": np.array(3.0)}, r"outliers of state must be 2\.0, got 3\.0"),
        ({"outliers": np.array(np.inf)}, r"outliers of state must be 2\.0, got inf"),
        (
            {"x": np.zeros(3, np.float32)},
            r"x of state must have shape \(3,\) and dtype float64, got \(3,\) and float32",
        ),
        ({"tau": np.ones(4)}, r"tau of state must have shape \(3,\) and dtype float64, got \(4,\)"),
        ({"h2_avg": np.ones((3, 1))}, r"h2_avg of state must have shape \(3,\)"),
        ({"counters": np.array([1, 2])}, r"counters of state must have shape \(4,\)"),
        ({"g_avg": None}, r"state must have the entries .*'x'.*, got none of \['g_avg'\]; pass the complete"),
    ],
)
def test_foreign_checkpoint_is_refused(change, match):
    run, untouched = started(steps=12), started(steps=12)
    saved = started(steps=15).state_dict() | change
    saved = {name: array for name, array in saved.items() if array is not None}
    with pytest.raises(ValueError, match=match):
        run.load_state_dict(saved)
    assert_same(run, untouched)


# -- what is refused


@pytest.mark.parametrize(
    ("x0", "error", "match"),
    [
        (np.ones((2, 2)), ValueError, r"x0 must have shape \(d,\), got \(2, 2\); pass one flat vector"),
        (np.float64(1), ValueError, r"x0 must have shape \(d,\), got \(\)"),
        (np.ones(0), ValueError, r"x0 must have at least one parameter, got \(0,\)"),
        (np.ones(2, object), TypeError, "x0 must have dtype float32 or float64, got object"),
        (np.ones(2, complex), TypeError, "x0 must have dtype float32 or float64, got complex128"),
        (np.ones(2, int), TypeError, "x0 must have dtype float32 or float64, got int64"),
        (np.ones(2, np.float16), TypeError, "x0 must have dtype float32 or float64, got float16"),
        (np.array([1, np.nan]), ValueError, r"x0 must be finite, got 1 of 2 entries .*index 1, nan"),
        (np.array([-np.inf, 1]), ValueError, r"x0 must be finite, got 1 of 2 entries .*index 0, -inf"),
    ],
)
def test_refused_x0(x0, error, match):
    with pytest.raises(error, match=match):
        PublishedVSGD().start(x0)


def test_unknown_backend_is_refused():
    with pytest.raises(
        ValueError, match="backend must be one of 'auto', 'c', 'numba', 'numpy', got 'fortran'"
    ):
        PublishedVSGD().start(np.ones(2), backend="fortran")


GOOD = np.ones((2, 3))


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        (
            np.ones((2, 4)),
            ValueError,
            r"grad must have shape \(n, 3\), got \(2, 4\); pass one row per sample",
        ),
        (np.ones(2), ValueError, r"grad must have shape \(n, 3\), got \(2,\)"),
        (np.ones((1, 2, 3)), ValueError, r"grad must have shape \(n, 3\), got \(1, 2, 3\)"),
        (
            np.ones((0, 3)),
            ValueError,
            r"grad must have at least one row, got \(0, 3\); drop empty minibatches",
        ),
        (np.ones((2, 3), object), TypeError, "grad must have dtype float32 or float64, got object"),
        (np.ones((2, 3), complex), TypeError, "grad must have dtype float32 or float64, got complex128"),
        (np.ones((2, 3), int), TypeError, "grad must have dtype float32 or float64, got int64"),
        ((2, np.ones(4), np.ones(4)), ValueError, r"mean of grad must have shape \(3,\), got \(4,\)"),
        ((2, np.ones(3), np.ones(4)), ValueError, r"mean_sq of grad must have shape \(3,\), got \(4,\)"),
        ((2, np.ones(3, int), np.ones(3)), TypeError, "mean of grad must have dtype float32 or float64"),
        ((0, np.ones(3), np.ones(3)), ValueError, "n_samples of grad must be at least 1, got 0"),
        ((2.0, np.ones(3), np.ones(3)), TypeError, r"n_samples of grad must be an integer, got 2\.0"),
        (Moments(2, np.ones(3)), ValueError, "mean_sq must be given for n_samples > 1, got None"),
    ],
)
@pytest.mark.parametrize("steps", [0, 4, 12])
def test_refused_gradient_leaves_the_run_as_it_was(steps, bad, error, match):
    run, untouched = started(steps=steps), started(steps=steps)
    with pytest.raises(error, match=match):
        run.tell(bad)
    assert_same(run, untouched)
    if steps and "mean_sq must" not in match:  # a probe needs no mean square
        for each in (run, untouched):
            each.tell(np.linspace(-1, 1, 6).reshape(2, 3))
        with pytest.raises(error, match=match.replace("grad", "probe grad")):
            run.tell(bad)
        assert_same(run, untouched)
        for each in (run, untouched):
            each.tell(GOOD)
        assert_same(run, untouched)


@pytest.mark.parametrize("steps", [1, 12])
@pytest.mark.parametrize("other", [np.ones((3, 3)), np.ones((1, 3)), np.ones(3), (3, np.ones(3))])
def test_points_must_see_the_same_samples(steps, other):
    run, closed = opened(steps)
    with pytest.raises(
        ValueError, match=r"probe grad must have 2 samples, got [13]; evaluate every point on"
    ):
        run.tell(other)
    assert run.is_open
    run.load_state_dict(run.state_dict())
    assert_same(run, closed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("steps", [0, 1, 9, 10, 15])
def test_run_survives_a_gradient_that_is_not_finite(backend, steps, value):
    run = started(steps=steps, backend=backend)
    untouched = started(steps=steps, backend=backend)
    bad = GOOD.copy()
    bad[1, 2] = value
    forms = [bad, bad[1:], bad[1], (2, bad[1], GOOD[0]), (2, GOOD[0], bad[1])]
    for form in forms:
        with pytest.raises(
            FloatingPointError, match=rf"^grad must be finite, .*at step {steps}, got 1 of 3 .*index 2"
        ):
            run.tell(form)
        assert_same(run, untouched)
    c = draws(1, 2, 3, seed=6)[0]
    for each in (run, untouched):
        each.tell(slopes(each.ask() - c))
    if steps:
        for form in forms:
            with pytest.raises(FloatingPointError, match=f"^probe grad must be finite, .*at step {steps}, "):
                run.tell(form)
            assert_same(run, untouched)
        for each in (run, untouched):
            each.tell(slopes(each.ask() - c))
    for each in (run, untouched):
        drive(each, draws(15, 2, 3, seed=5))
    assert_same(run, untouched)


def test_numpy_set_to_raise_stops_no_step(backend):
    """Squares that vanish are no errors of the gradient."""
    runs = [started(steps=12, backend=backend) for _ in range(2)]
    with np.errstate(all="raise"):
        tell(runs[0], lambda point: 1e-200 * point + np.zeros((2, 3)))
    tell(runs[1], lambda point: 1e-200 * point + np.zeros((2, 3)))
    assert_same(*runs)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e30), (np.float64, 1e200)])
def test_gradient_whose_square_overflows_is_named(backend, n, dtype, large):
    run = PublishedVSGD().start(np.ones(3, dtype), backend=backend)
    with pytest.raises(FloatingPointError, match="grad must be finite, and its square too, at step 0, got"):
        run.tell(np.full((n, 3), large, dtype))
    # In the dtype of x, a gradient that is too large for it is infinite.
    run = PublishedVSGD().start(np.ones(3, np.float32), backend=backend)
    with pytest.raises(FloatingPointError, match="grad must be finite"):
        run.tell(np.full((n, 3), 1e39))
    assert run.n_steps == 0


@pytest.mark.parametrize(("dtype", "factor"), [(np.float32, 1e-24), (np.float64, 1e-170)])
def test_squares_that_vanish_are_no_trouble(backend, dtype, factor):
    """Squares of gradients and curvatures are 0: numbers stay finite, and there is no warning."""
    run = PublishedVSGD().start(np.ones(2, dtype), backend=backend)
    drive(run, draws(40, 2, 2, dtype=dtype), lambda x, c: dtype(factor) * slopes(x - c))
    assert np.isfinite(run.state).all() and np.isfinite(run.rates).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 17, 5000])
def test_state_begins_with_a_cache_line_and_is_zero(dtype, d):
    buffer, state = zeros(d, np.dtype(dtype))
    assert buffer.ctypes.data % 64 == 0 and buffer.flags.c_contiguous and not buffer.any()
    assert np.shares_memory(buffer, state.tau) and len(state.tau) == d


# -- what a run says of itself


@pytest.mark.parametrize("weighting", ["dense", "sparse", "orthogonal"])
def test_closed_run_is_as_before_its_open_minibatch(backend, weighting):
    rule = PublishedVSGD(weighting=weighting)
    run, untouched = (started(steps=12, rule=rule, backend=backend) for _ in range(2))
    run.tell(slopes(run.x - draws(1, 2, 3, seed=7)[0]))
    assert run.is_open and run.n_gradients == untouched.n_gradients + 1
    run.close()
    assert not run.is_open
    assert_same(run, untouched)
    assert run.n_gradients == untouched.n_gradients
    for each in (run, untouched):
        drive(each, draws(5, 2, 3, seed=8))
    assert_same(run, untouched)


@pytest.mark.parametrize(
    ("rule", "want"),
    [
        (refsgd.VSGD(), "<Run of VSGD(weighting='dense', average=False): d=3, float32, n_steps=0, length=0>"),
        (
            refsgd.VSGD(weighting="sparse"),
            "<SparseRun of VSGD(weighting='sparse', average=False): d=3, float32, n_steps=0, length=0>",
        ),
        (refsgd.baselines.SGD(0.5), "<BaselineRun of SGD(rate=0.5, decay=0.0): d=3, float32, n_steps=0>"),
        (
            PublishedVSGD(),
            "<PublishedRun of PublishedVSGD(curvature='fd', sharing='element', weighting='dense', "
            "outliers=2.0): d=3, float32, n_steps=0>",
        ),
    ],
)
def test_repr_says_rule_size_dtype_and_progress(rule, want):
    run = rule.start(np.ones(3, np.float32))
    assert repr(run) == want
    run.tell(np.ones(3, np.float32))
    assert "n_steps=1" in repr(run)
