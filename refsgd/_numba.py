"""`numba.njit` for all compiled code of the package, with a cache that any change of the sources invalidates.

Numba decides by the file of a function whether its cached code is fresh. But the code also contains constants
and functions of other files: after a change there Numba would keep using the old ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache


@functools.cache
def sources_digest() -> str:
    """A hash of all Python files of the package."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


class Cache(FunctionCache):
    """Numba's cache of one function, fresh while no source of the package changes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file._source_stamp = (self._cache_file._source_stamp, sources_digest())

    def save_overload(self, signature: Any, data: Any) -> None:
        # Two processes at once could give the same file to two signatures: Numba reads the index, adds to
        # it and writes it back.
        with open(Path(self.cache_path) / "refsgd.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            super().save_overload(signature, data)  # type: ignore[no-untyped-call]


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function on its first call, or load it from the cache. Division by 0 is as in NumPy."""
    dispatcher = numba.njit(error_model="numpy", nogil=True, **options)(function)
    with contextlib.suppress(RuntimeError):  # where no folder can be written to, each process compiles
        dispatcher._cache = Cache(function)
    return dispatcher


def inline(function: Callable[..., Any]) -> Any:
    """`jit`, but compiled into each caller.

    For short loops: a call with some arrays takes as long as the loop, and the compiler then no longer knows
    the distances between rows.
    """
    return jit(function, inline="always")
