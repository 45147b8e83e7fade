"""Only the optional C extension: everything else is in pyproject.toml."""

from __future__ import annotations

import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

NO_C_BACKEND = """
WARNING: the C kernels of refsgd could not be built: {error}
WARNING: the C backend will be missing, and refsgd will run on Numba.
WARNING: for the C backend install a C compiler and the headers of Python, then install refsgd again.
"""


class BuildKernels(build_ext):
    """Say what a failed build means; build_cffi.py marks the extension as optional, so the rest goes on."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except (BaseError, CCompilerError) as error:
            if ext.optional:
                print(NO_C_BACKEND.format(error=error), file=sys.stderr, flush=True)
            raise


# cffi uses the limited API wherever there is one, so one wheel serves all later versions of Python.
has_limited_api = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["csrc/build_cffi.py:ffibuilder"],
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if has_limited_api else {},
)
