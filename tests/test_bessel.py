import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import oracles_directional as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refsgd import _config
from refsgd.directional import concentration as solver
from refsgd.directional import vmf
from refsgd.directional.concentration import concentration, ratio, ratio_complement, ratio_derivative

ROOT = Path(__file__).parents[1]
DIMS = [2, 2.5, 3, 10, 33, 64, 65, 66, 300, 1e4, 1e6, 1e9]

# From the linear to the saturated regime, then on both sides of s = 32, where the method changes.
KAPPAS = {
    dim: [
        *(dim * np.geomspace(1e-12, 100.0, 15)),
        *(np.sqrt(max(32.0**2 - (dim - 1) ** 2 / 4, 0.25)) * np.array([0.6, 0.95, 1 - 1e-12, 1 + 1e-12])),
    ]
    for dim in DIMS
}


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generator", ROOT / "csrc" / "generate_coefficients.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_is_what_its_generator_writes(generator):
    assert generator.PYTHON_TABLE.read_text(encoding="utf-8") == generator.python_table()


def test_normalizer_polynomials_integrate_those_of_the_ratio(generator):
    # d log C/d kappa = -A, order by order in 1/s: the derivative of q**(k-1) G_{k-1} is -P_k q**(k-2)/(1+q).
    for k, (p, g) in enumerate(zip(generator.RATIO[1:], generator.NORMALIZER, strict=True), start=2):
        for q in (Fraction(1, 3), Fraction(7, 8)):
            slope = q * value(generator.derivative(g), q) + (k - 1) * value(g, q)
            assert value(p, q) == -(1 + q) * slope


def test_log_h_polynomials_are_the_change_of_the_normalizer(generator):
    q = Fraction(3, 7)
    for k, (g, d) in enumerate(zip(generator.NORMALIZER, generator.TABLES["LOG_H"][1], strict=True), start=1):
        assert (1 - q) * value(d, q) == value(g, Fraction(1)) - q**k * value(g, q)


def value(polynomial, q):
    return sum((c * q**j for j, c in enumerate(polynomial)), Fraction(0))


@pytest.mark.parametrize("dim", [2, 3, 7.5, 50])
def test_oracle_is_the_ratio_of_bessel_functions(dim):
    for kappa in (0.01, 1.0, 30.0):
        assert oracle.relative_error(oracle.triple(kappa, dim)[0], oracle.besseli_ratio(kappa, dim)) < 1e-16


@pytest.mark.parametrize("dim", DIMS)
def test_ratio_complement_and_derivative_match_mpmath(dim):
    # 4.8e-16, 1.0e-14 (in d = 2 near kappa = 30) and 5e-14 are the largest errors on 12,000 random points.
    for kappa in KAPPAS[dim]:
        a, complement, slope = oracle.triple(kappa, dim)
        assert oracle.relative_error(ratio(kappa, dim), a) < 1e-15
        assert oracle.relative_error(ratio_complement(kappa, dim), complement) < 1.2e-14
        assert oracle.relative_error(ratio_derivative(kappa, dim), slope) < 1e-13


@pytest.mark.parametrize("dim", DIMS)
def test_concentration_matches_mpmath(dim):
    for kappa in KAPPAS[dim]:
        a, complement, _ = oracle.triple(kappa, dim)
        r, b = float(a), float(complement)
        assert oracle.concentration_error(concentration(r, dim, b), r, dim, b) < 1e-14


@settings(deadline=None)
@given(dim=st.floats(2.0, 1e9), scale=st.floats(1e-300, 1e12))
def test_concentration_inverts_ratio(dim, scale):
    # The roundings of r and 1 - r enter kappa at most as they are, beside the error of each direction.
    kappa = dim * scale
    found = concentration(ratio(kappa, dim), dim, ratio_complement(kappa, dim))
    assert found == pytest.approx(kappa, rel=3e-14, abs=1e-307)


@pytest.mark.parametrize("dim", [2, 5, 40, 63])
def test_concentration_increases_across_the_change_of_method(dim):
    s0 = 32.0 * (1.0 + np.linspace(-1e-6, 1e-6, 201))
    excess = s0 / ((dim - 1) / 2)  # (1 + r**2)/(1 - r**2)
    r = np.sqrt((excess - 1) / (excess + 1))
    assert (np.diff(concentration(r, dim)) > 0.0).all()


def test_three_householder_steps_are_enough_everywhere(monkeypatch):
    dim = 1.0 + 2.0 * np.geomspace(0.5, 32.0, 80)[:, None]
    r = np.concatenate([np.geomspace(1e-12, 0.5, 100), 1.0 - np.geomspace(0.5, 1e-12, 100)])
    monkeypatch.setattr(_config, "_backend", "numpy")
    free = concentration(r, dim)
    monkeypatch.setattr(solver, "MAX_STEPS", 3)
    np.testing.assert_array_equal(concentration(r, dim), free)


def test_ratio_in_three_dimensions_is_the_langevin_function():
    kappa = np.array([1.0, 5.0, 40.0, 200.0])
    np.testing.assert_allclose(ratio(kappa, 3), 1 / np.tanh(kappa) - 1 / kappa, rtol=1e-15)


@pytest.mark.parametrize("dim", [2, 3, 100, 1e9])
def test_limits_are_values(dim):
    assert (ratio(0.0, dim), ratio_complement(0.0, dim)) == (0.0, 1.0)
    assert ratio_derivative(0.0, dim) == pytest.approx(1.0 / dim, rel=1e-15)
    assert (ratio(np.inf, dim), ratio_complement(np.inf, dim), ratio_derivative(np.inf, dim)) == (
        1.0,
        0.0,
        0.0,
    )
    assert (concentration(0.0, dim), concentration(1.0, dim)) == (0.0, np.inf)
    assert concentration(1e-300, dim) == pytest.approx(dim * 1e-300, rel=1e-15)


def test_nan_gives_nan_and_leaves_its_neighbours():
    assert np.isnan([ratio(np.nan, 3), ratio_complement(np.nan, 3), ratio_derivative(np.nan, 3)]).all()
    np.testing.assert_array_equal(concentration([np.nan, 0.0, 1.0], 3), [np.nan, 0.0, np.inf])


def test_one_minus_r_carries_what_r_cannot():
    b = np.array([1e-17, 1e-25, 1e-100])
    np.testing.assert_allclose(concentration(1.0, 11, b), 5.0 / b, rtol=1e-14)


def test_arguments_broadcast_and_scalars_stay_scalars():
    r, dim = np.linspace(0.0, 1.0, 7)[:, None], np.array([2.0, 3.0, 500.0, 1e7])
    table = concentration(r, dim)
    assert table.shape == (7, 4)
    assert table[3, 1] == concentration(0.5, 3)
    assert isinstance(concentration(0.5, 3), float) and isinstance(ratio(0.5, 3), float)
    assert concentration(np.empty((0, 2)), 3).shape == (0, 2)


def test_vmf_offers_the_same_functions():
    assert vmf.concentration is concentration
    assert vmf.mean_resultant_length is ratio
    assert vmf.mean_resultant_length_complement is ratio_complement
    assert vmf.mean_resultant_length_derivative is ratio_derivative


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: ratio([1.0, -1.0], 3),
            r"kappa must be in \[0, inf\], got 1 of 2 values outside \(first: -1.0\)",
        ),
        (lambda: ratio(1.0, 1.5), r"dim must be finite and at least 2, got 1 of 1 .*first: 1.5"),
        (lambda: ratio(1.0, np.inf), "dim must be finite"),
        (lambda: ratio(1.0, np.nan), "dim must be finite"),
        (lambda: concentration(1.5, 3), r"r must be in \[0, 1\]"),
        (lambda: concentration(0.5, 3, 1.5), r"one_minus_r must be in \[0, 1\]"),
        (lambda: concentration(0.5, 3, 0.4), "one_minus_r must equal 1 - r, got .* off 1 by 0.1"),
    ],
)
def test_arguments_out_of_range_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()
