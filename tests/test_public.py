"""The face of the package: what is there, under which name, and what a type checker says of it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import refsgd


@pytest.mark.parametrize(
    "name", ["baselines", "datasets", "models", "plotting", "stopping", "textdata", "vmf"]
)
def test_module_of_the_package_can_be_imported_by_name(name: str) -> None:
    module = importlib.import_module(f"refsgd.{name}")
    assert module is getattr(refsgd, name)
    assert all(hasattr(module, public) for public in getattr(module, "__all__", ()))


def test_module_offers_all_of_the_one_behind_it() -> None:
    assert refsgd.vmf.__all__ == refsgd.directional.vmf.__all__
    for name, layer in (("baselines", "apps"), ("stopping", "sgd")):
        behind = importlib.import_module(f"refsgd.{layer}.{name}")
        classes = {
            key
            for key, value in vars(behind).items()
            if isinstance(value, type) and value.__module__ == behind.__name__ and key[0] != "_"
        }
        assert classes <= set(getattr(refsgd, name).__all__)


def test_docstring_of_the_package_names_all_that_is_public() -> None:
    named = set(re.findall(r"`([A-Za-z_]+)`", refsgd.__doc__ or ""))
    lazy = {"VSGDClassifier", "VSGDRegressor", "VonMisesFisherMixture"}
    assert {*refsgd.__all__, *lazy} - {"__version__"} <= named


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'refsgd' has no attribute 'minimise'"):
        _ = refsgd.minimise  # type: ignore[attr-defined]


@pytest.mark.slow
def test_type_checker_knows_estimators_and_no_name_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    snippet = tmp_path / "snippet.py"
    snippet.write_text("import refsgd\nreveal_type(refsgd.VSGDClassifier)\nrefsgd.minimise\n", "utf-8")
    mypy = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache")]
    run = subprocess.run([*mypy, str(snippet)], cwd=tmp_path, capture_output=True, text=True)
    assert re.search(r'Revealed type is "def \(.*refsgd\.adapters\.classifier\.VSGDClassifier"', run.stdout)
    assert re.search(r'Module has no attribute "minimise"', run.stdout)
