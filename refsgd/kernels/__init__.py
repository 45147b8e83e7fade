"""The table of backends and the choice among them.

Kernels are loaded on first use: importing this package imports neither numba nor the C extension.
"""

from __future__ import annotations

import importlib

from .._errors import BackendError
from .contract import Kernels

#: name -> module that defines KERNELS; "auto" tries them in this order
_MODULES = {"c": "c", "numba": "numba_kernels", "numpy": "numpy_kernels"}
_REMEDIES = {
    "c": 'reinstall with a C compiler or use backend="numba"',
    "numba": 'pip install numba or use backend="numpy"',
    "numpy": "reinstall refsgd",
}
_loaded: dict[str, Kernels] = {}


def load(name: str) -> Kernels:
    """The kernels of one backend, or for ``"auto"`` of the first that works.

    Raises
    ------
    BackendError
        If that backend cannot be used here; the message says why.
    """
    name = resolve(name)
    if name not in _loaded:
        try:
            module = importlib.import_module(f".{_MODULES[name]}", __name__)
        except Exception as error:  # a broken numba or a stale .so fails in many ways
            why = f"{type(error).__name__}: {error}"
            raise BackendError(f'backend "{name}" is not available ({why}); {_REMEDIES[name]}.') from error
        _loaded[name] = module.KERNELS
    return _loaded[name]


def resolve(name: str) -> str:
    """The backend that a name stands for: itself, or for ``"auto"`` the first that works."""
    return next(b for b in _MODULES if unavailable(b) is None) if name == "auto" else name


def unavailable(name: str) -> str | None:
    """Why a backend cannot be used here, or None if it can."""
    try:
        load(name)
    except BackendError as error:
        return str(error)
    return None


def set_num_threads(n: int) -> None:
    """Limit the threads of C, which alone has any."""
    if unavailable("c") is None:
        from . import c

        c.set_num_threads(n)


def get_num_threads() -> int:
    if unavailable("c") is not None:
        return 1
    from . import c

    return c.get_num_threads()
