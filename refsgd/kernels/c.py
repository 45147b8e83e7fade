"""C backend through cffi: pointers and status codes, no arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._errors import BackendError
from .._kernels import ffi, lib  # type: ignore[import-not-found,unused-ignore]
from . import contract
from .contract import (
    Advance,
    Array,
    Csr,
    DirectionBatch,
    FoldArrays,
    Kernels,
    LinearRule,
    LinearState,
    PublishedMoments,
    StepRule,
)

_ABI_VERSION = 9
_NUMBERS = {
    name: value for name, value in vars(contract).items() if name.isupper() and isinstance(value, int | float)
}

if lib.REFSGD_ABI_VERSION != _ABI_VERSION or any(
    getattr(lib, f"REFSGD_{name}", None) != value for name, value in _NUMBERS.items()
):
    raise BackendError("the C kernels were built from other sources than this package; reinstall refsgd")

_threads = 2**31 - 1  # no limit but OpenMP's own


def set_num_threads(n: int) -> None:
    global _threads
    _threads = n
    lib.refsgd_allow_threads(n)


def get_num_threads() -> int:
    n: int = lib.refsgd_threads(_threads)
    return n


_FLOATS, _DOUBLES, _INT32S, _INT64S = map(ffi.typeof, ("float[]", "double[]", "int32_t[]", "int64_t[]"))


def _functions(stem: str) -> dict[np.dtype[Any], tuple[Any, Callable[..., int]]]:
    return {
        np.dtype(np.float32): (_FLOATS, getattr(lib, f"refsgd_{stem}_f32")),
        np.dtype(np.float64): (_DOUBLES, getattr(lib, f"refsgd_{stem}_f64")),
    }


_CHECK, _PROBE, _LAND, _SECANT, _STEP, _ADVANCE, _TWIN = map(
    _functions,
    ("dense_check", "dense_probe", "dense_land", "dense_secant", "dense_step", "dense_advance", "dense_twin"),
)
_MOMENTS, _CURVATURE, _COLLECT, _ADD = map(_functions, ("moments", "curvature", "collect", "add"))
_PUBLISHED_PROBE, _PUBLISHED_STEP, _PUBLISHED_STEP_FD, _PUBLISHED_STEP_AT = map(
    _functions, ("published_probe", "published_step", "published_step_fd", "published_step_at")
)
_ROW_FLAWS, _LINEAR, _SQUARES, _DIRECTIONS = map(_functions, ("row_flaws", "linear", "squares", "directions"))
_CSR, _LINEAR_JOB, _DIRECTION_JOBS = (
    {np.dtype(f"f{bits // 8}"): ffi.typeof(f"refsgd_{stem}_f{bits} *") for bits in (32, 64)}
    for stem in ("csr", "linear_job", "direction_job")
)
_buffer = ffi.from_buffer
_OK = lib.REFSGD_OK  # attribute access on lib is slow


def _check(status: int) -> None:
    if status == lib.REFSGD_NO_MEMORY:
        raise MemoryError("a C kernel found no memory to work in")
    if status != _OK:
        raise RuntimeError(f"a C kernel returned status {status}")


def _are_fit(status: int) -> bool:
    """Whether a kernel found nothing to refuse in its rows."""
    if status != lib.REFSGD_UNFIT:
        _check(status)
    return bool(status == _OK)


def check(grad: Array, unit: float, sums: Array) -> None:
    ctype, function = _CHECK[grad.dtype]
    _check(function(_buffer(ctype, grad), grad.size, unit, _buffer(_DOUBLES, sums, True), _threads))


def probe(state: Array, begin: int, length: float, point: Array) -> None:
    ctype, function = _PROBE[state.dtype]
    out = _buffer(ctype, point, True)
    _check(function(_buffer(ctype, state), state.shape[1], begin, point.size, length, out, _threads))


def land(state: Array, begin: int, grad: Array, unit: float, length: float, point: Array) -> None:
    ctype, function = _LAND[state.dtype]
    rows, g, out = _buffer(ctype, state), _buffer(ctype, grad), _buffer(ctype, point, True)
    _check(function(rows, state.shape[1], begin, grad.size, g, unit, length, out, _threads))


def secant(
    state: Array, begin: int, point: Array, grad: Array, point_grad: Array, unit: float, sums: Array
) -> None:
    ctype, function = _SECANT[state.dtype]
    inputs = [_buffer(ctype, array) for array in (point, grad, point_grad)]
    where = _buffer(ctype, state), state.shape[1], begin, grad.size
    _check(function(*where, *inputs, unit, _buffer(_DOUBLES, sums, True), _threads))


def step(
    state: Array, begin: int, grad: Array, factor: float, length: float, weight: float, sums: Array
) -> None:
    ctype, function = _STEP[state.dtype]
    n_rows, width = state.shape
    where = _buffer(ctype, state, True), width, n_rows > 4, begin, grad.size
    scalars = factor, length, weight
    _check(function(*where, _buffer(ctype, grad), *scalars, _buffer(_DOUBLES, sums, True), _threads))


def bind_advance(state: Array, energy: Array, sums: Array) -> Advance:
    ctype, function = _ADVANCE[state.dtype]
    rows, (n_rows, width) = _buffer(ctype, state, True), state.shape
    energies, totals = _buffer(_DOUBLES, energy, True), _buffer(_DOUBLES, sums, True)
    has_average = int(n_rows > 4)
    known, at = state, rows  # the last gradient and its address

    def advance(grad: Array, unit: float, g2_sum: float, length: float, weight: float) -> bool:
        nonlocal known, at
        if grad is not known:
            known, at = grad, _buffer(ctype, grad)
        status = function(
            rows, width, has_average, grad.size, at, unit, g2_sum, length, weight, energies, totals, _threads
        )
        return bool(status == _OK) or _are_fit(status)

    return advance


def twin(state: Array, grad: Array) -> None:
    """The memory roof of a step: the same streams, trivial arithmetic. For benchmarks."""
    ctype, function = _TWIN[state.dtype]
    _check(function(_buffer(ctype, state, True), state.shape[1], grad.size, _buffer(ctype, grad), _threads))


def moments(rows: Array, mean: Array, mean_sq: Array | None) -> bool:
    ctype, function = _MOMENTS[rows.dtype]
    n, d = rows.shape
    out = _buffer(ctype, mean, True)
    out_sq = ffi.NULL if mean_sq is None else _buffer(ctype, mean_sq, True)
    return _are_fit(function(_buffer(ctype, rows), n, d, out, out_sq, _threads))


def curvature(rows: Array, probe_rows: Array, x: Array, point: Array, mean: Array, mean_sq: Array) -> None:
    ctype, function = _CURVATURE[rows.dtype]
    inputs = [_buffer(ctype, array) for array in (rows, probe_rows, x, point)]
    out, out_sq = _buffer(ctype, mean, True), _buffer(ctype, mean_sq, True)
    _check(function(*inputs, *rows.shape, out, out_sq, _threads))


def published_probe(state: Array, point: Array) -> None:
    ctype, function = _PUBLISHED_PROBE[state.dtype]
    out = _buffer(ctype, point, True)
    _check(function(_buffer(ctype, state), state.shape[1], point.size, out, _threads))


def published_step(state: Array, moments: PublishedMoments, move: Array, n: float, rule: StepRule) -> None:
    ctype, function = _PUBLISHED_STEP[state.dtype]
    values = [_buffer(ctype, array) for array in moments]
    where = _buffer(ctype, state, True), state.shape[1], move.size
    _check(function(*where, values, _buffer(ctype, move), n, rule, _threads))


def published_step_fd(
    state: Array, grad: Array, grad_sq: Array | None, probe_grad: Array, n: int, limit: float
) -> None:
    ctype, function = _PUBLISHED_STEP_FD[state.dtype]
    squares = ffi.NULL if grad_sq is None else _buffer(ctype, grad_sq)
    inputs = _buffer(ctype, grad), squares, _buffer(ctype, probe_grad)
    rows = _buffer(ctype, state, True)
    _check(function(rows, state.shape[1], grad.size, *inputs, n, limit, _threads))


def collect(
    indices: Array, data: Array, slots: Array, columns: Array, count: Array, total: Array, total_sq: Array
) -> int:
    ctype, function = _COLLECT[data.dtype]
    entries = _buffer(_INT64S, indices), _buffer(ctype, data), data.size
    found = [_buffer(_INT64S, array, True) for array in (columns, count)]
    sums = [_buffer(ctype, array, True) for array in (total, total_sq)]
    return function(*entries, _buffer(_INT32S, slots, True), *found, *sums)


def add(indices: Array, data: Array, slots: Array, columns: Array, total: Array) -> None:
    ctype, function = _ADD[data.dtype]
    entries = _buffer(_INT64S, indices), _buffer(ctype, data), data.size
    found = _buffer(_INT32S, slots), _buffer(_INT64S, columns), columns.size
    _check(function(*entries, *found, _buffer(ctype, total, True)))


def published_step_at(
    state: Array, columns: Array, count: Array, moments: PublishedMoments, rule: StepRule
) -> None:
    ctype, function = _PUBLISHED_STEP_AT[state.dtype]
    values = [_buffer(ctype, array) for array in moments]
    where = _buffer(_INT64S, columns), _buffer(_INT64S, count), columns.size
    _check(function(_buffer(ctype, state, True), state.shape[1], *where, values, rule))


def _csr(samples: Csr) -> tuple[Any, ...]:
    """The fields of a refsgd_csr; they own the buffers."""
    indptr, indices, data = samples
    entries = _buffer(_FLOATS if data.dtype == np.float32 else _DOUBLES, data)
    if indptr is None or indices is None:
        return ffi.NULL, ffi.NULL, ffi.NULL, entries
    begins = _buffer(_INT64S, indptr)
    if indices.dtype == np.int32:
        return begins, _buffer(_INT32S, indices), ffi.NULL, entries
    return begins, ffi.NULL, _buffer(_INT64S, indices), entries


def row_flaws(samples: Csr, d: int, bound: float) -> int:
    data, (_, function) = samples.data, _ROW_FLAWS[samples.data.dtype]
    n, fields = 0 if samples.indptr is None else samples.indptr.size - 1, _csr(samples)
    return function(ffi.new(_CSR[data.dtype], fields), n, data.size, d, bound)


def linear(
    state: LinearState, samples: Csr, y: Array, weights: Array, order: Array, rule: LinearRule
) -> None:
    ctype, function = _LINEAR[y.dtype]
    records, lazy, totals = state
    late = ffi.NULL if lazy is None else _buffer(_DOUBLES, lazy, True)
    learnt = _buffer(ctype, records, True), late, _buffer(_DOUBLES, totals, True), len(records) - 1
    targets = _buffer(ctype, y), _buffer(ctype, weights), _buffer(_INT64S, order), order.size
    fields = (*learnt, records.shape[1]), _csr(samples), *targets, rule  # they own the buffers
    _check(function(ffi.new(_LINEAR_JOB[y.dtype], fields)))


def squares(rows: Array, squares: Array) -> None:
    ctype, function = _SQUARES[rows.dtype]
    _check(function(_buffer(ctype, rows), *rows.shape, _buffer(_DOUBLES, squares, True)))


def directions(batch: DirectionBatch, folds: FoldArrays) -> bool:
    ctype, function = _DIRECTIONS[batch.rows.dtype]
    rows, weights, squares, *scalars = batch
    reference, *outputs = folds
    job = ffi.new(
        _DIRECTION_JOBS[rows.dtype],
        [
            _buffer(ctype, rows), ffi.NULL if weights is None else _buffer(_DOUBLES, weights),
            _buffer(_DOUBLES, squares, True), *rows.shape, *scalars,
            _buffer(_DOUBLES, reference), len(folds.sums),
            *[_buffer(_DOUBLES, array, True) for array in outputs],
        ],
    )  # fmt: skip
    return _are_fit(function(job))


_INSTRUCTIONS = ffi.string(lib.refsgd_instruction_set()).decode()
_DESCRIPTION = f"{_INSTRUCTIONS}, {'OpenMP' if lib.refsgd_has_openmp() else 'no OpenMP'}"

KERNELS = Kernels(
    _DESCRIPTION,
    check,
    probe,
    land,
    secant,
    step,
    bind_advance,
    moments,
    collect,
    add,
    curvature,
    published_probe,
    published_step,
    published_step_fd,
    published_step_at,
    row_flaws,
    linear,
    squares,
    directions,
)
