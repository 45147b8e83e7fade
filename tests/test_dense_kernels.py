"""Kernels of the default rule: every backend against the NumPy oracle to the bit, and against plain loops."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from backends import compared_with_numpy
from numpy.typing import NDArray
from test_kernels import assert_same_bits

import refsgd
from refsgd import kernels
from refsgd.kernels import dense_numpy
from refsgd.kernels.contract import BLOCK, GUARD, LANES, Kernels, n_blocks

Array = NDArray[Any]

# Data overflow on purpose, of which NumPy's kernels warn; what is not finite is looked for in the results.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning")

X, M, V, TAU, X_AVG = range(5)
SIZES = [1, LANES - 1, LANES, LANES + 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]
PADDING = 5  # an odd width: rows of the state are not aligned to vectors
SENTINEL = -7.0
UNIT, LENGTH, WEIGHT = 0.5, 0.3, 0.25

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_size = pytest.mark.parametrize("d", SIZES)
each_begin = pytest.mark.parametrize("begin", [0, 1, LANES, BLOCK + 3])
each_number_of_rows = pytest.mark.parametrize("n_rows", [4, 5], ids=["plain", "average"])


class Data(NamedTuple):
    """A state in which ``d`` columns from ``begin`` on count, and gradients of several minibatches.

    One column in two is ordinary; the others are what tests of single values would try one by one.
    """

    state: Array
    gradients: list[Array]


@functools.cache
def _data(dtype: str, d: int, begin: int, n_rows: int) -> Data:
    rng = np.random.default_rng([d, begin])
    tiny, huge = float(np.finfo(dtype).tiny), 1e8 if dtype == "float32" else 1e75
    kind = rng.integers(0, 16, d)
    zero, denormal, large, constant, outlier, fresh, far, faint = (kind == k for k in range(8))

    state = rng.normal(size=(n_rows, d))
    state[V] = state[M] ** 2 * (1 + rng.random(d))
    state[TAU] = 1 + 20 * rng.random(d)
    state[M : V + 1, zero] = 0
    state[X, zero] = rng.choice([-0.0, 0.0, 1.0], zero.sum())
    state[M, denormal] = tiny / 8 * rng.integers(-7, 8, denormal.sum())
    state[V, denormal] = tiny / 8 * rng.integers(0, 8, denormal.sum())
    state[M, large] *= huge
    state[V, large] = state[M, large] ** 2 * 3
    state[V, constant] = (state[M, constant].astype(dtype) ** 2).astype(float)
    state[TAU, fresh] = 1
    state[X, far] *= 0.9 * float(np.finfo(dtype).max) / 5
    state[M, faint] *= 1e-20  # of which the square may vanish
    state[V, faint] = state[M, faint] ** 2

    gradients = []
    for _ in range(4):
        grad = rng.normal(size=d) + 0.5
        grad[zero] = rng.choice([-0.0, 0.0], zero.sum())
        grad[denormal] *= tiny / 8
        grad[large] *= huge
        grad[constant] = state[M, constant] / UNIT
        grad[outlier] *= 50
        grad[faint] *= 1e-20
        gradients.append(grad.astype(dtype))

    buffer = np.full((n_rows, begin + d + PADDING), SENTINEL, dtype)
    buffer[:, begin : begin + d] = state
    return Data(buffer, gradients)


def draw(dtype: str, d: int, begin: int = 0, n_rows: int = 4) -> Data:
    state, gradients = _data(dtype, d, begin, n_rows)
    return Data(state.copy(), [grad.copy() for grad in gradients])


def room(d: int, n_sums: int) -> Array:
    return np.full((n_blocks(d) + 1, n_sums), SENTINEL)


def trace(one: Kernels, data: Data, d: int, begin: int) -> list[Array]:
    """Everything that the kernels write, in some steps."""
    state, gradients = data
    written = []
    for number, grad in enumerate(gradients):
        length = LENGTH * 4.0**number
        energy, secants, sums = room(d, 1), room(d, 4), room(d, 2)
        points = np.full((2, d + 8), SENTINEL, state.dtype)
        one.check(grad, UNIT, energy)
        one.probe(state, begin, length, points[0, :d])
        one.land(state, begin, grad, UNIT, length, points[1, :d])
        other = gradients[(number + 1) % len(gradients)]
        one.secant(state, begin, points[number % 2, :d], grad, other, UNIT, secants)
        one.step(state, begin, grad, UNIT, length, WEIGHT, sums)
        written += [energy, points, secants, sums, state.copy()]
    return written


@functools.cache
def expected(dtype: str, d: int, begin: int, n_rows: int) -> list[Array]:
    return trace(kernels.load("numpy"), draw(dtype, d, begin, n_rows), d, begin)


def assert_all_same(got: list[Array], want: list[Array]) -> None:
    for number, (a, b) in enumerate(zip(got, want, strict=True)):
        assert_same_bits(a, b, f"output {number}")


# Every backend against the oracle


@compared_with_numpy
@each_dtype
@each_size
@each_begin
@each_number_of_rows
def test_kernels_have_the_bits_of_the_oracle(
    backend: str, dtype: str, d: int, begin: int, n_rows: int
) -> None:
    data = draw(dtype, d, begin, n_rows)
    want = expected(dtype, d, begin, n_rows)
    assert np.isfinite(want[-1]).all()
    assert_all_same(trace(kernels.load(backend), data, d, begin), want)


@each_dtype
@each_number_of_rows
def test_only_the_columns_asked_for_are_written(backend: str, dtype: str, n_rows: int) -> None:
    d, begin = BLOCK + 3, 7
    state, [grad, *_] = draw(dtype, d, begin, n_rows)
    before, told = state.copy(), grad.copy()
    kernels.load(backend).step(state, begin, grad, UNIT, LENGTH, WEIGHT, room(d, 2))
    changed = (state != before).any(axis=0)
    assert not changed[:begin].any() and not changed[begin + d :].any()
    assert changed[begin : begin + d].mean() > 0.9
    assert_same_bits(grad, told, "grad")


@compared_with_numpy
@each_dtype
@each_number_of_rows
def test_what_is_not_finite_has_the_bits_of_the_oracle(backend: str, dtype: str, n_rows: int) -> None:
    rng, d = np.random.default_rng(0), 20_000
    largest, least = float(np.finfo(dtype).max), float(np.finfo(dtype).smallest_subnormal)
    values = [0, -0.0, 1, -2, least, largest, -largest, math.sqrt(largest), np.inf, -np.inf, np.nan]
    state, *gradients = (rng.choice(np.array(values, dtype), shape) for shape in ((n_rows, d), d, d, d, d))
    state[V] = np.abs(state[V])
    state[TAU] = 1 + rng.integers(0, 9, d)
    want, got = (
        trace(kernels.load(name), Data(state.copy(), gradients), d, 0) for name in ("numpy", backend)
    )
    assert_all_same(got, want)


@compared_with_numpy
@each_dtype
def test_sums_of_finite_numbers_that_overflow_have_the_bits_of_the_oracle(backend: str, dtype: str) -> None:
    d = BLOCK + LANES + 1
    grad = np.full(d, math.sqrt(float(np.finfo(dtype).max)) / 8, dtype)
    want, got = room(d, 1), room(d, 1)
    dense_numpy.check(grad, 1.0, want)
    kernels.load(backend).check(grad, 1.0, got)
    assert np.isinf(want[[0, 2], 0]).all() and np.isfinite(want[1, 0])
    assert_same_bits(got, want, "sums")


# Check, guard and step in one call


@each_dtype
@each_size
@each_number_of_rows
@pytest.mark.parametrize("g2_share", [0.0, 0.5 / GUARD**2, 2 / GUARD**2], ids=["zero", "guarded", "fit"])
def test_advance_is_check_guard_and_step(
    backend: str, dtype: str, d: int, n_rows: int, g2_share: float
) -> None:
    want, gradients = draw(dtype, d, 0, n_rows)
    got, energy, want_energy, sums, want_sums = want.copy(), room(d, 1), room(d, 1), room(d, 2), room(d, 2)
    advance = kernels.load(backend).bind_advance(got, energy, sums)
    for grad in gradients:
        dense_numpy.check(grad, UNIT, want_energy)
        g2_sum = g2_share * float(want_energy[-1, 0])
        factor = dense_numpy.guarded(UNIT, float(want_energy[-1, 0]), g2_sum)
        assert (factor < UNIT) == (0 < g2_share < 1 / GUARD**2)
        assert factor <= UNIT
        dense_numpy.step(want, 0, grad, factor, LENGTH, WEIGHT, want_sums)
        assert advance(grad, UNIT, g2_sum, LENGTH, WEIGHT) is True
        assert_all_same([energy, sums, got], [want_energy, want_sums, want])


@each_dtype
def test_guarded_minibatch_counts_as_eight_root_mean_squares(backend: str, dtype: str) -> None:
    state = np.array([[0, 0], [0, 0], [3, 1], [1e4, 1e4]], dtype)  # in a long memory averages hardly change
    grad = np.array([3000, -4000], dtype)
    advance = kernels.load(backend).bind_advance(state, room(2, 1), room(2, 2))
    assert advance(grad, 1.0, 4.0, 0.0, 0.0)
    # |grad| is 5000, and 8 sqrt(4) = 16 is what it counts as; outliers make the memory one longer
    np.testing.assert_allclose(state[M] * 10_001, grad * 16 / 5000, rtol=1e-5)


@each_dtype
@each_number_of_rows
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, "largest"])
@pytest.mark.parametrize("at", [0, LANES + 2, BLOCK - 1, BLOCK, BLOCK + LANES + 2])
def test_advance_refuses_what_is_not_fit_and_changes_nothing(
    backend: str, dtype: str, n_rows: int, bad: Any, at: int
) -> None:
    d = BLOCK + LANES + 3
    state, [grad, good, *_] = draw(dtype, d, 0, n_rows)
    before, energy, sums = state.copy(), room(d, 1), room(d, 2)
    advance = kernels.load(backend).bind_advance(state, energy, sums)
    grad[at] = np.finfo(dtype).max if bad == "largest" else bad  # of the largest the square is not finite
    assert advance(grad, UNIT, 1.0, LENGTH, WEIGHT) is False
    assert not math.isfinite(energy[-1, 0])
    assert_same_bits(state, before, "state")
    assert (sums == SENTINEL).all()
    assert advance(good, UNIT, 1.0, LENGTH, WEIGHT) is True


@each_dtype
def test_bound_step_sees_what_is_written_to_the_same_gradient_and_a_new_one(backend: str, dtype: str) -> None:
    d = 40
    want, gradients = draw(dtype, d)
    got, shared = want.copy(), np.empty(d, dtype)
    one = kernels.load(backend)
    advance = one.bind_advance(got, room(d, 1), room(d, 2))
    for number, grad in enumerate(gradients):
        shared[:] = grad
        assert advance(shared if number % 3 else grad, 1.0, 0.0, LENGTH, WEIGHT)
        dense_numpy.step(want, 0, grad, 1.0, LENGTH, WEIGHT, room(d, 2))
        assert_same_bits(got, want, f"state after step {number}")


# Threads


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = refsgd.get_num_threads()
    yield refsgd.set_num_threads
    refsgd.set_num_threads(before)


@compared_with_numpy
@each_dtype
@each_number_of_rows
def test_bits_do_not_depend_on_the_number_of_threads(
    backend: str, dtype: str, n_rows: int, threads: Callable[[int], None]
) -> None:
    d, begin = 300_001, 3
    want = expected(dtype, d, begin, n_rows)
    for n in (1, 2):
        threads(n)
        data = draw(dtype, d, begin, n_rows)
        assert_all_same(trace(kernels.load(backend), data, d, begin), want)
        got, gradients = draw(dtype, d, 0, n_rows)
        state, energy, sums = got.copy(), room(d, 1), room(d, 2)
        dense_numpy.bind_advance(dense_numpy.check, dense_numpy.step)(state, energy, sums)(
            gradients[0], UNIT, 1.0, LENGTH, WEIGHT
        )
        outputs = room(d, 1), room(d, 2)
        assert kernels.load(backend).bind_advance(got, *outputs)(gradients[0], UNIT, 1.0, LENGTH, WEIGHT)
        assert_all_same([got, *outputs], [state, energy, sums])


# Against the equations, one parameter at a time


def ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def plain_move(x: float, m: float, v: float, g: float, length: float) -> float:
    deviation = math.sqrt(abs(v - m**2))
    return x - length * ratio(abs(m), v) * max(min(g, m + 3 * deviation), m - 3 * deviation)


def plain_step(column: list[float], g: float, length: float, weight: float) -> list[float]:
    x, m, v, tau, *averages = column
    if (g - m) ** 2 > 4 * abs(v - m**2):
        tau += 1
    m, v = m + (g - m) / tau, v + (g**2 - v) / tau
    x = plain_move(x, m, v, g, length)
    tau = (1 - min(ratio(m**2, v), 1)) * tau + 1
    return [x, m, v, tau, *((1 - weight) * x_avg + weight * x for x_avg in averages)]


def plain_probe(x: float, m: float, v: float, length: float) -> float:
    offset, shortest = ratio(length * m, math.sqrt(v)), 8 * np.finfo(float).eps * abs(x)
    return x - (offset if abs(offset) > shortest else math.copysign(shortest, offset))


def plain_secant(x: float, v: float, point: float, g: float, point_g: float) -> tuple[float, ...]:
    d, change, metric = x - point, g - point_g, math.sqrt(v)
    return d**2 * metric, d * change, ratio(change**2, metric), g * d


@pytest.fixture
def ordinary() -> tuple[Array, Array, Array]:
    """A state of numbers near 1, with some v = 0 and tau = 1, and two gradients, some of them outliers."""
    rng, d = np.random.default_rng(7), 300
    state = rng.normal(size=(5, d))
    state[V] = state[M] ** 2 + 0.1 + rng.random(d)
    state[TAU] = 1 + 9 * rng.random(d)
    state[TAU, :20] = 1
    grad, other = 2 * rng.normal(size=(2, d))
    state[M : V + 1, 20:40] = grad[20:40] = other[20:40] = 0
    return state, grad, other


@each_number_of_rows
def test_step_is_what_the_equations_say(
    backend: str, ordinary: tuple[Array, Array, Array], n_rows: int
) -> None:
    state, grad, _ = ordinary
    state = state[:n_rows].copy()
    d, sums = grad.size, room(grad.size, 2)
    want = np.array([plain_step(state[:, i].tolist(), 2 * g, 0.3, 0.25) for i, g in enumerate(grad)]).T
    before = state.copy()
    kernels.load(backend).step(state, 0, grad, 2.0, 0.3, 0.25, sums)
    outlier = (2 * grad - before[M]) ** 2 > 4 * (before[V] - before[M] ** 2)
    assert 30 < outlier.sum() < d - 30
    # v close to m**2 magnifies roundings where tau was 1 (v = m**2 after the step)
    settled = before[TAU] > 1
    np.testing.assert_allclose(state[:, settled], want[:, settled], rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(state, want, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(sums, [state[[V, TAU]].sum(axis=1)] * 2, rtol=1e-14)


def test_probe_and_land_are_what_the_equations_say(
    backend: str, ordinary: tuple[Array, Array, Array]
) -> None:
    (state, grad, _), one = ordinary, kernels.load(backend)
    x, m, v = state[: V + 1].tolist()
    points = np.empty((2, grad.size))
    one.probe(state, 0, 0.3, points[0])
    one.land(state, 0, grad, 2.0, 0.3, points[1])
    probed = list(map(plain_probe, x, m, v, [0.3] * grad.size))
    landed = list(map(plain_move, x, m, v, (2 * grad).tolist(), [0.3] * grad.size))
    np.testing.assert_allclose(points, [probed, landed], rtol=1e-14, atol=1e-14)
    widened = points[0, 20:40] - state[X, 20:40]
    np.testing.assert_allclose(widened, -8 * np.finfo(float).eps * np.abs(state[X, 20:40]), rtol=0.2)


def test_secant_sums_are_what_the_equations_say(backend: str, ordinary: tuple[Array, Array, Array]) -> None:
    (state, grad, other), sums = ordinary, room(300, 4)
    point = state[X] - 0.1 * np.random.default_rng(8).normal(size=grad.size)
    kernels.load(backend).secant(state, 0, point, grad, other, 2.0, sums)
    columns = state[X], state[V], point, 2 * grad, 2 * other
    terms = np.array([plain_secant(*map(float, column)) for column in zip(*columns, strict=True)])
    np.testing.assert_allclose(
        sums[-1], terms.sum(axis=0), rtol=0, atol=1e-14 * np.abs(terms).sum(axis=0).max()
    )


@each_dtype
@pytest.mark.parametrize("grad", [np.nan, np.inf, 1e30])
def test_step_that_would_overflow_is_not_taken(backend: str, dtype: str, grad: float) -> None:
    huge = grad if dtype == "float32" or not math.isfinite(grad) else grad**8
    state = np.array([[2], [1], [4], [3]], dtype)
    kernels.load(backend).step(state, 0, np.array([huge], dtype), 1.0, 1e30, 0.0, room(1, 2))
    assert state[X, 0] == 2
