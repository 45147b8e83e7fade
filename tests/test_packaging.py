"""The sdist holds the C sources; an installation without a C compiler succeeds and says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

# Built without isolation, so that no test downloads anything. Older ones cannot read pyproject.toml.
pytest.importorskip("setuptools", minversion="77")

if not (ROOT / "setup.py").exists():
    pytest.skip("needs the source tree", allow_module_level=True)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source tree without anything built."""
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "_kernels.*")
    return Path(shutil.copytree(ROOT, tmp_path / "tree", ignore=ignored))


def test_sdist_holds_all_that_a_build_needs(tree: Path) -> None:
    build = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    run(sys.executable, "-c", build, cwd=tree)
    [sdist] = (tree / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    patterns = ["csrc/*.[ch]", "csrc/*.inc", "csrc/*.py", "refsgd/**/*.py", "refsgd/data/*", "tests/*.py"]
    wanted = {path.relative_to(tree).as_posix() for pattern in patterns for path in tree.glob(pattern)}
    assert {"csrc/parallel.c", "csrc/refsgd_kernels.h"} <= wanted
    assert wanted | {"LICENSE", "README.md", "pyproject.toml", "setup.py"} <= held
    assert not [name for name in held if name.endswith((".so", ".o", ".pyc"))]


def test_install_without_a_compiler_succeeds_with_a_warning(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-v", "--no-deps"]
    log = run(*pip, "--no-build-isolation", "--target", target, ".", cwd=tree, CC="false")
    assert "the C backend will be missing, and refsgd will run on Numba" in log
    assert (target / "refsgd" / "data" / "digits.npz").exists()
    assert not list(target.rglob("_kernels*"))

    program = (
        "import refsgd, refsgd.kernels as kernels\n"
        "print(refsgd.__file__, kernels.resolve('auto'), kernels.unavailable('c'), sep='; ')\n"
    )
    # -S: an editable installation of this tree would offer its own C extension
    path = os.pathsep.join([str(target), str(Path(np.__file__).parents[1])])
    told = run(sys.executable, "-S", "-c", program, cwd=tmp_path, PYTHONPATH=path)
    assert told.startswith(f'{target}/refsgd/__init__.py; numba; backend "c" is not available')
