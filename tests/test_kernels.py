"""Every backend against the NumPy oracle, bit by bit, and the oracle against its equations."""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from backends import compared_with_numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import refsgd
from refsgd import kernels
from refsgd.kernels import published_numpy
from refsgd.kernels.contract import (
    BBPROP,
    BLOCK,
    FD,
    LANES,
    MAX_CURV_EXPONENT,
    WIDEN,
    DirectionBatch,
    FoldArrays,
    Kernels,
    PublishedMoments,
    StepRule,
)

Array = NDArray[Any]
Batch = tuple[Array, Array | None, Array]

# Data overflow on purpose, of which NumPy's kernels warn; what is not finite is looked for in the results.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning")

X, G, G2, H, H2, TAU = range(6)
DTYPES = ["float32", "float64"]
SIZES = [1, 7, LANES - 1, LANES, LANES + 1, BLOCK - 1, BLOCK, BLOCK + 1, 100_003]
PADDING = 5  # an odd width: rows of the state are not aligned to vectors
SUM_SENTINEL = -7.0

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_size = pytest.mark.parametrize("d", SIZES)
each_gradient = pytest.mark.parametrize("online", [True, False], ids=["online", "minibatch"])
each_limit = pytest.mark.parametrize("limit", [4.0, math.inf], ids=["outliers", "no-outliers"])
each_variant = pytest.mark.parametrize("variant", [FD, BBPROP], ids=["fd", "bbprop"])


def bits(array: Array) -> Array:
    return array.view(np.uint32 if array.dtype == np.float32 else np.uint64)


def assert_same_bits(got: Array, want: Array, what: str) -> None:
    """Signs of zero count; a NaN equals any other NaN."""
    assert got.dtype == want.dtype and got.shape == want.shape
    differ = (bits(got) != bits(want)) & ~(np.isnan(got) & np.isnan(want))
    if differ.any():
        first = tuple(np.argwhere(differ)[0].tolist())
        pytest.fail(f"{what}: {differ.sum()} of {got.size}, first {first}: {got[first]!r} != {want[first]!r}")


@functools.cache
def data(dtype: str, d: int, online: bool, n_batches: int) -> tuple[Array, list[Batch]]:
    """A state with padding, and mean gradient, mean square and probe gradient of each batch.

    One column in two is ordinary; the others are what tests of single values would try one by one.
    """
    rng = np.random.default_rng([d, online])
    tiny = float(np.finfo(dtype).tiny)
    huge, small = (1e8, 1e-25) if dtype == "float32" else (1e75, 1e-100)
    kind = rng.integers(0, 14, d)
    zero, negative_zero, denormal, large, clamped, unprobed, constant = (kind == k for k in range(7))

    state = rng.normal(size=(6, d))
    state[TAU] = 1 + 20 * rng.random(d)
    state[X, clamped] = 0
    state[G, denormal] = tiny / 8 * rng.integers(-7, 8, denormal.sum())
    state[X, denormal] = 0
    state[G, clamped] *= small
    state[G, large] *= huge
    state[G, unprobed] = 0
    state[G2] = state[G] ** 2 * (1 + rng.random(d))
    state[H2] = state[H] ** 2 * (1 + rng.random(d))
    state[:, zero] = 0
    state[TAU, zero] = 10

    batches = []
    for _ in range(n_batches):
        grad = rng.normal(size=d) + 0.5
        probe_grad = grad + 0.3 * rng.normal(size=d)
        grad[zero] = probe_grad[zero] = 0
        grad[negative_zero] = probe_grad[negative_zero] = -0.0
        grad[unprobed] = 0
        grad[constant] = 3
        for values in (grad, probe_grad):
            values[denormal] *= tiny / 8
            values[large] *= huge
        grad[clamped] *= small
        probe_grad[clamped] *= huge
        grad_sq = None if online else (grad**2 * (1 + rng.random(d))).astype(dtype)
        batches.append((grad.astype(dtype), grad_sq, probe_grad.astype(dtype)))

    buffer = np.full((6, d + PADDING), np.nan, dtype)
    buffer[:, :d] = state
    return buffer, batches


class Problem(NamedTuple):
    """A run of kernels: what it starts from, and what each step is given, all from a fixed seed."""

    dtype: str
    d: int
    online: bool
    limit: float
    steps: int

    @property
    def n(self) -> int:
        return 1 if self.online else 7

    def draw(self) -> tuple[Array, list[Batch]]:
        """A state with padding, and the batches of each step."""
        state, batches = data(self.dtype, self.d, self.online, min(self.steps, 3 if self.d > 10_000 else 30))
        return state.copy(), [batches[step % len(batches)] for step in range(self.steps)]

    def run(self, step_fd: Callable[..., None]) -> Array:
        """The final state with its padding."""
        state, batches = self.draw()
        for batch in batches:
            step_fd(state, *batch, self.n, self.limit)
        return state


@functools.cache
def expected(case: Problem) -> Array:
    """What the oracle gives."""
    state = case.run(published_numpy.published_step_fd)
    assert np.isfinite(state[:, : case.d]).all()
    return state


def problem(dtype: str, d: int, online: bool, limit: float = 4.0) -> Problem:
    return Problem(dtype, d, online, limit, steps=40 if d < 100 else 20 if d < 10_000 else 6)


@functools.cache
def random_rows(n: int, d: int, dtype: str) -> tuple[Array, Array]:
    """Rows of n samples, and of the same at a probe, of many magnitudes, with zeros and denormals."""
    rng = np.random.default_rng([n, d])
    rows, probe_rows = rng.normal(size=(2, n, d)) * 10.0 ** rng.integers(-9, 9, d)
    rows[:, rng.random(d) < 0.1] = -0.0
    rows[rng.random((n, d)) < 0.1] = float(np.finfo(dtype).tiny) / 4
    return rows.astype(dtype), probe_rows.astype(dtype)


# The oracle against its equations


def exact_step(
    column: Array,
    g: float,
    g2: float,
    h: float,
    h2: float,
    n: int,
    limit: float,
    variant: int,
) -> list[Any]:
    """One parameter in 50 digits, from the equations of csrc/published.c, each by its name."""
    g, g2, h, h2 = map(mpmath.mpf, (g, g2, h, h2))
    x, *averages, tau = map(mpmath.mpf, column.tolist())
    if (g - averages[0]) ** 2 > limit * (averages[1] - averages[0] ** 2) or (h - averages[2]) ** 2 > limit * (
        averages[3] - averages[2] ** 2
    ):
        tau += 1
    g_avg, g2_avg, h_avg, h2_avg = averages = [
        (1 - 1 / tau) * average + value / tau for average, value in zip(averages, (g, g2, h, h2), strict=True)
    ]
    rho = min(n * g_avg**2 / (g2_avg + (n - 1) * g_avg**2), 1)
    rate = h_avg / h2_avg * rho if variant == FD else rho / h_avg
    return [x - rate * g, *averages, (1 - g_avg**2 / g2_avg) * tau + 1]


@each_dtype
@each_variant
@pytest.mark.parametrize("n", [1, 7])
def test_step_is_what_the_equations_say(backend: str, dtype: str, variant: int, n: int) -> None:
    rng = np.random.default_rng(n)
    d, limit = 60, 4.0
    state = rng.normal(size=(6, d))
    state[H] = 1 + np.abs(state[H])
    state[G2] = state[G] ** 2 + 0.1 + rng.random(d)
    state[H2] = state[H] ** 2 + 0.1 + rng.random(d)
    state[TAU] = 1 + 9 * rng.random(d)
    state = state.astype(dtype)
    grad, curv = (2 * rng.normal(size=(2, d))).astype(dtype)
    curv = np.abs(curv)
    grad_sq, curv_sq = grad**2 + grad.dtype.type(0.5), curv**2 + grad.dtype.type(0.25)
    with mpmath.workdps(50):
        columns = [
            exact_step(
                state[:, i],
                *(float(v[i]) for v in (grad, grad_sq, curv, curv_sq)),
                n,
                limit,
                variant,
            )
            for i in range(d)
        ]
        want = np.array(columns, dtype=float).T
    outlier = (grad - state[G]) ** 2 > limit * (state[G2] - state[G] ** 2)
    assert 5 < outlier.sum() < d - 5
    kernels.load(backend).published_step(
        state, PublishedMoments(grad, grad_sq, curv, curv_sq), grad, n, StepRule(limit, variant)
    )
    # Some 40 roundings of numbers near 1; a rate can be 10 times its curvature's error.
    tolerance = 400 * np.finfo(dtype).eps
    np.testing.assert_allclose(state, want, rtol=tolerance, atol=tolerance)


@each_dtype
@pytest.mark.parametrize("n", [1, 6])
def test_moments_and_curvature_are_means(backend: str, dtype: str, n: int) -> None:
    rows, probe_rows = np.random.default_rng(n).normal(size=(2, n, 33)).astype(dtype)
    x, point = np.linspace(-1, 1, 33).astype(dtype), np.linspace(-1, 2, 33).astype(dtype)
    point[4] = x[4]
    mean, mean_sq = np.empty((2, 33), dtype)
    tolerance = 4 * n * np.finfo(dtype).eps  # n additions of at most that many ulp
    exact = rows.astype(float)
    kernels.load(backend).moments(rows, mean, mean_sq)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=0, atol=4 * tolerance)
    np.testing.assert_allclose(mean_sq, (exact**2).mean(axis=0), rtol=tolerance)

    moved = point != x
    secant = np.abs(exact - probe_rows)[:, moved] / np.abs(x.astype(float) - point)[moved]
    kernels.load(backend).curvature(rows, probe_rows, x, point, mean, mean_sq)
    # the distance itself is rounded: 1 ulp of x over a distance of at least 1/16
    np.testing.assert_allclose(mean[moved], secant.mean(axis=0), rtol=20 * tolerance)
    np.testing.assert_allclose(mean_sq[moved], (secant**2).mean(axis=0), rtol=40 * tolerance)
    assert mean[~moved].tolist() == mean_sq[~moved].tolist() == [0] * (~moved).sum()


# Every backend against the oracle


@compared_with_numpy
@each_dtype
@each_size
@each_gradient
@each_limit
def test_step_fd_has_the_bits_of_the_reference(
    backend: str, dtype: str, d: int, online: bool, limit: float
) -> None:
    case = problem(dtype, d, online, limit)
    assert_same_bits(case.run(kernels.load(backend).published_step_fd), expected(case), "state")


@each_dtype
@pytest.mark.parametrize("d", [1, LANES + 1, BLOCK + 1])
@each_gradient
@each_limit
def test_fused_step_is_probe_secant_and_step(
    backend: str, dtype: str, d: int, online: bool, limit: float
) -> None:
    one, case, point = kernels.load(backend), problem(dtype, d, online, limit), np.empty(d, dtype)

    def composed(
        state: Array, grad: Array, grad_sq: Array | None, probe_grad: Array, n: int, limit: float
    ) -> None:
        one.published_probe(state, point)
        curv = np.abs(published_numpy.secant(grad - probe_grad, state[X, :d] - point))
        grad_sq = grad * grad if grad_sq is None else grad_sq
        moments = PublishedMoments(grad, grad_sq, curv, curv * curv)
        one.published_step(state, moments, grad, n, StepRule(limit, FD))

    assert_same_bits(case.run(composed), expected(case), "state")


@compared_with_numpy
@each_dtype
@each_size
@each_variant
def test_step_from_per_sample_moments_has_the_bits_of_the_reference(
    backend: str, dtype: str, d: int, variant: int
) -> None:
    """The printed minibatch rule: curvatures of single samples, whose mean square is not their mean's."""
    case = problem(dtype, d, online=False)
    n_steps = 10 if d < 100 else 3

    def run(one: Kernels) -> tuple[Array, Array]:
        state, _ = case.draw()
        state[:, :d] = np.where(np.abs(state[:, :d]) < 1e6, state[:, :d], 1)
        point, moments = np.empty(d, dtype), np.empty((4, d), dtype)
        trace = []
        for _ in range(n_steps):
            rows, probe_rows = random_rows(case.n, d, dtype)
            one.published_probe(state, point)
            one.moments(rows, *moments[:2])
            one.curvature(rows, probe_rows, state[X, :d].copy(), point, *moments[2:])
            # a probe that hardly moves gives infinite curvatures, which are another test's
            np.minimum(moments, np.sqrt(np.finfo(dtype).max) / 8, out=moments)
            rule = StepRule(case.limit, variant)
            one.published_step(state, PublishedMoments(*moments), moments[0], case.n, rule)
            trace.append(moments.copy())
        return state, np.array(trace)

    want, want_moments = run(kernels.load("numpy"))
    got, got_moments = run(kernels.load(backend))
    assert np.isfinite(want[:, :d]).all()
    assert_same_bits(got_moments, want_moments, "moments")
    assert_same_bits(got, want, "state")


@compared_with_numpy
@each_dtype
@each_size
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9])
def test_moments_and_curvature_have_the_bits_of_the_reference(
    backend: str, dtype: str, d: int, n: int
) -> None:
    if d > 10_000 and n > 2:
        n = 5
    rows, probe_rows = random_rows(n, d, dtype)
    x = np.linspace(-1, 1, d).astype(dtype)
    point = np.where(np.arange(d) % 3 == 0, x, x - np.spacing(x) * np.arange(d).astype(dtype))
    want, got = np.full((2, 4, d), SUM_SENTINEL, dtype)
    for one, out in ((kernels.load("numpy"), want), (kernels.load(backend), got)):
        one.moments(rows, *out[:2])
        one.curvature(rows, probe_rows, x, point, *out[2:])
    assert_same_bits(got, want, "moments")


@each_dtype
@pytest.mark.parametrize("n", [1, 4, 5])
def test_means_alone_are_those_of_the_moments(backend: str, dtype: str, n: int) -> None:
    rows, _ = random_rows(n, BLOCK + LANES + 3, dtype)
    alone, mean, mean_sq = np.full((3, rows.shape[1]), SUM_SENTINEL, dtype)
    one = kernels.load(backend)
    assert one.moments(rows, mean, mean_sq) and one.moments(rows, alone, None)
    assert_same_bits(alone, mean, "mean")


@each_dtype
@pytest.mark.parametrize("at", [0, LANES + 2, BLOCK - 1, BLOCK, BLOCK + LANES + 2])
def test_moments_tell_what_is_not_finite(backend: str, dtype: str, at: int) -> None:
    rows = random_rows(5, BLOCK + LANES + 3, dtype)[0].copy()
    mean, mean_sq = np.empty((2, rows.shape[1]), dtype)
    one, largest = kernels.load(backend), np.finfo(dtype).max
    for value in (np.nan, np.inf, -np.inf, largest):  # of the largest the square is not finite
        rows[4, at] = value
        assert not one.moments(rows, mean, mean_sq) and not one.moments(rows, mean, None)
    rows[:, at] = [largest / 4, -largest / 4, 0, 0, 0]  # only the mean square is not
    assert not one.moments(rows, mean, mean_sq) and one.moments(rows, mean, None)


@compared_with_numpy
@each_dtype
@pytest.mark.parametrize("d", [1, LANES + 1, BLOCK + 1])
def test_probe_has_the_bits_of_the_reference(backend: str, dtype: str, d: int) -> None:
    state, _ = problem(dtype, d, online=True).draw()
    want, got = np.full((2, d), SUM_SENTINEL, dtype)
    published_numpy.published_probe(state, want)
    kernels.load(backend).published_probe(state, got)
    assert_same_bits(got, want, "point")


@each_dtype
@each_gradient
def test_only_outputs_and_the_first_columns_are_written(backend: str, dtype: str, online: bool) -> None:
    one, d, guard = kernels.load(backend), BLOCK + 3, 8
    case = problem(dtype, d, online)
    state, [(grad, grad_sq, probe_grad), *_] = case.draw()
    rows, probe_rows = random_rows(5, d, dtype)
    x = state[X, :d].copy()
    inputs = [grad, probe_grad, rows, probe_rows, x] + ([] if grad_sq is None else [grad_sq])
    copies = [array.copy() for array in inputs]
    outputs = np.full((3, d + guard), SUM_SENTINEL, dtype)
    point, mean, mean_sq = outputs[:, :d]

    before = state.copy()
    one.published_probe(state, point)
    assert_same_bits(state, before, "state after probe")
    one.moments(rows, mean, mean_sq)
    one.curvature(rows, probe_rows, x, point, mean, mean_sq)
    one.published_step_fd(state, grad, grad_sq, probe_grad, case.n, case.limit)
    moments = PublishedMoments(grad, grad * grad, x, x * x)
    one.published_step(state, moments, grad, case.n, StepRule(case.limit, BBPROP))

    for array, copy in zip(inputs, copies, strict=True):
        assert_same_bits(array, copy, "input")
    assert np.isnan(state[:, d:]).all()
    assert (outputs[:, d:] == SUM_SENTINEL).all()


@pytest.mark.parametrize("where", ["grad", "probe_grad"])
@each_dtype
@each_gradient
def test_nan_stays_in_its_own_coordinate(backend: str, dtype: str, online: bool, where: str) -> None:
    case, at = problem(dtype, 2 * LANES + 3, online), LANES + 2

    def poisoned(state: Array, grad: Array, grad_sq: Array | None, probe_grad: Array, *rest: Any) -> None:
        grad, probe_grad = grad.copy(), probe_grad.copy()
        (grad if where == "grad" else probe_grad)[at] = np.nan
        kernels.load(backend).published_step_fd(state, grad, grad_sq, probe_grad, *rest)

    got = case.run(poisoned)
    assert np.isnan(got[[G, H, H2] if where == "grad" else [H, H2], at]).all()
    if where == "grad":
        assert got[X, at] == case.draw()[0][X, at]  # a step to NaN is not taken
    got[:, at] = expected(case)[:, at]
    assert_same_bits(got, expected(case), "other coordinates")


@compared_with_numpy
@each_dtype
@each_gradient
def test_what_is_not_finite_has_the_bits_of_the_reference(backend: str, dtype: str, online: bool) -> None:
    rng, d = np.random.default_rng(0), 4000
    largest = np.finfo(dtype).max
    values = np.array([0, 1, -2, largest, -largest, math.sqrt(largest), np.inf, -np.inf, np.nan], dtype)
    state, grad, grad_sq, probe_grad = (rng.choice(values, shape) for shape in ((6, d), d, d, d))
    state[[G2, H2]] = np.abs(state[[G2, H2]])
    state[TAU] = 1 + rng.integers(0, 9, d)
    want, got, want_bbprop, got_bbprop = (state.copy() for _ in range(4))
    n, squares = (1, None) if online else (7, np.abs(grad_sq))
    one = kernels.load(backend)
    published_numpy.published_step_fd(want, grad, squares, probe_grad, n, 4.0)
    one.published_step_fd(got, grad, squares, probe_grad, n, 4.0)
    assert_same_bits(got, want, "state")
    moments = PublishedMoments(grad, np.abs(grad_sq), np.abs(probe_grad), probe_grad * probe_grad)
    told = moments, grad, n, StepRule(4.0, BBPROP)
    published_numpy.published_step(want_bbprop, *told)
    one.published_step(got_bbprop, *told)
    assert_same_bits(got_bbprop, want_bbprop, "state with a curvature that was told")


# Statistics of directions


@functools.cache
def directions_of(
    name: str, dtype: str, n: int, d: int, weighted: bool, is_unit: bool, chunk: int, is_far: bool
) -> list[Array]:
    """What a backend makes of random rows: squares; sums, weights, squared weights, distances by fold."""
    rng, k = np.random.default_rng([n, d]), 5
    rows = rng.normal(size=(n, d)) + 0.3
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True) if is_unit else rows).astype(dtype)
    weights = rng.uniform(0.5, 2, n) if weighted else None
    reference = rng.normal(size=d)
    reference /= np.linalg.norm(reference)
    squares, given = np.full(n, SUM_SENTINEL), np.empty(n)
    kernels.load(name).squares(rows, squares)
    outputs = [rng.normal(size=(k, d)), *rng.uniform(1, 2, (2, k)), np.full(k, 100.0 * n * is_far)]
    given[:] = squares if chunk == 0 else np.nan
    batch = DirectionBatch(rows, weights, given, 1e-300, 1e300, is_unit, chunk, first_fold=3)
    assert kernels.load(name).directions(batch, FoldArrays(reference, *outputs))
    return [squares, *outputs]


@compared_with_numpy
@each_dtype
@pytest.mark.parametrize("d", [1, 8, 31, 33, 63, BLOCK, BLOCK + 47])
@pytest.mark.parametrize(("n", "chunk"), [(1, 0), (23, 0), (23, 7), (23, 23)])
@pytest.mark.parametrize("is_far", [False, True], ids=["near", "far"])
def test_directions_have_the_bits_of_the_reference(
    backend: str, dtype: str, n: int, d: int, chunk: int, is_far: bool
) -> None:
    for flags in ((False, False), (True, False), (True, True)):
        want = directions_of("numpy", dtype, n, d, *flags, chunk, is_far)
        got = directions_of(backend, dtype, n, d, *flags, chunk, is_far)
        for number, (a, b) in enumerate(zip(got, want, strict=True)):
            assert_same_bits(a, b, f"output {number}")


@each_dtype
def test_far_and_near_sums_are_the_same_but_for_rounding(backend: str, dtype: str) -> None:
    near, far = (directions_of(backend, dtype, 23, 63, True, False, 0, is_far) for is_far in (False, True))
    np.testing.assert_allclose(far[1], near[1], rtol=0, atol=1e-14)  # 5 rows of entries below 1
    # the difference of 2 W and of twice a sum, both below 30, beside the distances of 2300 before
    np.testing.assert_allclose(far[4] - 2300, near[4], rtol=0, atol=1e-11)


@each_dtype
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 3.0])
@pytest.mark.parametrize("row", [0, 9, 22])
def test_unfit_rows_are_reported(backend: str, dtype: str, bad: float, row: int) -> None:
    rows, totals = np.eye(23, 40, dtype=dtype), np.zeros((3, 4))
    one, squares, sums = kernels.load(backend), np.empty(23), np.zeros((4, 40))
    for is_fit in (True, False):
        batch = DirectionBatch(rows, None, squares, 0.9, 1.1, is_unit=True, chunk=8, first_fold=0)
        assert one.directions(batch, FoldArrays(np.eye(40)[0], sums, *totals)) is is_fit
        rows[row, row] = bad


# Single values, where the answer is known


def one_step_fd(backend: str, state: Array, grad: float, probe_grad: float) -> Array:
    """The state after an online step of one parameter without outlier limits."""
    state = state.reshape(6, 1).copy()
    here, there = np.array([[grad], [probe_grad]], state.dtype)
    kernels.load(backend).published_step_fd(state, here, None, there, 1, math.inf)
    return state[:, 0]


@each_dtype
@pytest.mark.parametrize("sign", [1, -1])
def test_curvature_is_clamped_so_that_its_square_is_finite(backend: str, dtype: str, sign: int) -> None:
    tiny = np.finfo(dtype).tiny
    state = np.array([0, tiny, tiny, 0, 0, 1], dtype)
    huge = 1e18 if dtype == "float32" else 1e150
    after = one_step_fd(backend, state, sign * huge, 0.0)
    largest = 2.0 ** MAX_CURV_EXPONENT[dtype]
    assert (after[H], after[H2]) == (largest, largest**2)
    assert np.isfinite(after).all()


@each_dtype
@pytest.mark.parametrize("x", [1.0, -1.0, 3.7e5, -1e-20])
@pytest.mark.parametrize("g_avg", [0.0, -0.0])
def test_probe_without_gradient_is_widened(backend: str, dtype: str, x: float, g_avg: float) -> None:
    state = np.array([x, g_avg, 1, 0, 0, 1], dtype)
    x, eps = float(state[X]), float(np.finfo(dtype).eps)
    point = np.empty(1, dtype)
    kernels.load(backend).published_probe(state.reshape(6, 1).copy(), point)
    offset = math.copysign(WIDEN * eps * abs(x), g_avg)
    assert point[0] == np.dtype(dtype).type(x + offset) != x
    delta = float(state[X] - point[0])
    after = one_step_fd(backend, state, 2 * delta, 0.0)
    assert after[H] == pytest.approx(2, rel=eps)


@each_dtype
@pytest.mark.parametrize("x", [0.0, -0.0])
def test_probe_that_does_not_move_sees_no_curvature(backend: str, dtype: str, x: float) -> None:
    state = np.array([x, 0, 1, 3, 9, 4], dtype)
    after = one_step_fd(backend, state, 1.0, 0.5)
    assert (after[H], after[H2]) == (3 * 0.75, 9 * 0.75)


@each_dtype
@pytest.mark.parametrize("what", ["grad", "curv"])
def test_outlier_lengthens_the_memory_by_one(backend: str, dtype: str, what: str) -> None:
    # variance 1 and limit 4: 2 standard deviations are no outlier, the next number is one
    state = np.array([[0, 0, 1, 0, 1, 4]] * 3, dtype).T.copy()
    far = np.nextafter(np.array(2, dtype), np.array(3, dtype))
    values, zero = np.array([2, far, -far], dtype), np.zeros(3, dtype)
    grad, curv = (values, zero) if what == "grad" else (zero, values)
    moments = PublishedMoments(grad, grad * grad, curv, curv * curv)
    kernels.load(backend).published_step(state, moments, grad, 1, StepRule(4.0, FD))
    average = state[G if what == "grad" else H]
    assert average.tolist() == (values * (np.array(1, dtype) / np.array([4, 5, 5], dtype))).tolist()


@each_dtype
def test_infinite_limits_switch_outliers_off(backend: str, dtype: str) -> None:
    state = np.array([0, 0, 0, 0, 0, 4], dtype).reshape(6, 1)  # inf times a variance of 0 is NaN: no outlier
    grad = np.array([1000], dtype)
    moments = PublishedMoments(grad, grad * grad, grad, grad * grad)
    kernels.load(backend).published_step(state, moments, grad, 1, StepRule(math.inf, FD))
    assert state[[G, H], 0].tolist() == [250, 250]


@each_dtype
@each_variant
def test_no_step_is_taken_where_no_curvature_was_seen(backend: str, dtype: str, variant: int) -> None:
    state = np.array([2, 3, 9, 0, 0, 1], dtype).reshape(6, 1)  # no noise: rho is 1
    grad, zero = np.array([3], dtype), np.zeros(1, dtype)
    moments = PublishedMoments(grad, grad * grad, zero, zero)
    kernels.load(backend).published_step(state, moments, grad, 1, StepRule(4.0, variant))
    assert state[[X, TAU], 0].tolist() == [2, 1]


@each_dtype
@each_variant
@pytest.mark.parametrize("grad", [np.nan, np.inf, -np.inf, 0.0, 1.0])
def test_step_that_would_overflow_is_not_taken(backend: str, dtype: str, variant: int, grad: float) -> None:
    # what the rate is divided by is denormal, so that it is infinite; times a gradient of 0 it is NaN
    tiny = 4 * np.finfo(dtype).smallest_subnormal
    averages = [1, tiny] if variant == FD else [tiny, 1]
    state = np.array([2, 1e3, 1e6, *averages, 4], dtype).reshape(6, 1)
    curv, curv_sq, grads = state[H].copy(), state[H2].copy(), np.array([grad], dtype)
    moments = PublishedMoments(grads, grads * grads, curv, curv_sq)
    kernels.load(backend).published_step(state, moments, grads, 1, StepRule(math.inf, variant))
    assert state[X, 0] == 2
    assert np.isfinite(state[H:TAU]).all()


@each_dtype
def test_curvature_of_one_sample_is_its_absolute_secant(backend: str, dtype: str) -> None:
    rows, probe_rows = random_rows(1, 50, dtype)
    x = np.linspace(-1, 1, 50).astype(dtype)
    point = x + np.array(0.25, dtype)
    mean, mean_sq = np.empty((2, 50), dtype)
    kernels.load(backend).curvature(rows, probe_rows, x, point, mean, mean_sq)
    assert_same_bits(mean, np.abs(published_numpy.secant(rows[0] - probe_rows[0], x - point)), "mean")


# Threads


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = refsgd.get_num_threads()
    yield refsgd.set_num_threads
    refsgd.set_num_threads(before)


@functools.cache
def large(dtype: str) -> tuple[Problem, Array, Array, Array]:
    """A problem that is large enough for several threads, its state and its two gradients."""
    case = Problem(dtype, 300_001, True, 4.0, 1)
    state, [(grad, _, probe_grad)] = case.draw()
    return case, state, grad, probe_grad


def all_slots(name: str, dtype: str) -> list[Array]:
    """The outputs of every slot."""
    one, (case, state, grad, probe_grad) = kernels.load(name), large(dtype)
    rows, probe_rows = np.stack([grad, probe_grad]), np.stack([probe_grad, grad])
    point, *moments = np.full((5, case.d), SUM_SENTINEL, dtype)
    fused, stepped = state.copy(), state.copy()
    one.published_probe(state, point)
    one.moments(rows, *moments[:2])
    one.curvature(rows, probe_rows, state[X, : case.d].copy(), point, *moments[2:])
    one.published_step_fd(fused, grad, None, probe_grad, 1, 4.0)
    curv = np.abs(probe_grad)
    told = PublishedMoments(grad, grad * grad, curv, curv * curv)
    one.published_step(stepped, told, grad, 1, StepRule(4.0, BBPROP))
    return [point, *moments, fused, stepped]


@functools.cache
def expected_of_all_slots(dtype: str) -> list[Array]:
    return all_slots("numpy", dtype)


@compared_with_numpy
@each_dtype
def test_bits_do_not_depend_on_the_number_of_threads(
    backend: str, dtype: str, threads: Callable[[int], None]
) -> None:
    for n in (1, 2, 3):
        threads(n)
        for number, (got, want) in enumerate(
            zip(all_slots(backend, dtype), expected_of_all_slots(dtype), strict=True)
        ):
            assert_same_bits(got, want, f"output {number} with {n} threads")


@pytest.mark.process
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_forked_child_of_a_parallel_region_finishes(backend: str, threads: Callable[[int], None]) -> None:
    threads(2)
    want = all_slots(backend, "float32")

    def child() -> None:
        got = all_slots(backend, "float32")
        same = all(np.array_equal(bits(a), bits(b)) for a, b in zip(got, want, strict=True))
        os._exit(0 if same else 3)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(timeout=20)
    if process.is_alive():
        process.kill()
        process.join()
        pytest.fail("the child hangs")
    assert process.exitcode == 0


# Properties

DRAWS = {"float32": (32, 2.0**-30, 2.0**30), "float64": (64, 2.0**-200, 2.0**200)}


def numbers(dtype: str) -> st.SearchStrategy[float]:
    """0 or of a magnitude whose square is far from the ends of the range."""
    width, least, most = DRAWS[dtype]
    positive = st.floats(least, most, width=width)
    return st.just(0.0) | positive | positive.map(lambda value: -value)


class Step(NamedTuple):
    """The arguments of published_step_fd."""

    state: Array
    grad: Array
    grad_sq: Array | None
    probe_grad: Array
    scalars: tuple[Any, ...]

    def run(self, backend: str, order: Any = slice(None)) -> Array:
        """The state after the step, with the parameters in another order."""
        state, grad, probe_grad = (
            array[..., order].copy() for array in (self.state, self.grad, self.probe_grad)
        )
        grad_sq = None if self.grad_sq is None else self.grad_sq[order].copy()
        kernels.load(backend).published_step_fd(state, grad, grad_sq, probe_grad, *self.scalars)
        return state


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """A step whose averages can be averages of something: mean squares are not below squared means."""
    dtype = draw(st.sampled_from(DTYPES))
    d, n = draw(st.integers(1, 20)), draw(st.sampled_from([1, 2, 64]))
    x, g_avg, h_avg, grad, probe_grad = draw(hnp.arrays(dtype, (5, d), elements=numbers(dtype)))
    spread = draw(hnp.arrays(dtype, (3, d), elements=st.floats(1, 8, width=32)))
    tau = draw(hnp.arrays(dtype, d, elements=st.floats(1, 2.0**20, width=32)))
    if draw(st.booleans()):  # no curvature was ever seen
        h_avg, probe_grad = np.zeros_like(h_avg), grad.copy()
    state = np.array([x, g_avg, g_avg**2 * spread[0], h_avg, h_avg**2 * spread[1], tau])
    grad_sq = None if n == 1 else grad**2 * spread[2]
    return Step(state, grad, grad_sq, probe_grad, (n, draw(st.sampled_from([4.0, math.inf]))))


@settings(max_examples=40)
@given(step=steps())
def test_step_of_finite_numbers_is_finite_and_keeps_its_bounds(backend: str, step: Step) -> None:
    n, before = step.scalars[0], step.state
    after = step.run(backend)
    assert np.isfinite(after).all()
    # rho within [0, 1]: an outlier adds 1 to tau, and forgetting nothing another 1
    most = (before[TAU] + 2) * (1 + 2 * np.finfo(after.dtype).eps)  # two additions
    assert (after[TAU] >= 1).all() and (after[TAU] <= most).all()
    rho = published_numpy.signal_share(after[G], after[G2], n)
    assert (rho >= 0).all() and (rho <= 1).all()
    assert (after[[G2, H2]] >= 0).all()


@settings(max_examples=40)
@given(step=steps(), seed=st.integers(0, 2**32))
def test_permuted_parameters_give_permuted_results(backend: str, step: Step, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(step.grad.size)
    assert_same_bits(step.run(backend, order), step.run(backend)[:, order], "state")
