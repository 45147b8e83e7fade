"""What Numba has cached goes stale with any source of the package, and is used while none changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import refsgd

PROBE = """
import json
import numpy as np
from refsgd.kernels import published_numba, published_numpy

state, points = np.zeros((6, 1)), np.zeros((2, 1))
state[0] = 1.0
published_numba.published_probe(state, points[0])
published_numpy.published_probe(state, points[1])
hits = sum(published_numba.published_probe.stats.cache_hits.values())
print(json.dumps([hits, *points.ravel().tolist()]))
"""


def probe(folder: Path, cache: Path) -> tuple[int, float, float]:
    """Loads from the cache, and the probe of Numba and of NumPy, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(cache)}
    run = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    hits, compiled, plain = json.loads(run.stdout)
    return hits, compiled, plain


@pytest.mark.slow
def test_changed_constant_of_another_file_reaches_compiled_code_that_was_cached(tmp_path: Path) -> None:
    package = tmp_path / "refsgd"
    shutil.copytree(
        Path(refsgd.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    cold, warm = (probe(tmp_path, tmp_path / "cache") for _ in range(2))
    assert (cold[0], warm[0]) == (0, 1)
    assert warm[1] == warm[2] == cold[1]

    constants = package / "kernels" / "contract.py"
    text = constants.read_text("utf-8")
    assert text.count("\nWIDEN = 8") == 1
    constants.write_text(text.replace("\nWIDEN = 8", "\nWIDEN = 64"), "utf-8")
    changed = probe(tmp_path, tmp_path / "cache")
    assert changed[0] == 0
    assert changed[1] == changed[2] != warm[1]


@pytest.mark.slow
def test_no_folder_for_a_cache_means_compiling_anew(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    program = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]\n" + PROBE
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file")}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    hits, compiled, plain = json.loads(run.stdout)
    assert hits == 0
    assert compiled == plain
