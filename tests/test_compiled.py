"""Gradients of one sample that Numba has compiled: the bits of Python's loop, and when Python takes over."""

import numba
import numpy as np
import pytest
import scipy.sparse

import refsgd
from refsgd.kernels.contract import BLOCK

pytestmark = pytest.mark.numba

RULES = {
    "default": refsgd.VSGD(),
    "average": refsgd.VSGD(average=True),
}


@numba.njit
def squared_error(x, row, target, out):
    residual = -target
    for i in range(x.size):
        residual += row[i] * x[i]
    for i in range(x.size):
        out[i] = row[i] * residual


def rows_in_python(x, rows, targets):
    """The same additions in the same order, one sample after the other."""
    out = np.empty((len(rows), x.size), x.dtype)
    for j, (row, target) in enumerate(zip(rows, targets, strict=True)):
        squared_error.py_func(x, row, target, out[j])
    return out


def regression(n, d, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(dtype)
    return X, (X @ np.ones(d) + rng.normal(size=n)).astype(dtype)


def assert_same_result(one, other):
    for name in one.state:
        np.testing.assert_array_equal(one.state[name], other.state[name], err_msg=name)
    for name in ("nit", "njev", "nsamples", "status", "success"):
        assert one[name] == other[name]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "d", "batch_size"), [(120, 3, 1), (60, 16, 1), (101, 17, 1), (103, 5, 7), (60, 40, 4)]
)
@pytest.mark.parametrize("name", RULES)
def test_compiled_gradient_has_the_bits_of_pythons_loop(backend, name, n, d, batch_size, dtype):
    data = regression(n, d, dtype)
    options = {"method": RULES[name], "batch_size": batch_size, "epochs": 3, "random_state": 1}
    compiled = refsgd.minimize(squared_error, np.zeros(d, dtype), data, backend=backend, **options)
    plain = refsgd.minimize(rows_in_python, np.zeros(d, dtype), data, backend=backend, **options)
    assert compiled.nit == 3 * -(-n // batch_size) and compiled.x.dtype == dtype
    assert_same_result(compiled, plain)


@pytest.mark.parametrize(
    "method",
    ["vsgd-fd", refsgd.VSGD("orthogonal"), refsgd.VSGD("sparse"), refsgd.baselines.SGD(0.01)],
)
def test_every_rule_takes_a_compiled_gradient(method):
    data = regression(40, 3)
    options = {"method": method, "batch_size": 4, "epochs": 2, "random_state": 1}
    compiled = refsgd.minimize(squared_error, np.zeros(3), data, **options)
    plain = refsgd.minimize(rows_in_python, np.zeros(3), data, **options)
    np.testing.assert_array_equal(compiled.x, plain.x)


def test_more_parameters_than_a_block_give_the_bits_of_pythons_loop():
    d = BLOCK + 1
    data = regression(14, d)
    compiled = refsgd.minimize(squared_error, np.zeros(d), data, random_state=0)
    assert_same_result(compiled, refsgd.minimize(rows_in_python, np.zeros(d), data, random_state=0))


def test_callback_and_criteria_see_every_step():
    seen = []
    data = regression(200, 3)
    res = refsgd.minimize(
        squared_error, np.zeros(3), data, callback=lambda x: seen.append(x), stop=refsgd.stopping.MaxSteps(77)
    )
    assert res.nit == len(seen) == 77
    assert not np.array_equal(seen[-2], seen[-1])


@pytest.mark.parametrize("steps", [4, 33, 150, 201])
def test_resumed_compiled_run_has_the_bits_of_an_uninterrupted_one(steps, tmp_path):
    data = regression(100, 4)
    whole = refsgd.minimize(squared_error, np.zeros(4), data, epochs=3, random_state=5)
    part = refsgd.minimize(squared_error, np.zeros(4), data, epochs=3, max_iter=steps, random_state=5)
    np.savez(tmp_path / "run.npz", **part.state)
    with np.load(tmp_path / "run.npz") as saved:
        rest = refsgd.minimize(squared_error, np.zeros(4), data, epochs=3, resume=saved)
    assert part.nit == steps and rest.nit == whole.nit == 300
    for name in whole.state:
        np.testing.assert_array_equal(rest.state[name], whole.state[name], err_msg=name)


def test_gradient_without_data_runs_for_max_iter():
    @numba.njit
    def quadratic(x, out):
        out[:] = x - 3

    res = refsgd.minimize(quadratic, np.zeros(2), max_iter=200)
    assert res.nit == res.nsamples == 200
    assert np.abs(res.x - 3).max() < 0.1


def test_gradient_that_is_not_finite_ends_the_run_before_the_step():
    @numba.njit
    def breaks(x, sample, out):
        out[0] = np.nan if sample == 50 else x[0]

    samples = np.arange(60.0)
    with pytest.warns(refsgd.NumericalWarning, match="grad must be finite"):
        res = refsgd.minimize(breaks, np.ones(1), samples, random_state=0)
    assert not res.success and np.isfinite(res.x).all()
    order = np.random.default_rng(0).permutation(60)
    assert res.nit == np.flatnonzero(order == 50)[0]


def test_jitted_function_of_a_whole_batch_is_a_plain_gradient():
    @numba.njit
    def whole(x, rows, targets):
        return rows * np.expand_dims(rows @ x - targets, 1)

    data = regression(60, 3)
    res = refsgd.minimize(whole, np.zeros(3), data, batch_size=5, random_state=0)
    assert res.success and res.nit == 12


@numba.njit
def returns_text(x, row, target, out):
    out[0] = "text"


@pytest.mark.parametrize(
    ("grad", "convert", "match"),
    [
        (
            squared_error,
            scipy.sparse.csr_array,
            "args must be NumPy arrays for a compiled grad, got csr_array",
        ),
        (
            returns_text,
            np.asarray,
            r"grad must be compiled for .*got a function that Numba refuses .*write to",
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused(grad, convert, match):
    X, y = regression(20, 3)
    with pytest.raises(TypeError, match=match):
        refsgd.minimize(grad, np.zeros(3), (convert(X), y))
