"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ._errors import message


def check_folder(option: str, path: str) -> None:
    """Refuse, before any work is done, a file that cannot be written."""
    target = Path(path).absolute()
    if target.is_dir() or not os.access(target.parent, os.W_OK | os.X_OK):
        raise ValueError(
            message(option, "name a file in a folder that can be written to", path, "name another")
        )


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """A temporary file that replaces the one of that name at the end, unless an error comes first."""
    target = Path(path).absolute()
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
