"""Build the C kernels as ``refsgd._kernels``, through cffi in API mode. The only place for compiler flags.

    python csrc/build_cffi.py             build in place
    python csrc/build_cffi.py --warnings  compile with all warnings as errors, and keep nothing

An installation builds the same through ``setup.py``. Two variables of the environment are read:
``REFSGD_REQUIRE_C=1`` lets an installation fail where the C kernels cannot be built, and
``REFSGD_SANITIZE=1`` builds with AddressSanitizer and UndefinedBehaviorSanitizer.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from cffi import FFI

# setup.py runs in this folder, and setuptools wants paths relative to it.
ROOT = Path(__file__).resolve().parents[1]
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
    """The part of the header that cffi is to know."""
    header = (ROOT / "csrc" / "refsgd_kernels.h").read_text(encoding="utf-8")
    _, begin, rest = header.partition("/* CFFI BEGIN */")
    declarations, end, _ = rest.partition("/* CFFI END */")
    if not (begin and end):
        raise ValueError("csrc/refsgd_kernels.h must have the marks CFFI BEGIN and CFFI END; restore them.")
    return declarations


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
