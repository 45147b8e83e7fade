"""The C kernels give the bits of the oracle on every instruction set.

One wheel serves every x86-64: the fastest clone that the processor runs is chosen when the library is loaded.
Here the same sources are compiled once for each set, so that a machine with the widest tests the others too.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cffi import FFI
from numpy.typing import NDArray
from test_dense_kernels import LENGTH, UNIT, WEIGHT, assert_all_same, draw, room, trace
from test_dense_kernels import expected as expected_trace
from test_kernels import Problem, assert_same_bits, expected, random_rows

from refsgd.kernels import dense_numpy, samples_numpy
from refsgd.kernels.contract import BLOCK, LANES

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[1]
SETS = ["x86-64", "x86-64-v3", "x86-64-v4"]

if not (ROOT / "csrc" / "build_cffi.py").exists():
    pytest.skip("needs the source tree", allow_module_level=True)
if platform.machine().lower() not in ("x86_64", "amd64"):
    pytest.skip(f"needs x86-64, got {platform.machine()}", allow_module_level=True)


class Library:
    """Kernels compiled for one instruction set, called as the slots of a backend are."""

    def __init__(self, ffi: FFI, path: Path) -> None:
        self.ffi, self.lib = ffi, ffi.dlopen(str(path))

    @property
    def widest_set(self) -> str:
        """The widest of SETS that this processor runs."""
        return self.ffi.string(self.lib.refsgd_instruction_set()).decode().split()[0]

    def call(self, stem: str, dtype: np.dtype[Any], *arguments: Any) -> None:
        suffix, ctype = ("f32", "float[]") if dtype == np.float32 else ("f64", "double[]")
        converted = [
            self.ffi.from_buffer(ctype if a.dtype == dtype else "double[]", a)
            if isinstance(a, np.ndarray)
            else a
            for a in arguments
        ]
        assert getattr(self.lib, f"refsgd_{stem}_{suffix}")(*converted, 1) == self.lib.REFSGD_OK

    def moments(self, rows: NDArray[Any], mean: NDArray[Any], mean_sq: NDArray[Any]) -> None:
        self.call("moments", rows.dtype, rows, *rows.shape, mean, mean_sq)

    def published_step_fd(
        self, state: NDArray[Any], grad: NDArray[Any], grad_sq: NDArray[Any] | None, *rest: Any
    ) -> None:
        squares = self.ffi.NULL if grad_sq is None else grad_sq
        self.call("published_step_fd", state.dtype, state, state.shape[1], grad.size, grad, squares, *rest)

    def check(self, grad: NDArray[Any], unit: float, sums: NDArray[Any]) -> None:
        self.call("dense_check", grad.dtype, grad, grad.size, unit, sums)

    def probe(self, state: NDArray[Any], begin: int, length: float, point: NDArray[Any]) -> None:
        self.call("dense_probe", state.dtype, state, state.shape[1], begin, point.size, length, point)

    def land(self, state: NDArray[Any], begin: int, grad: NDArray[Any], *rest: Any) -> None:
        self.call("dense_land", state.dtype, state, state.shape[1], begin, grad.size, grad, *rest)

    def secant(self, state: NDArray[Any], begin: int, point: NDArray[Any], *rest: Any) -> None:
        self.call("dense_secant", state.dtype, state, state.shape[1], begin, point.size, point, *rest)

    def step(self, state: NDArray[Any], begin: int, grad: NDArray[Any], *rest: Any) -> None:
        n_rows, width = state.shape
        self.call("dense_step", state.dtype, state, width, n_rows > 4, begin, grad.size, grad, *rest)

    def advance(self, state: NDArray[Any], grad: NDArray[Any], *rest: Any) -> None:
        n_rows, width = state.shape
        self.call("dense_advance", state.dtype, state, width, n_rows > 4, grad.size, grad, *rest)


@pytest.fixture(scope="session")
def build_script() -> ModuleType:
    """csrc/build_cffi.py, for its flags and its reading of the header."""
    spec = importlib.util.spec_from_file_location("build_cffi", ROOT / "csrc" / "build_cffi.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def build(build_script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Compiles the kernels for one instruction set, with the flags of the extension."""
    compiler = build_script.c_compiler()
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"needs a C compiler, {compiler[0]} is not there")
    folder = tmp_path_factory.mktemp("instruction_sets")
    flags = [flag for flag in build_script.FLAGS if flag != "-fvisibility=hidden"]  # loaded by name
    sources = [ROOT / "csrc" / name for name in ("published.c", "dense.c", "moments.c", "parallel.c")]
    ffi = FFI()
    ffi.cdef(build_script.interface())

    def build(name: str) -> Library:
        path = folder / f"{name}.so"
        target = [f"-march={name}", "-DREFSGD_NO_CLONES", "-shared", "-fPIC"]
        probe = [*compiler, f"-march={name}", "-x", "c", "-E", "/dev/null"]
        if subprocess.run(probe, capture_output=True).returncode != 0:
            pytest.skip(f"{compiler[0]} does not know -march={name}")
        if not path.exists():
            command = [*compiler, *flags, *target, *sources, "-lm", "-o", path]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        return Library(ffi, path)

    return build


@pytest.fixture(scope="session", params=SETS)
def library(request: pytest.FixtureRequest, build: Any) -> Library:
    """The kernels of each instruction set that this processor runs, in turn."""
    name, widest = request.param, build("x86-64").widest_set
    if SETS.index(name) > SETS.index(widest):
        pytest.skip(f"needs a processor with {name}, this one has {widest}")
    return build(name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("online", [True, False], ids=["online", "minibatch"])
def test_hundred_published_steps_have_the_bits_of_the_reference(
    library: Library, dtype: str, online: bool
) -> None:
    case = Problem(dtype, BLOCK + LANES + 3, online, 4.0, steps=100)
    assert_same_bits(case.run(library.published_step_fd), expected(case), "state")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 7])
def test_moments_have_the_bits_of_the_reference(library: Library, dtype: str, n: int) -> None:
    rows, _ = random_rows(n, BLOCK + LANES + 3, dtype)
    want, got = np.zeros((2, 2, rows.shape[1]), dtype)
    samples_numpy.moments(rows, *want)
    library.moments(rows, *got)
    assert_same_bits(got, want, "moments")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [LANES - 1, BLOCK + LANES + 3])
@pytest.mark.parametrize("n_rows", [4, 5], ids=["plain", "average"])
def test_the_default_rule_has_the_bits_of_the_oracle(
    library: Library, dtype: str, d: int, n_rows: int
) -> None:
    begin = 3
    assert_all_same(
        trace(library, draw(dtype, d, begin, n_rows), d, begin), expected_trace(dtype, d, begin, n_rows)
    )

    (want, [grad, *_]), (got, _) = draw(dtype, d, 0, n_rows), draw(dtype, d, 0, n_rows)
    sums, want_sums = (room(d, 1), room(d, 2)), (room(d, 1), room(d, 2))
    told = grad, UNIT, 1.0, LENGTH, WEIGHT
    dense_numpy.bind_advance(dense_numpy.check, dense_numpy.step)(want, *want_sums)(*told)
    library.advance(got, *told, *sums)
    assert_all_same([got, *sums], [want, *want_sums])
