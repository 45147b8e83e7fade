"""The only settings of the library: the backend and the number of threads."""

from __future__ import annotations

import os
from typing import Literal, get_args

from . import kernels
from ._validation import choice, integer

BackendName = Literal["auto", "c", "numba", "numpy"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)

_backend: BackendName | None = None


def use_backend(name: BackendName | None) -> None:
    """Choose the kernels for everything that follows: ``"c"``, ``"numba"``, ``"numpy"`` or ``"auto"``.

    ``"auto"`` is the first of c, numba and numpy that works. A backend chosen by name never falls back to
    another.

    Parameters
    ----------
    name : {"auto", "c", "numba", "numpy"} or None
        None returns the choice to the environment variable ``REFSGD_BACKEND``, else to ``"auto"``.

    Raises
    ------
    ValueError
        If there is no backend of that name.
    BackendError
        If that backend cannot be used here.

    See Also
    --------
    show_backends : which backends are available.

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

    By default they use ``OMP_NUM_THREADS``, or if it is not set the number of usable cores. If that is lower
    than ``n``, this function raises it for the thread that calls it. Later limits by threadpoolctl still
    hold.

    Parameters
    ----------
    n : int
        At least 1.

    See Also
    --------
    get_num_threads : the present limit.

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
    """The number of threads that C kernels may use if this thread calls them; 1 without C kernels.

    Returns
    -------
    int

    See Also
    --------
    set_num_threads : changes it.

    Examples
    --------
    >>> import refsgd
    >>> refsgd.get_num_threads() >= 1
    True
    """
    return kernels.get_num_threads()


def show_backends() -> None:
    """Print which backends are available, or why not, and what they run on.

    See Also
    --------
    use_backend : chooses one.

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
