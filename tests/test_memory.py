"""Bytes that are held, as `tracemalloc` sees NumPy ask for them; docs/performance.md has the same numbers."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import refsgd
from refsgd.linear.model import LinearModel

D = 2**16  # half a byte a parameter is 32 kB here, much more than all objects that are no arrays of d
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(autouse=True, scope="module")
def only_new_objects() -> Iterator[None]:
    """Let collections look at no object from before: there are a million, of all that is imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def bytes_a_parameter(make: Callable[[int], Any]) -> int:
    """Of what ``make(d)`` returns, to the nearest byte."""
    make(100)  # loads modules and compiles
    gc.collect()
    tracemalloc.start()
    try:
        result = make(D)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    del result
    return round(held / D)


def started_run_of(rule: Any, dtype: str, backend: str, form: Callable[[Any], Any]) -> Callable[[int], Any]:
    """Makes a run of the default rule that is beyond its start, by gradients of a form."""

    def make(d: int) -> Any:
        run = rule.start(np.ones(d, dtype), backend=backend)
        for _ in range(12):
            run.tell(form(np.ones((2, d), dtype)))
            if run.is_open:
                run.tell(form(np.full((2, d), 0.5, dtype)))
        assert run.n_gradients > run.n_steps
        return run

    return make


@each_dtype
@pytest.mark.parametrize(("rule", "rows"), [(refsgd.VSGD(), 4), (refsgd.VSGD(average=True), 5)], ids=repr)
def test_default_run_holds_four_arrays_and_two_after_a_second_point(
    rule: Any, rows: int, dtype: str, backend: str
) -> None:
    size = np.dtype(dtype).itemsize

    def begun(d: int) -> Any:
        run = rule.start(np.ones(d, dtype), backend=backend)
        run.tell(np.ones(d, dtype))  # the first is never open
        return run

    assert bytes_a_parameter(lambda d: rule.start(np.ones(d, dtype), backend=backend)) == rows * size
    assert bytes_a_parameter(begun) == rows * size
    kept = 2 + (backend == "c")  # the point and the gradient at x; C remembers where the last gradient is
    make = started_run_of(rule, dtype, backend, lambda rows: rows[0].copy())
    assert bytes_a_parameter(make) == (rows + kept) * size


@each_dtype
@pytest.mark.parametrize(
    ("weighting", "form"),
    [
        ("dense", lambda rows: rows),
        ("dense", scipy.sparse.csr_array),
        ("dense", lambda rows: (2, rows[0].copy())),
        ("orthogonal", lambda rows: rows),
    ],
    ids=["rows", "csr", "moments", "orthogonal"],
)
def test_samples_take_an_array_for_their_mean(weighting: str, form: Any, dtype: str, backend: str) -> None:
    make = started_run_of(refsgd.VSGD(weighting=weighting), dtype, backend, form)
    has_mean = backend == "c" or (weighting == "dense" and not isinstance(form(np.ones((2, 3))), tuple))
    assert bytes_a_parameter(make) == (6 + has_mean) * np.dtype(dtype).itemsize


@each_dtype
def test_sparse_run_holds_five_arrays_and_a_slot_a_parameter(dtype: str, backend: str) -> None:
    """The fifth is the second point, which is x but where a minibatch is open."""

    def make(d: int) -> Any:
        run = refsgd.VSGD(weighting="sparse").start(np.ones(d, dtype), backend=backend)
        for k in range(30):
            rows = scipy.sparse.csr_array((np.ones(3, dtype), [0, 1 + k, k % 7], [0, 2, 3]), shape=(2, d))
            run.tell(rows)
            if run.is_open:
                run.tell(rows)
        assert run.n_gradients > run.n_steps
        return run

    assert bytes_a_parameter(make) == 5 * np.dtype(dtype).itemsize + 4


def run_of(rule: Any, dtype: str, backend: str) -> Callable[[int], Any]:
    """Makes a run that is beyond its start."""

    def make(d: int) -> Any:
        run = rule.start(np.ones(d, dtype), backend=backend)
        for _ in range(12):
            run.tell(np.ones((1, d), dtype))
            if run.is_open:
                run.tell(np.full((1, d), 0.5, dtype))
        return run

    return make


@each_dtype
@pytest.mark.parametrize(
    ("weighting", "held"),
    [
        ("dense", {"float32": 40, "float64": 80}),
        ("orthogonal", {"float32": 40, "float64": 80}),
        ("sparse", {"float32": 32, "float64": 60}),
    ],
)
def test_published_run_holds_six_arrays_of_state_and_room_for_a_step(
    weighting: str, held: dict[str, int], dtype: str, backend: str
) -> None:
    make = run_of(refsgd.PublishedVSGD(weighting=weighting), dtype, backend)
    state = make(D).state
    assert len(state) == 6
    assert {(row.shape, row.dtype) for row in state} == {((D,), np.dtype(dtype))}
    assert bytes_a_parameter(make) == held[dtype]


@each_dtype
@pytest.mark.parametrize("rule", [refsgd.VSGD(), refsgd.PublishedVSGD()], ids=["default", "published"])
def test_rows_of_the_state_are_padded_by_256_bytes_and_less_than_a_page(rule: Any, dtype: str) -> None:
    for d in (1, 1023, 1024, 1025, 100_000):
        state = rule.start(np.ones(d, dtype)).state
        apart = state.g_avg.ctypes.data - state.x.ctypes.data
        assert 256 <= apart - state.x.nbytes < 256 + 4096


@each_dtype
@pytest.mark.parametrize(
    ("options", "beside"),
    [
        ({}, 0),
        ({"alpha": 0.1}, 16),
        ({"average": True}, 24),
        ({"average": True, "alpha": 0.1}, 24),
    ],
    ids=["plain", "penalty", "average", "both"],
)
def test_linear_model_holds_a_record_a_coordinate(dtype: str, options: dict[str, Any], beside: int) -> None:
    def make(d: int) -> LinearModel:
        model = LinearModel(d, "log_loss", dtype=dtype, **options)
        for _ in range(4):  # windows of the average pass
            model.learn(np.ones((2, d), dtype), [1, -1])
        return model

    assert bytes_a_parameter(make) == {"float32": 32, "float64": 64}[dtype] + beside


def test_multinomial_model_holds_a_record_a_coordinate_and_class() -> None:
    assert bytes_a_parameter(lambda d: LinearModel(d, "multinomial", n_outputs=3)) == 3 * 64


@each_dtype
def test_moments_hold_two_numbers_a_parameter(dtype: str, backend: str) -> None:
    held = bytes_a_parameter(lambda d: refsgd.Moments.from_rows(np.ones((5, d), dtype), backend=backend))
    assert held == 2 * np.dtype(dtype).itemsize


@each_dtype
@pytest.mark.parametrize("n_folds", [1, 16])
@pytest.mark.parametrize("n", [3, 200])
def test_direction_stats_hold_the_reference_and_fold_sums(n: int, n_folds: int, dtype: str) -> None:
    def make(d: int) -> refsgd.DirectionStats:
        stats = refsgd.DirectionStats(d, n_folds)
        stats.update(np.ones((n, d), dtype))
        return stats

    assert bytes_a_parameter(make) == 8 * (n_folds + 1)


@pytest.mark.parametrize("n_folds", [1, 16])
@pytest.mark.parametrize("records", [0, 1, 2])
@pytest.mark.parametrize("is_grouped", [False, True])
def test_monitor_holds_reference_total_and_fold_sums(is_grouped: bool, records: int, n_folds: int) -> None:
    def make(d: int) -> refsgd.DirectionMonitor:
        monitor = refsgd.DirectionMonitor(n_folds=n_folds)
        g = np.ones(d)
        for _ in range(records + 1):
            for _ in range(3):
                monitor.update({"weight": g[: d // 2], "bias": g[d // 2 :]} if is_grouped else g)
            if records:
                monitor.record()
        return monitor

    kinds = 2 if is_grouped else 1
    previous = kinds if records else 0  # mean directions at the last record, for the angle
    assert bytes_a_parameter(make) == 8 * (kinds * n_folds + 2 + previous)
