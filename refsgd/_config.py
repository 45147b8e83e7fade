"""Which backend and how many threads: the only settings of the library."""

from __future__ import annotations

import os
from typing import Literal, get_args

from . import kernels
from ._validation import choice, integer

BackendName = Literal["auto", "c", "numba", "numpy"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)

_backend: BackendName | None = None


def use_backend(name: str | None) -> None:
    """Choose the kernels for everything that follows: ``"c"``, ``"numba"``, ``"numpy"`` or ``"auto"``.

    None gives the choice back to the environment variable ``REFSGD_BACKEND``, else to ``"auto"``, the first
    of c, numba and numpy that works. A backend asked for by name never falls back to another.

    Raises
    ------
    ValueError
        If there is no backend of that name.
    BackendError
        If that backend cannot be used here.

    Examples
    --------
    >>> import refsgd
    >>> refsgd.use_backend("numpy")
    >>> refsgd.use_backend(None)
    """
    global _backend
    chosen = None if name is None else choice("name", name, BACKENDS)
    if chosen is not None:
        kernels.load(chosen)
    _backend = chosen


def backend_name(argument: str | None = None) -> BackendName:
    """The backend in force: the argument, else `use_backend`, else ``REFSGD_BACKEND``, else auto."""
    if argument is not None:
        return choice("backend", argument, BACKENDS)
    if _backend is not None:
        return _backend
    return choice("REFSGD_BACKEND", os.environ.get("REFSGD_BACKEND") or "auto", BACKENDS)


def set_num_threads(n: int) -> None:
    """Let C kernels use up to ``n`` threads on large arrays. No result depends on it.

    Without this they use what OpenMP has: ``OMP_NUM_THREADS`` where it is set, else the number of usable
    cores. Where that is lower it is raised to ``n``, for the thread that calls this. Limits that
    threadpoolctl sets later hold all the same.

    Examples
    --------
    >>> import refsgd
    >>> before = refsgd.get_num_threads()
    >>> refsgd.set_num_threads(1)
    >>> refsgd.get_num_threads()
    1
    >>> refsgd.set_num_threads(before)
    """
    kernels.set_num_threads(integer("n", n, minimum=1))


def get_num_threads() -> int:
    """The number of threads that C kernels may use, called from this thread: 1 where there are none."""
    return kernels.get_num_threads()


def show_backends() -> None:
    """Print which backends are there, or why not, and what they run on.

    Examples
    --------
    >>> import refsgd
    >>> refsgd.show_backends()  # doctest: +SKIP
    c        available: x86-64-v4 (AVX-512), OpenMP
    numba    available: numba 0.68.1
    numpy    available: numpy 2.4.6
    threads  2, for the C kernels on large arrays
    in use   c
    """
    for name in BACKENDS[1:]:
        reason = kernels.unavailable(name)
        print(f"{name:8s} {reason or 'available: ' + kernels.load(name).description}")
    print(f"threads  {get_num_threads()}, for the C kernels on large arrays")
    print(f"in use   {kernels.resolve(backend_name())}")
