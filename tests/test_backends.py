"""The contract of a backend, and the choice of one."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest

import refsgd
from refsgd import VSGD, BackendError, _config, kernels
from refsgd.kernels.contract import Kernels


@pytest.mark.parametrize("slot", Kernels._fields)
def test_missing_slot_fails(slot: str) -> None:
    slots = kernels.load("numpy")._asdict()
    del slots[slot]
    with pytest.raises(TypeError, match=slot):
        Kernels(**slots)


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As after a fresh import: nothing loaded, nothing chosen."""
    monkeypatch.setattr(kernels, "_loaded", {})
    monkeypatch.setattr(_config, "_backend", None)
    monkeypatch.delenv("REFSGD_BACKEND", raising=False)
    return monkeypatch


def break_backend(monkeypatch: pytest.MonkeyPatch, imported: str, module: str, stand_in: Any = None) -> None:
    """Let a backend's module be imported anew, with None (no such module) in place of what it imports."""
    monkeypatch.setitem(sys.modules, imported, stand_in)
    monkeypatch.delitem(sys.modules, f"refsgd.kernels.{module}", raising=False)


BROKEN_C = (
    r'backend "c" is not available \(ModuleNotFoundError: import of refsgd\._kernels halted; '
    r'None in sys\.modules\); reinstall with a C compiler or use backend="numba"\.$'
)


def test_explicit_choice_never_falls_back(unloaded: pytest.MonkeyPatch) -> None:
    break_backend(unloaded, "refsgd._kernels", "c")
    for choose in (kernels.load, refsgd.use_backend, lambda name: VSGD().start(np.ones(2), backend=name)):
        with pytest.raises(BackendError, match=BROKEN_C):
            choose("c")
    assert _config.backend_name() == "auto"
    unloaded.setenv("REFSGD_BACKEND", "c")
    with pytest.raises(BackendError, match=BROKEN_C):
        VSGD().start(np.ones(2))


def test_auto_takes_the_next_that_works(unloaded: pytest.MonkeyPatch) -> None:
    break_backend(unloaded, "refsgd._kernels", "c")
    assert kernels.resolve("auto") == "numba"
    assert VSGD().start(np.ones(2)).kernels.description.startswith("numba ")
    unloaded.setattr(kernels, "_loaded", {})
    break_backend(unloaded, "numba", "numba_kernels")
    assert kernels.load("auto") is kernels.load("numpy")
    with pytest.raises(BackendError, match='pip install numba or use backend="numpy"'):
        kernels.load("numba")


@pytest.mark.parametrize("changed", ["ABI_VERSION", "LANES", "WIDEN", "FAR"])
def test_kernels_built_from_other_sources_are_refused(unloaded: pytest.MonkeyPatch, changed: str) -> None:
    built = pytest.importorskip("refsgd._kernels").lib
    lib = types.SimpleNamespace(**{name: getattr(built, name) for name in dir(built) if name.isupper()})
    setattr(lib, f"REFSGD_{changed}", getattr(built, f"REFSGD_{changed}") + 1)
    break_backend(unloaded, "refsgd._kernels", "c", types.SimpleNamespace(ffi=None, lib=lib))
    with pytest.raises(BackendError, match="built from other sources than this package; reinstall"):
        kernels.load("c")


def test_argument_goes_before_use_backend_before_the_environment(unloaded: pytest.MonkeyPatch) -> None:
    def used(backend: str | None = None) -> str:
        return VSGD().start(np.ones(2), backend=backend).kernels.description.split()[0]

    unloaded.setenv("REFSGD_BACKEND", "numpy")
    assert used() == "numpy"
    refsgd.use_backend("numba")
    assert (used(), used("numpy")) == ("numba", "numpy")
    refsgd.use_backend(None)
    assert used() == "numpy"


def test_unknown_backend_is_named_with_those_that_there_are(unloaded: pytest.MonkeyPatch) -> None:
    for name, call in {
        "name": lambda: refsgd.use_backend("fortran"),
        "backend": lambda: VSGD().start(np.ones(2), backend="fortran"),
    }.items():
        with pytest.raises(ValueError, match=rf"{name} must .*auto.*c.*numba.*numpy.*fortran"):
            call()
    unloaded.setenv("REFSGD_BACKEND", "fortran")
    with pytest.raises(ValueError, match=r"REFSGD_BACKEND must .*fortran"):
        VSGD().start(np.ones(2))


@pytest.mark.process
def test_environment_chooses_in_a_new_process() -> None:
    program = "import refsgd; refsgd.show_backends()"
    run = [sys.executable, "-c", program]
    environment = os.environ | {"REFSGD_BACKEND": "numpy", "OMP_NUM_THREADS": "3"}
    shown = subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout
    lines = dict(line.split(maxsplit=1) for line in shown.replace("in use", "in-use").splitlines())
    assert lines["in-use"] == "numpy"
    assert lines["threads"].startswith("3,")

    failed = subprocess.run(
        run, env=environment | {"REFSGD_BACKEND": "fortran"}, capture_output=True, text=True
    )
    assert failed.returncode != 0
    assert "REFSGD_BACKEND must" in failed.stderr


def test_show_backends_says_what_is_there_and_why_not(
    unloaded: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_backend(unloaded, "refsgd._kernels", "c")
    refsgd.show_backends()
    c, numba, numpy, threads_, in_use = capsys.readouterr().out.splitlines()
    assert c.startswith('c        backend "c" is not available (ModuleNotFoundError')
    assert numba.startswith("numba    available: numba ")
    assert numpy == f"numpy    available: numpy {np.__version__}"
    assert threads_.startswith(f"threads  {refsgd.get_num_threads()},")
    assert in_use == "in use   numba"


@pytest.mark.parametrize("n", [0, -1, 1.5, "2"])
def test_number_of_threads_must_be_a_positive_integer(n: Any) -> None:
    before = refsgd.get_num_threads()
    with pytest.raises((TypeError, ValueError), match="n must be"):
        refsgd.set_num_threads(n)
    assert refsgd.get_num_threads() == before
