import csv
import os
import subprocess
import sys

import make_vmf_reference as reference
import mpmath
import numpy as np
import oracles_directional as oracle
import pytest

from refsgd import _config, kernels, vmf
from refsgd._errors import BackendError
from refsgd.directional import concentration as solver

FUNCTIONS = {
    "log_h": vmf.log_h,
    "kl": vmf.kl_to_uniform,
    "log_c": vmf.log_normalizer,
    "a": vmf.mean_resultant_length,
    "one_minus_a": vmf.mean_resultant_length_complement,
    "a_prime": vmf.mean_resultant_length_derivative,
}
# The largest errors on 10,000 random points were 1.1e-15, 3.3e-15, 1.1e-14, 4.8e-16, 7.3e-15 and 5.0e-14.
BARS = {"log_h": 5e-15, "kl": 5e-15, "log_c": 2e-14, "a": 1e-15, "one_minus_a": 1e-14, "a_prime": 1e-13}


@pytest.fixture
def each_backend(backend, monkeypatch):
    """The functions by NumPy, by Numba at any size, and as they are by default."""
    monkeypatch.setattr(_config, "_backend", backend)


def table(kind):
    with reference.FILE.open(encoding="utf-8") as file:
        return [row[1:] for row in csv.reader(file) if row[0] == kind]


def scale(name, value, kappa):
    """What an error counts against: the value, for log C at least 1.

    Where log C changes sign it is a difference of terms as large as kappa, and loses what these round.
    """
    return max(1, abs(value), 0.01 * kappa) if name == "log_c" else abs(value)


def largest_error(name, got, true, kappa):
    with mpmath.workdps(40):
        triples = zip(got, true, kappa, strict=True)
        return max(float(abs(mpmath.mpf(float(g)) - t) / scale(name, t, k)) for g, t, k in triples)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_kappa_match_the_reference(each_backend, name):
    rows = table("kappa")
    kappa, dim = np.array([row[:2] for row in rows], dtype=float).T
    with mpmath.workdps(30):
        true = [mpmath.mpf(row[2 + list(FUNCTIONS).index(name)]) for row in rows]
    # Below 1e-300 float64 has not all its digits.
    kept = [i for i, t in enumerate(true) if t == 0 or abs(t) > 1e-300]
    got = FUNCTIONS[name](kappa, dim)
    assert largest_error(name, got[kept], [true[i] for i in kept], kappa[kept]) < BARS[name]
    assert len(kept) > 200


def test_concentration_matches_the_reference(each_backend):
    rows = table("r")
    r, b, dim = np.array([row[:3] for row in rows], dtype=float).T
    true = [mpmath.mpf(row[3]) for row in rows]
    assert largest_error("kappa", vmf.concentration(r, dim, b), true, dim) < 1e-14


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_kappa_match_mpmath_on_random_points(name):
    # Another law than that of the grid: half of the dimensions are below 80, where the methods meet.
    rng = np.random.default_rng(0)
    dim = np.exp(rng.uniform(np.log(2.0), np.where(rng.random(60) < 0.5, np.log(80.0), np.log(1e9))))
    kappa = dim * np.exp(rng.normal(0.0, 3.0, 60))
    true = [getattr(oracle.exact(k, d), name) for k, d in zip(kappa, dim, strict=True)]
    assert largest_error(name, FUNCTIONS[name](kappa, dim), true, kappa) < BARS[name]


def test_reference_file_is_what_its_script_writes():
    dims, pick = reference.DIMS, np.random.default_rng(0).integers
    rows = reference.FILE.read_text(encoding="utf-8").split("\n")[:-1]
    per_dim = [len(reference.kappas(dim)) for dim in dims]
    lengths = len(reference.LENGTHS) + len(reference.COMPLEMENTS)
    assert len(rows) == sum(per_dim) + len(dims) * lengths
    for line in [rows[i] for i in pick(len(rows), size=30)]:
        kind, *numbers = line.split(",")
        arguments = [float(v) for v in numbers[: 2 if kind == "kappa" else 3]]
        assert line == (reference.kappa_row if kind == "kappa" else reference.r_row)(*arguments)


def test_oracles_agree_with_each_other():
    # On both sides of where the expansion of the oracle changes, with the continued fraction of the ratio.
    for dim in (1001.9, 1002.0, 30.0):
        for kappa in (0.3 * dim, 70.0 * dim):
            found, (a, complement, slope) = oracle.exact(kappa, dim), oracle.triple(kappa, dim)
            with mpmath.workdps(50):
                assert abs(found.a / a - 1) < 1e-45
                assert abs(found.one_minus_a / complement - 1) < 1e-45
                assert abs(found.a_prime / slope - 1) < 1e-45
                below, above = (
                    oracle.log_0f1(mpmath.mpf("499.999999"), kappa),
                    oracle.log_0f1(mpmath.mpf(500), kappa),
                )
                assert 0 < (below - above) / above < 1e-6
    with mpmath.workdps(40):
        assert abs(oracle.exact(5.0, 3.0).log_h - mpmath.log(mpmath.sinh(5) / 5)) < 1e-35


def test_nothing_is_infinite_or_nan_at_finite_arguments(each_backend):
    dim = np.array([2.0, 2.1, 3.0, 31.9, 64.9, 65.0, 65.1, 1e3, 1e6, 1e9])[:, None]
    kappa = np.concatenate([[5e-324], np.geomspace(1e-300, 1e308, 305), [1.7e308]])
    for function in (*FUNCTIONS.values(), vmf.entropy):
        assert np.isfinite(function(kappa, dim)).all()
    assert (vmf.log_h(kappa, dim) >= 0.0).all()
    assert (vmf.kl_to_uniform(kappa, dim) >= 0.0).all()


def test_limits_are_values(each_backend):
    dim = np.array([2.0, 3.0, 64.0, 1e6])
    at_zero, at_inf = np.zeros(4), np.full(4, np.inf)
    np.testing.assert_array_equal(vmf.log_h([[0.0], [np.inf]], dim), [at_zero, at_inf])
    np.testing.assert_array_equal(vmf.kl_to_uniform([[0.0], [np.inf]], dim), [at_zero, at_inf])
    np.testing.assert_array_equal(vmf.log_normalizer(np.inf, dim), -at_inf)
    np.testing.assert_array_equal(vmf.entropy(np.inf, dim), -at_inf)
    np.testing.assert_array_equal(vmf.mean_resultant_length([[0.0], [np.inf]], dim), [at_zero, np.ones(4)])
    np.testing.assert_array_equal(vmf.concentration([[0.0], [1.0]], dim), [at_zero, at_inf])
    many = np.concatenate([np.linspace(2.0, 100.0, 99), np.geomspace(100.0, 1e9, 99)])
    complement = vmf.mean_resultant_length_complement([[0.0], [np.inf]], many)
    np.testing.assert_array_equal(complement, np.repeat([[1.0], [0.0]], many.size, axis=1))
    areas = [np.log(2.0 * np.pi), np.log(4.0 * np.pi)]
    np.testing.assert_allclose(vmf.entropy(0.0, dim[:2]), areas, rtol=1e-15)
    np.testing.assert_allclose(vmf.log_normalizer(0.0, dim[:2]), np.negative(areas), rtol=1e-15)


def test_nan_gives_nan_and_leaves_its_neighbours(each_backend):
    for function in FUNCTIONS.values():
        for dim in (3.0, 200.0):
            got = function([np.nan, 1.0, 1000.0], dim)
            np.testing.assert_array_equal(np.isnan(got), [True, False, False])
            np.testing.assert_array_equal(got[1:], function([1.0, 1000.0], dim))
    np.testing.assert_array_equal(np.isnan(vmf.concentration([np.nan, 0.5], 3)), [True, False])
    assert np.isnan(vmf.concentration(1.0, 3, np.nan))


def test_entropy_in_three_dimensions_has_a_closed_form(each_backend):
    kappa = np.array([0.1, 1.0, 10.0, 100.0])
    closed = np.log(4 * np.pi * np.sinh(kappa) / kappa) + 1.0 - kappa / np.tanh(kappa)
    np.testing.assert_allclose(vmf.entropy(kappa, 3), closed, rtol=1e-13)  # of terms up to 100


def test_arguments_broadcast_and_scalars_stay_scalars(each_backend):
    for function in FUNCTIONS.values():
        got = function(np.ones((4, 1)), [2.0, 30.0, 1e5])
        assert got.shape == (4, 3)
        assert got[2, 1] == function(1.0, 30.0)
        assert isinstance(function(1.0, 30.0), float)
        assert function(np.empty((0, 2)), 3).shape == (0, 2)


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 1000])
def test_values_do_not_depend_on_their_neighbours(each_backend, size):
    # Sorted by dimension, and then not: each lane has other lanes beside it.
    rng = np.random.default_rng(size)
    dim, r = 2.0 + rng.exponential(40.0, size), rng.random(size)
    order = np.argsort(dim)
    functions = [*FUNCTIONS.values(), lambda kappa, dim: vmf.concentration(kappa / (dim + kappa), dim)]
    for function in functions:
        np.testing.assert_array_equal(function(dim * r, dim)[order], function((dim * r)[order], dim[order]))


@pytest.mark.numba
def test_compiled_functions_equal_those_of_numpy(monkeypatch):
    if kernels.unavailable("numba"):
        pytest.skip("no numba")
    rng = np.random.default_rng(0)
    dim = np.exp(rng.uniform(np.log(2.0), np.log(1e4), 5000))
    kappa, r = dim * np.exp(rng.normal(0.0, 3.0, 5000)), rng.random(5000)
    kappa[:3], r[:3] = [0.0, np.inf, np.nan], [0.0, 1.0, np.nan]
    for name, function in {**FUNCTIONS, "kappa": lambda _, dim: vmf.concentration(r, dim)}.items():
        found = []
        for backend in ("numpy", "numba"):
            monkeypatch.setattr(_config, "_backend", backend)
            found.append(function(kappa, dim))
        scales = [scale(name, v, k) for v, k in zip(found[0][3:], kappa[3:], strict=True)]
        np.testing.assert_array_equal(*(values[:3] for values in found))
        # Each is within its bar of the truth.
        assert (np.abs(found[0][3:] - found[1][3:]) <= 2 * BARS.get(name, 1e-14) * np.array(scales)).all()


@pytest.mark.numba
def test_compiled_functions_take_over_from_a_size_on(monkeypatch):
    if kernels.unavailable("numba"):
        pytest.skip("no numba")
    monkeypatch.delenv("REFSGD_BACKEND", raising=False)
    monkeypatch.setattr(_config, "_backend", None)
    few, many = solver.COMPILED_FROM - 1, solver.COMPILED_FROM
    assert solver.compiled_for(few) is None
    for backend, sizes in {"numpy": [], "numba": [few, many], "auto": [many]}.items():
        monkeypatch.setattr(_config, "_backend", backend)
        assert [n for n in (few, many) if solver.compiled_for(n) is not None] == sizes


def test_without_numba_numpy_does_it(monkeypatch):
    monkeypatch.setattr(kernels, "_loaded", {})
    monkeypatch.setitem(sys.modules, "refsgd.kernels.numba_kernels", None)
    monkeypatch.setattr(_config, "_backend", "auto")
    r = np.linspace(0.0, 1.0, solver.COMPILED_FROM)
    got = vmf.concentration(r, 10)
    monkeypatch.setattr(_config, "_backend", "numpy")
    np.testing.assert_array_equal(got, vmf.concentration(r, 10))
    monkeypatch.setattr(_config, "_backend", "numba")
    with pytest.raises(BackendError, match='backend "numba" is not available'):
        vmf.concentration(r, 10)


@pytest.mark.process
def test_few_values_do_not_wait_for_numba():
    program = "import sys, refsgd; refsgd.vmf.concentration(0.5, 3); refsgd.vmf.log_h([1.0, 2.0], 3); "
    program += "print('numba' in sys.modules)"
    environment = {**os.environ, "REFSGD_BACKEND": "auto"}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout.strip() == "False"


def test_every_public_function_is_described_and_public():
    assert set(vmf.__all__) >= {
        f.__name__ for f in (vmf.log_h, vmf.log_normalizer, vmf.kl_to_uniform, vmf.entropy)
    }
    for name in vmf.__all__:
        assert getattr(vmf, name).__doc__


@pytest.mark.parametrize("function", [vmf.log_normalizer, vmf.log_h, vmf.kl_to_uniform, vmf.entropy])
def test_arguments_out_of_range_are_named(function):
    with pytest.raises(
        ValueError, match=r"kappa must be in \[0, inf\], got 1 of 2 values outside \(first: -1.0\)"
    ):
        function([1.0, -1.0], 3)
    with pytest.raises(ValueError, match=r"dim must be finite and at least 2, got 1 of 1 .*first: 1.5"):
        function(1.0, 1.5)
