"""Pieces of whole lines from a file that may be compressed, or from standard input."""

from __future__ import annotations

import bz2
import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any, NamedTuple

from ..._errors import message

LONGEST_LINE = 2**26
KINDS = {b"\x1f\x8b": "gzip", b"BZ": "bzip2"}
BOM = b"\xef\xbb\xbf"


class Piece(NamedTuple):
    """Whole lines."""

    text: bytes
    """Ends in a newline."""
    first_line: int
    """The number of its first line, from 1."""
    position: int
    """Bytes of the file on disk that have been read so far."""


def pieces(path: str, size: int) -> Iterator[Piece]:
    """Read a file, or for ``"-"`` standard input, in pieces of about ``size`` bytes of text.

    gzip and bzip2 are recognised by their first bytes, not by the name of the file.
    """
    with ExitStack() as stack:
        raw = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
        kind = KINDS.get(raw.peek(2)[:2], "")  # type: ignore[union-attr]
        file: IO[bytes] = raw
        if kind:
            opener: Any = gzip.GzipFile if kind == "gzip" else bz2.BZ2File
            file = stack.enter_context(opener(raw) if kind == "bzip2" else opener(fileobj=raw))
        line, n_read, rest = 1, 0, b""
        while data := _read(file, size, path, kind):
            n_read += len(data)
            if line == 1 and n_read == len(data):
                data = data.removeprefix(BOM)
            rest, text = _cut(rest, data)
            if len(rest) > LONGEST_LINE:
                where = f"{path}:{line + text.count(10)}: line"
                must = f"be at most {LONGEST_LINE} bytes long"
                raise ValueError(message(where, must, "more", "check that the file is text"))
            if text:
                yield Piece(text, line, n_read if path == "-" else raw.tell())
                line += text.count(b"\n")
        if rest:
            yield Piece(rest + b"\n", line, n_read if path == "-" else raw.tell())


def _cut(rest: bytes, data: bytes) -> tuple[bytes, bytes]:
    """The beginning of an incomplete line, and the whole lines before it."""
    end = data.rfind(b"\n") + 1
    return (data[end:], rest + data[:end]) if end else (rest + data, b"")


def _read(file: IO[bytes], size: int, path: str, kind: str) -> bytes:
    try:
        return file.read(size)
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        got = str(error).rstrip(".")
        raise ValueError(message(path, f"be a whole {kind} file", got, "fetch the file again")) from None
