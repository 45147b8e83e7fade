"""Which backends the tests exercise."""

import os

import pytest

BACKENDS = [os.environ["REFSGD_BACKEND"]] if os.environ.get("REFSGD_BACKEND") else ["numpy", "numba", "c"]

# NumPy's kernels are the oracle, and need not be compared with themselves.
compared_with_numpy = pytest.mark.parametrize(
    "backend", [name for name in BACKENDS if name != "numpy"], indirect=True
)
