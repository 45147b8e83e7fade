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

import refsgd

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow

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
    return copied(tmp_path / "tree")


def copied(target: Path) -> Path:
    ignored = shutil.ignore_patterns(
        ".*", "build", "dist", "*.egg-info", "__pycache__", "_kernels.*", "constants.h"
    )
    return Path(shutil.copytree(ROOT, target, ignore=ignored))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An installation where there is no C compiler, and the log of it."""
    folder = tmp_path_factory.mktemp("installation")
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-v", "--no-deps"]
    options = ["--no-build-isolation", "--target", folder / "site"]
    return folder / "site", run(*pip, *options, ".", cwd=copied(folder / "tree"), CC="false")


def test_sdist_holds_all_that_a_build_needs(tree: Path) -> None:
    build = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    run(sys.executable, "-c", build, cwd=tree)
    [sdist] = (tree / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    patterns = ["csrc/*.[ch]", "csrc/*.inc", "csrc/*.py", "refsgd/**/*.py", "refsgd/data/*", "tests/*.py"]
    wanted = {path.relative_to(tree).as_posix() for pattern in patterns for path in tree.glob(pattern)}
    assert {"csrc/parallel.c", "csrc/refsgd_kernels.h", "csrc/constants.h"} <= wanted
    assert wanted | {"LICENSE", "README.md", "pyproject.toml", "setup.py"} <= held
    assert not [name for name in held if name.endswith((".so", ".o", ".pyc"))]


def test_import_is_no_empty_namespace_above_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "refsgd").mkdir()  # what a clone looks like from the folder above it
    assert run(sys.executable, "-c", "import refsgd; print(refsgd.VSGD())", cwd=tmp_path).startswith("VSGD(")


def test_installed_command_and_metadata_have_the_version_of_the_package(
    site: tuple[Path, str], tmp_path: Path
) -> None:
    shown = run(site[0] / "bin" / "refsgd", "--version", cwd=tmp_path, PYTHONPATH=str(site[0]))
    assert shown == f"refsgd {refsgd.__version__}\n"
    assert (site[0] / f"refsgd-{refsgd.__version__}.dist-info").exists()


def test_install_without_a_compiler_succeeds_with_a_warning(site: tuple[Path, str], tmp_path: Path) -> None:
    target, log = site
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
