"""Runs of the default rule at the edges: random courses, odd forms, extremes of range, what others saved."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import scipy.sparse

from refsgd import VSGD, Moments, PublishedVSGD, minimize
from refsgd.baselines import Adam
from refsgd.sgd.rule import WEIGHTINGS

every_weighting = pytest.mark.parametrize("weighting", WEIGHTINGS)


def take_step(run, grad):
    run.tell(grad(run.ask()))
    if run.is_open:
        run.tell(grad(run.ask()))


def assert_same(run, other):
    saved, expected = run.state_dict(), other.state_dict()
    assert saved.keys() == expected.keys()
    for name in saved:
        np.testing.assert_array_equal(saved[name], expected[name], err_msg=name)


def assert_close(narrow, wide, rtol=1e-3):
    """The same run in float32 as in float64, in a unit of its own."""
    units = narrow.unit / wide.unit
    s, expected = narrow.step_length, wide.step_length
    for got, want in [
        (narrow.x, wide.x),
        (narrow.tau, wide.tau),
        (narrow.state.g_avg.astype(float), wide.state.g_avg * units),
        (narrow.state.g2_avg.astype(float), wide.state.g2_avg * units**2),
        (s.length, expected.length),
        (s.slope, expected.slope * units),
        (s.bend, expected.bend * units),
    ]:
        np.testing.assert_allclose(got, want, rtol=rtol)


class Course:
    """A problem and its minibatches, all at random: groups that begin late, empty minibatches, outliers,
    a scale that drifts, other numbers of samples and other forms of gradients at each step."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.d = d = int(rng.choice([1, 2, 7, 33, 2049]))  # 2049 is more than one block
        self.dtype = str(rng.choice(["float32", "float64"]))
        weighting = str(rng.choice(WEIGHTINGS))
        self.rule = VSGD(weighting, average=weighting != "sparse" and bool(rng.integers(2)))
        self.is_sparse = weighting == "sparse"
        ends = [] if self.is_sparse else rng.choice(d, min(d - 1, int(rng.integers(4))), replace=False)
        self.groups = np.diff([0, *sorted({int(end) for end in ends} - {0}), d]).tolist()
        births = rng.integers(0, 40, len(self.groups))
        births[0] = 0
        self.births = np.repeat(births, self.groups)
        self.curvatures = 10 ** rng.uniform(-2, 2, d)
        self.scale, self.drift = 10.0 ** rng.integers(-25, 25), 10 ** rng.uniform(-0.3, 0.2)
        self.noise = 10 ** rng.uniform(-3, 1)
        self.x0 = (rng.normal(size=d) * rng.choice([0, 1, 100])).astype(self.dtype)

    def start(self, backend, x0=None):
        groups = {} if self.is_sparse else {"groups": self.groups}
        return self.rule.start(self.x0 if x0 is None else x0, backend=backend, **groups)

    def minibatch(self, step):
        """A function of x that gives its gradient, and one that is not finite."""
        rng, n = self.rng, int(self.rng.integers(1, 6))
        samples = rng.normal(size=(n, self.d)) * self.noise * (1e3 if rng.random() < 0.03 else 1)
        weights = self.curvatures * (self.births <= step) * self.scale * self.drift**step
        if rng.random() < 0.05:
            weights = 0 * weights
        elif self.is_sparse:
            weights = weights * (rng.random((n, self.d)) < 0.2)
        forms = {
            "rows": lambda rows: rows,
            "csr": scipy.sparse.csr_array,
            "mean": lambda rows: rows.mean(axis=0),
        }
        form = forms["rows" if self.rule.weighting == "orthogonal" else str(rng.choice(list(forms)))]
        return (
            lambda x: form((weights * (x.astype(float) - samples)).astype(self.dtype)),
            lambda x: np.full((n, self.d), np.nan) if form is not forms["mean"] else np.full(self.d, np.nan),
        )


@pytest.mark.parametrize("seed", range(25))
def test_course_has_the_same_bits_in_every_backend_and_after_every_break(backend, seed):
    course = Course(seed)
    whole, broken = course.start("numpy"), course.start(backend)
    for step in range(60):
        grad, not_finite = course.minibatch(step)
        take_step(whole, grad)
        if course.rng.random() < 0.1:
            broken = pickle.loads(pickle.dumps(broken))
        broken.tell(grad(broken.ask()))
        if broken.is_open:
            point = broken.ask().copy()
            with pytest.raises(FloatingPointError, match="grad at the second point must be finite"):
                broken.tell(not_finite(point))
            np.testing.assert_array_equal(broken.ask(), point)
            if course.rng.random() < 0.2:  # the open minibatch is given up, and told again elsewhere
                state, broken = broken.state_dict(), course.start(backend, np.zeros_like(course.x0))
                broken.load_state_dict(state)
                broken.tell(grad(broken.ask()))
                np.testing.assert_array_equal(broken.ask(), point)
            broken.tell(grad(broken.ask()))
        assert not broken.is_open
        assert_same(broken, whole)
    for name, array in whole.state_dict().items():
        assert array.dtype.kind != "f" or np.isfinite(array).all(), name


@every_weighting
def test_gradients_of_zero_change_nothing(backend, weighting):
    run = VSGD(weighting).start(np.ones(3), backend=backend)
    for _ in range(30):
        take_step(run, lambda x: np.zeros((2, 3)))
    assert (run.x == 1).all() and (run.rates == 0).all()
    assert (run.n_steps, run.n_gradients, run.trouble) == (30, 30, "")
    for _ in range(100):
        take_step(run, lambda x: np.stack([x - 2, x - 3]))
    np.testing.assert_allclose(run.x, 2.5, atol=1e-3)
    before = run.x.copy()
    for _ in range(30):
        take_step(run, lambda x: np.zeros((2, 3)))
    np.testing.assert_array_equal(run.x, before)


@every_weighting
def test_what_is_not_finite_is_refused_without_a_warning(backend, weighting):
    run = VSGD(weighting).start(np.ones(3), backend=backend)
    bad = [np.full((2, 3), np.nan), np.array([[1, np.inf, 0], [1.0, 2, 3]])]
    for step in range(15):
        for rows in bad:
            before = run.state_dict()
            with pytest.raises(FloatingPointError, match=f"grad must be finite.* at step {step}, got"):
                run.tell(rows)
            assert not run.is_open
            after = run.state_dict()
            assert all(np.array_equal(before[name], after[name]) for name in before)
        take_step(run, lambda x: x - np.array([[1.0, 2, 3], [3.0, 2, 0]]))
    assert (run.x != 1).any()


@every_weighting
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("float32", 2.0**-120), ("float32", 2.0**120), ("float64", 2.0**-1000), ("float64", 2.0**1000)],
)
def test_unit_of_the_loss_changes_no_bit_of_x(backend, weighting, dtype, scale):
    samples = np.random.default_rng(0).normal(size=(60, 2, 3)).astype(dtype)
    xs = []
    for unit in (1.0, scale):
        run = VSGD(weighting).start(np.full(3, 5, dtype), backend=backend)
        for c in samples:
            take_step(run, lambda x: (x - c) * np.dtype(dtype).type(unit))  # noqa: B023
        xs.append(run.x.copy())
    np.testing.assert_array_equal(*xs)
    assert np.abs(xs[0]).max() < 1


def test_group_that_never_begins_is_as_if_it_were_not_there(backend):
    rule, x0 = VSGD(average=True), np.linspace(1, 2, 3000)
    alone = rule.start(x0, backend=backend)
    beside = rule.start(np.append(x0, [0.0, 0.0]), groups=[3000, 2], backend=backend)
    for c in np.random.default_rng(0).normal(size=(80, 3000)):
        take_step(alone, lambda x: x - c)  # noqa: B023
        take_step(beside, lambda x: np.append(x[:3000] - c, [0.0, 0.0]))  # noqa: B023
        np.testing.assert_array_equal(beside.x[:3000], alone.x)
        assert (beside.length, beside.n_gradients) == (alone.length, alone.n_gradients)
    np.testing.assert_array_equal(beside.x_avg[:3000], alone.x_avg)
    assert (beside.x[3000:] == 0).all() and (beside.x[:3000] != x0).all()


def test_forms_with_gaps_in_memory_count_as_without(backend):
    samples = np.random.default_rng(0).normal(size=(60, 4, 6))
    plain = VSGD().start(np.linspace(1, 2, 6), backend=backend)
    forms = [
        lambda mean: np.repeat(mean, 2)[::2],
        lambda mean: np.repeat(mean[np.newaxis], 2, axis=1)[:, ::2],
        lambda mean: Moments(1, np.repeat(mean, 2)[::2]),
        lambda mean: mean[::-1].copy()[::-1],
    ]
    for c in samples:
        take_step(plain, lambda x: (x - c).mean(axis=0))  # noqa: B023
    for form in forms:
        run = VSGD().start(np.linspace(1, 2, 6), backend=backend)
        for c in samples:
            take_step(run, lambda x: form((x - c).mean(axis=0)))  # noqa: B023
        assert_same(run, plain)


@pytest.mark.parametrize("weighting", ["dense", "sparse"])
def test_gradient_may_be_a_view_of_the_point(backend, weighting):
    """Of ``x**2 / 2`` the gradient is x itself; 3,000 parameters are more than one block."""
    view, copy = (VSGD(weighting).start(np.linspace(1, 2, 3000), backend=backend) for _ in range(2))
    for _ in range(40):
        take_step(view, lambda x: x)
        take_step(copy, lambda x: x.copy())
    assert_same(view, copy)


def states():
    """States of a run of each rule, by name."""
    x0 = np.ones(3)
    rules = [VSGD(w) for w in WEIGHTINGS] + [VSGD(average=True), PublishedVSGD(), PublishedVSGD("bbprop")]
    return {repr(rule): rule.start(x0).state_dict() for rule in rules} | {
        "groups": VSGD().start(x0, groups=[1, 2]).state_dict()
    }


def test_state_of_another_rule_is_refused_by_what_is_another():
    runs = {"VSGD": VSGD().start(np.ones(3)), "PublishedVSGD": PublishedVSGD().start(np.ones(3))}
    for (kind, run), (name, state) in itertools.product(runs.items(), states().items()):
        if name == repr(run.rule):
            continue
        before = run.state_dict()
        match = "^(rule|weighting|average|groups|curvature) of state must be .*; load it into an object"
        with pytest.raises(ValueError, match=match) as caught:
            run.load_state_dict(state)
        is_foreign = name.startswith("PublishedVSGD") != (kind == "PublishedVSGD")
        assert str(caught.value).startswith("rule") == is_foreign
        assert all(np.array_equal(before[entry], array) for entry, array in run.state_dict().items())
    with pytest.raises(ValueError, match="state must be of version 3, got version 1; another release of"):
        runs["VSGD"].load_state_dict(Adam().start(np.ones(3)).state_dict())


def test_tiny_first_gradient_does_not_put_the_others_out_of_range(backend):
    """Such as that of a sample that a trained classifier is sure of, in float32, one sample per minibatch."""
    runs = [VSGD().start(np.full(3, 5, dtype), backend=backend) for dtype in (np.float32, np.float64)]
    for run in runs:
        run.tell(np.full(3, 1e-24, run.x.dtype))
        for c in np.random.default_rng(0).normal(size=(100, 3)):
            take_step(run, lambda x: x - c.astype(x.dtype))  # noqa: B023
    assert runs[0].n_steps == 101
    np.testing.assert_allclose(runs[0].tau, runs[1].tau, rtol=1e-4)
    # The squares of the tiny ones are nothing beside the others.
    np.testing.assert_allclose(
        runs[0].state.g2_avg / runs[0].unit ** 2, runs[1].state.g2_avg / runs[1].unit ** 2, rtol=1e-4
    )


@every_weighting
@pytest.mark.parametrize(("dtype", "exponent"), [(np.float32, 100), (np.float64, 660)])
def test_gradient_whose_square_overflows_is_an_outlier_like_any_other(backend, weighting, dtype, exponent):
    """The guard counts it as 8 times the usual, however large it is."""
    rng = np.random.default_rng(0)
    runs = [VSGD(weighting).start(np.full(3, 5, dtype), backend=backend) for _ in range(2)]
    for k, c in enumerate(rng.normal(size=(200, 1, 3)).astype(dtype)):
        for run, size in zip(runs, (exponent, 20), strict=True):
            if k == 60:
                run.tell((run.x - c) * dtype(2.0**size))
                assert not run.is_open  # or a probe would see two curvatures
            else:
                take_step(run, lambda x, c=c: x - c)
    np.testing.assert_allclose(runs[0].x, runs[1].x, rtol=1e-4 if dtype == np.float32 else 1e-12)
    assert np.abs(runs[0].x).max() < 1


@every_weighting
@pytest.mark.parametrize("steps", [0, 3, 40, 41, 42, 43, 44, 45, 46, 47, 48])
def test_gradient_out_of_range_opens_no_minibatch(backend, weighting, steps):
    run = VSGD(weighting).start(np.full(3, 5, np.float32), backend=backend)
    for c in np.random.default_rng(0).normal(size=(steps, 1, 3)).astype(np.float32):
        take_step(run, lambda x, c=c: x - c)
    run.tell(np.full((2, 3), 1e36, np.float32))
    assert run.is_open == (steps == 3)
    take_step(run, lambda x: np.full((2, 3), 1e36 if run.is_open else 1, np.float32))
    assert np.isfinite(run.x).all() and run.n_steps >= steps + 1


@pytest.mark.parametrize("at", [1, 5, 9])
def test_gradient_out_of_range_in_the_start_counts_as_in_a_wider_range(backend, at):
    """In float32 the unit makes room for it."""
    runs = narrow, wide = [VSGD().start(np.full(3, 5, t), backend=backend) for t in (np.float32, np.float64)]
    for k, c in enumerate(np.random.default_rng(at).normal(size=(40, 3))):
        for run in runs:
            take_step(run, lambda x, c=c, k=k: ((x - c) * 2.0 ** (70 * (k == at))).astype(x.dtype))
        if k > at:
            assert narrow.unit < wide.unit * 2.0**-20
            assert_close(narrow, wide)


def test_gradient_out_of_range_in_a_later_start_counts_as_in_a_wider_range(backend):
    runs = narrow, wide = [
        VSGD().start(np.full(6, 5, t), groups=[4, 2], backend=backend) for t in (np.float32, np.float64)
    ]
    for k, c in enumerate(np.random.default_rng(0).normal(size=(46, 6))):
        for run in runs:
            scales = np.repeat([1, k >= 40], [4, 2]) * 2.0 ** (70 * (k == 45))
            take_step(run, lambda x, c=c, scales=scales: ((x - c) * scales).astype(x.dtype))
    assert narrow.unit < wide.unit * 2.0**-20
    assert_close(narrow, wide)
    assert narrow.step_length.bend > 0
    assert narrow.trouble == wide.trouble != ""


def test_run_that_leaves_a_saddle_is_a_success():
    """The loss falls from 2.5 to 0.5, and gradients grow from 1e-8 to 1 on the way."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=500)
    y = 2 * X + rng.normal(size=500)

    def grad(x, X, y):
        slope = (x[0] * x[1] * X - y) * X
        return np.stack([slope * x[1], slope * x[0]], axis=1)

    options = dict(
        batch_size=5, epochs=30, random_state=0, fun=lambda x, X, y: (x[0] * x[1] * X - y) ** 2 / 2
    )
    res = minimize(grad, np.array([1e-8, 1.1e-8]), (X, y), **options)
    assert res.fun < 0.6
    assert res.success, res.message
