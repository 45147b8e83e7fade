"""Build the C kernels as ``refsgd._kernels``, through cffi in API mode. The only place for compiler flags.

    python csrc/build_cffi.py             build in place
    python csrc/build_cffi.py --warnings  compile with all warnings as errors, and keep nothing

An installation builds the same through ``setup.py``. Each of them first writes csrc/constants.h, with
the constants of refsgd/kernels/contract.py, where they have changed. Two variables of the environment are
read:
``REFSGD_REQUIRE_C=1`` lets an installation fail where the C kernels cannot be built, and
``REFSGD_SANITIZE=1`` builds with AddressSanitizer and UndefinedBehaviorSanitizer.
"""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from cffi import FFI

# setup.py runs in this folder, and setuptools wants paths relative to it.
ROOT = Path(__file__).resolve().parents[1]
CONTRACT = ROOT / "refsgd" / "kernels" / "contract.py"
CONSTANTS = ROOT / "csrc" / "constants.h"


def contract() -> dict[str, Any]:
    """The constants of kernels/contract.py, read without an import: a build may have no NumPy."""
    found: dict[str, Any] = {}
    for node in ast.parse(CONTRACT.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper():
            exec(ast.unparse(node), {"range": range}, found)
    return found


def write_constants() -> None:
    """Write the header of constants, unless it is there already: a newer file would be compiled again."""
    lines = ["/* Written by build_cffi.py from refsgd/kernels/contract.py, which explains the constants. */"]
    for name, value in contract().items():
        if isinstance(value, dict):
            power = name.removesuffix("_EXPONENT")
            lines += [f"#define REFSGD_{power}_F32 0x1p{value['float32']}f"]
            lines += [f"#define REFSGD_{power}_F64 0x1p{value['float64']}"]
        else:
            lines += [f"#define REFSGD_{name} {value!r}"]
    text = "\n".join(lines) + "\n"
    if not CONSTANTS.exists() or CONSTANTS.read_text(encoding="utf-8") != text:
        CONSTANTS.write_text(text, encoding="utf-8")


write_constants()
FILES = sorted(f"csrc/{path.name}" for path in (ROOT / "csrc").iterdir())
SOURCES = [name for name in FILES if name.endswith(".c")]
DEPENDS = [name for name in FILES if name.endswith((".h", ".inc", ".py"))]

# Contraction to fused multiply-adds would give other bits than NumPy; NaN and infinity keep their meaning.
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fvisibility=hidden",
]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def interface() -> str:
    """What cffi is to know: the constants that are single numbers, and a part of the header."""
    header = (ROOT / "csrc" / "refsgd_kernels.h").read_text(encoding="utf-8")
    _, begin, rest = header.partition("/* CFFI BEGIN */")
    declarations, end, _ = rest.partition("/* CFFI END */")
    if not (begin and end):
        raise ValueError("csrc/refsgd_kernels.h must have the marks CFFI BEGIN and CFFI END; restore them.")
    numbers = {name: value for name, value in contract().items() if not isinstance(value, dict)}
    constants = [
        f"#define REFSGD_{name} {value}" if isinstance(value, int) else f"static const double REFSGD_{name};"
        for name, value in numbers.items()
    ]
    return "\n".join(constants) + declarations


def c_compiler() -> list[str]:
    """The compiler that setuptools will take."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def has_openmp() -> bool:
    """Whether a program with a parallel region compiles and links."""
    program = "#include <omp.h>\nint main(void)\n{\n#pragma omp parallel\n{}\nreturn omp_in_parallel();\n}\n"
    with tempfile.TemporaryDirectory() as folder:
        command = [*c_compiler(), "-fopenmp", "-x", "c", "-", "-o", f"{folder}/probe"]
        try:
            return subprocess.run(command, input=program.encode(), capture_output=True).returncode == 0
        except OSError:
            return False


def flags() -> tuple[list[str], list[str]]:
    """Flags to compile with and to link with."""
    if sys.platform == "win32":
        return [], []
    openmp = ["-fopenmp"] if has_openmp() else []
    if os.environ.get("REFSGD_SANITIZE") == "1":
        return [*FLAGS, *openmp, "-O1", "-g", "-DREFSGD_NO_CLONES", *SANITIZE], [*openmp, *SANITIZE]
    return FLAGS + openmp, openmp


def check_warnings() -> int:
    """Compile each source with warnings as errors; return the number of those that fail."""
    command = [*c_compiler(), *flags()[0], *WARNINGS, "-c", "-o", os.devnull]
    return sum(subprocess.run([*command, source], cwd=ROOT).returncode != 0 for source in SOURCES)


compile_flags, link_flags = flags()
ffibuilder = FFI()
ffibuilder.cdef(interface())
ffibuilder.set_source(
    "refsgd._kernels",
    '#include "refsgd_kernels.h"',
    sources=SOURCES,
    depends=DEPENDS,
    include_dirs=["csrc"],
    libraries=[] if sys.platform == "win32" else ["m"],
    extra_compile_args=compile_flags,
    extra_link_args=link_flags,
    optional=os.environ.get("REFSGD_REQUIRE_C") != "1",
)

if __name__ == "__main__":
    if "--warnings" in sys.argv[1:]:
        sys.exit(check_warnings())
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    sys.exit(subprocess.run(build, cwd=ROOT, env=os.environ | {"REFSGD_REQUIRE_C": "1"}).returncode)
