"""The import rule: who may import whom, read from the sources without running them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import refsgd

PACKAGE = Path(refsgd.__file__).parent

# A part is the name after "refsgd."; these are parts of their own. Kernels read the losses.
PARTS = {"refsgd.linear.losses": "losses", "refsgd.apps.textdata": "textdata"}

# A part may import those of its level and below; all others are of level 0.
LEVEL = {"adapters": 1, "apps": 2, "textdata": 2, "baselines": 3, "plotting": 3, "__main__": 3}
FORBIDDEN = {
    "sgd": {"directional", "linear"},
    "directional": {"sgd", "linear"},
    "linear": {"sgd", "directional"},
    "models": {"kernels", "sgd", "directional"},
}
MAY_IMPORT = {
    "kernels": {"kernels", "losses", "_errors", "_kernels", "_numba"},
    "losses": {"kernels"},
    "textdata": {"textdata", "_errors", "_validation"},
}

# The modules of a part, each of which may import only those before it. Numba's code is imported on first use.
ORDER = {
    "directional": (
        *("_coefficients", "_series", "_arguments", "_compiled", "concentration", "vmf", "estimators"),
        *("directions", "fold_sums", "stats", "distribution", "em"),
        *("gradients", "group", "report", "history", "monitor"),
    ),
    "sgd": (
        *("interrupts", "sampler", "stopping", "csr", "moments", "orthogonal", "state", "scipy_method"),
        *("rule", "length", "run", "sparse", "vsgd"),
        *(
            "averages",
            "block_rates",
            "rates",
            "published_rule",
            "published_run",
            "published_sparse",
            "published",
        ),
        *("compiled", "driver", "minimize"),
    ),
}

# SciPy calls a rule, which calls `minimize`, which needs the rules.
CIRCLE = ("refsgd.sgd.scipy_method", "refsgd.sgd.minimize")
LAZY = {"refsgd.directional._compiled", "refsgd.sgd.compiled", "scipy.optimize", "scipy.sparse", CIRCLE[1]}

# The only modules that may import these, at any depth.
ALLOWED = {
    "dask": {"refsgd.adapters.dask"},
    "matplotlib": {"refsgd.apps.plotting"},
    "numba": {"refsgd._numba", "refsgd.kernels.numba_kernels", "refsgd.sgd.compiled"},
    "joblib": {"refsgd.adapters.linear_base"},
    "sklearn": {f"refsgd.adapters.{name}" for name in ("classifier", "linear_base", "mixture", "regressor")},
    "torch": {"refsgd.adapters.torch", "refsgd.apps.torch_models"},
    "refsgd._kernels": {"refsgd.kernels.c"},
}


def sources() -> dict[str, Path]:
    """The file of each module of the package."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = [PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts]
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def absolute(target: str, level: int, package: str) -> str:
    """The full name of ``target`` after ``level`` dots in a module of ``package``."""
    if level == 0:
        return target
    base = package.rsplit(".", level - 1)[0]
    return f"{base}.{target}" if target else base


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Every name that ``source`` imports, also inside functions and through ``import_module("...")``."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=target, names=names, level=level):
                base = absolute(target or "", level, package)
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(target)), *_],
            ):
                name = target.lstrip(".")
                yield absolute(name, len(target) - len(name), package)


def part_of(name: str) -> str:
    """The part that a module of the package belongs to, or "" for the package itself and what is foreign."""
    for part in PARTS:
        if f"{name}.".startswith(f"{part}."):
            return PARTS[part]
    package, _, rest = name.partition(".")
    return rest.partition(".")[0] if package == "refsgd" else ""


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What ``source`` imports against the rule."""
    names = set(imports(source, module, is_package=is_package))
    part = part_of(module)
    found = {
        name
        for name in names
        if (part and LEVEL.get(part_of(name), 0) > LEVEL.get(part, 0))
        or part_of(name) in FORBIDDEN.get(part, ())
        or (part in MAY_IMPORT and part_of(name) not in MAY_IMPORT[part] | {""})
    }
    for target, importers in ALLOWED.items():
        if module not in importers:
            found |= {name for name in names if name == target or name.startswith(target + ".")}
    return sorted(found)


def graph() -> dict[str, set[str]]:
    """The modules of the package that each imports, lazily or for types alone too."""
    files = sources()
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        found[module] = set()
        for name in imports(path.read_text("utf-8"), module, is_package=path.name == "__init__.py"):
            while name and name not in {
                *files,
                "refsgd._kernels",
            }:  # a class is of the module before its name
                name = name.rpartition(".")[0]
            found[module] |= {name} & files.keys() - {module}
    return found


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, from the first to itself, or none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize("module", sources())
def test_module_keeps_the_import_rule(module: str) -> None:
    path = sources()[module]
    assert violations(path.read_text("utf-8"), module, is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("refsgd.kernels.published_numpy", "from .. import _validation"),
        ("refsgd.kernels.published_numpy", "from ..sgd.moments import Moments"),
        ("refsgd.sgd.vsgd", "from ..directional import vmf"),
        ("refsgd.directional.stats", "from ..sgd import moments"),
        ("refsgd.models.mlp", "from .. import kernels"),
        ("refsgd.sgd.minimize", "def f():\n    from .. import plotting"),
        ("refsgd.sgd.minimize", "import refsgd.adapters.classifier"),
        ("refsgd.datasets", "from .plotting import show"),
        (
            "refsgd.sgd.minimize",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .. import apps",
        ),
        ("refsgd.sgd.driver", "from ..baselines import Adam"),
        ("refsgd.adapters.torch", "from ..apps.torch_models import ConvNet"),
        ("refsgd.apps.commands.fit", "from ...__main__ import main"),
        ("refsgd.apps.textdata.stream", "from ... import sgd"),
        ("refsgd.apps.textdata.stream", "from ..baselines import Adam"),
        ("refsgd.textdata", "from .apps.commands import fit"),
        ("refsgd.linear.model", "from ..apps.commands import fit"),
        ("refsgd.linear.losses", "from ..sgd import moments"),
        ("refsgd.kernels.linear_numpy", "from ..linear.model import LinearModel"),
        ("refsgd.kernels.published_numpy", "from .._config import backend_name"),
        ("refsgd.sgd.minimize", "import numba as nb"),
        ("refsgd.kernels.linear_numba", "import numba"),
        ("refsgd.sgd.minimize", "from importlib import import_module\nimport_module('numba')"),
        ("refsgd.kernels.numba_kernels", "from .._kernels import lib"),
        ("refsgd.adapters.torch", "from sklearn.base import BaseEstimator"),
        ("refsgd.apps.experiments.quadratic", "import matplotlib.pyplot as plt"),
    ],
)
def test_violation_is_found(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("refsgd.kernels.c", "from .. import _kernels\nfrom .._errors import BackendError"),
        ("refsgd.sgd.vsgd", "from .. import kernels\nfrom ..models import Logistic"),
        ("refsgd.sgd.compiled", "import numba"),
        ("refsgd.adapters.classifier", "from sklearn.base import BaseEstimator\nfrom ..sgd import vsgd"),
        ("refsgd.apps.experiments.quadratic", "from ... import sgd, directional\nfrom .. import plotting"),
        ("refsgd.baselines", "from .apps.baselines import Adam"),
        ("refsgd.textdata", "from .apps.textdata import read_chunks"),
    ],
)
def test_lawful_import_is_not_reported(module: str, source: str) -> None:
    assert violations(source, module) == []


@pytest.mark.parametrize("part", ORDER)
def test_modules_of_a_part_import_only_those_below(part: str) -> None:
    names = [f"refsgd.{part}.{name}" for name in ORDER[part]]
    assert {*names} == {name for name in sources() if name.startswith(f"refsgd.{part}.")}
    edges = graph()
    for i, name in enumerate(names):
        allowed = {target for module, target in [CIRCLE] if module == name}
        assert (edges[name] & {*names[i:], f"refsgd.{part}"}) - allowed == set(), name


@pytest.mark.parametrize("part", ORDER)
def test_functions_of_a_part_import_only_what_takes_long_to_load(part: str) -> None:
    for name in (f"refsgd.{part}.{module}" for module in ORDER[part]):
        tree = ast.parse(sources()[name].read_text("utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        found = {target for node in functions for target in imports(ast.unparse(node), name)}
        assert {target for target in found if not target.startswith(tuple(LAZY))} == set(), name


def test_no_imports_go_in_a_circle_but_that_of_the_method_of_scipy() -> None:
    edges = graph()
    assert {*CIRCLE} <= {*circle(edges)}
    edges[CIRCLE[0]].remove(CIRCLE[1])
    assert circle(edges) == []


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("refsgd.sgd.rule", "refsgd.sgd.vsgd"),
        ("refsgd.datasets", "refsgd"),
        ("refsgd.kernels.c", "refsgd.kernels"),
    ],
)
def test_circle_is_found(module: str, target: str) -> None:
    edges = graph()
    edges[CIRCLE[0]].remove(CIRCLE[1])
    edges[module].add(target)
    edges[target].add(module)
    assert {module, target} <= {*circle(edges)}


def long_signatures(source: str) -> list[str]:
    """The functions of ``source`` with more than 8 positional parameters, not counting ``self``."""
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.Lambda)
    ]
    found = []
    for function in functions:
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        if len(names) - (names[:1] in (["self"], ["cls"])) > 8:
            found.append(getattr(function, "name", "lambda"))
    return found


@pytest.mark.parametrize("module", sources())
def test_no_function_has_more_than_eight_positional_parameters(module: str) -> None:
    assert long_signatures(sources()[module].read_text("utf-8")) == []


def test_long_signature_is_found() -> None:
    nine = ", ".join("abcdefghi")
    assert long_signatures(f"def f({nine}): ...") == ["f"]
    assert long_signatures(f"g = lambda {nine}: 0") == ["lambda"]
    assert long_signatures(f"class A:\n def f(self, {nine}): ...") == ["f"]
    assert long_signatures(f"def f({nine[:-3]}, *, i): ...\nclass A:\n def f(self, {nine[:-3]}): ...") == []


@pytest.mark.process
def test_import_loads_nothing_heavy() -> None:
    heavy = ["numba", "sklearn", "matplotlib", "torch", "dask", "scipy.stats", "scipy.optimize"]
    program = f"import sys, refsgd; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
