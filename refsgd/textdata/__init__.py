"""Sparse samples from text files larger than memory: svmlight and Vowpal Wabbit, plain, gzip or bzip2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._errors import message
from .._validation import choice, integer
from . import svmlight, vw
from .rows import BadLine, Row, Rows, stack
from .stream import Block, blocks

__all__ = ["FORMATS", "Chunk", "read_chunks"]

FORMATS = ("auto", "svmlight", "vw")
CHUNK = 2**20  # bytes of text: what a parser makes of it fits a cache
MOST_BITS = 30


class Chunk(NamedTuple):
    """Some rows of a file."""

    X: csr_array
    """float64 ``(n, n_features)``, with sorted indices and without duplicates."""
    y: NDArray[np.float64]
    """``(n,)``, NaN where a line has no label."""
    weights: NDArray[np.float64] | None
    """``(n,)``, not negative; None where all are 1."""
    lines: NDArray[np.int64]
    """``(n,)``, the line in the file of each row, from 1."""
    format: str
    """``"svmlight"`` or ``"vw"``."""
    n_bytes: int
    """Length of the text, decompressed."""
    position: int
    """How much of the file has been read by now, in bytes as they are on disk."""


def read_chunks(
    path: str | os.PathLike[str], format: str = "auto", *, bits: int = 18, chunk_bytes: int = CHUNK
) -> Iterator[Chunk]:
    """Read a text file of sparse samples, a bounded part at a time.

    A file is decompressed by what its first bytes say. Empty lines are passed over; blanks may be spaces and
    tabs, and lines may end in CRLF. Numbers are equal to Python's ``float`` to the last bit.

    - svmlight: ``label [qid:n] index:value ... # comment``. Indices are columns as they are written, so
      those of a file that counts from 1 leave column 0 empty. An index comes once a line, in any order.
    - Vowpal Wabbit: ``[label [importance]] ['tag]|namespace[:scale] feature[:value] ...``. Features are
      hashed into columns exactly as Vowpal Wabbit does; values in the same column of a row are added. A value
      is 1 by default.

    Parameters
    ----------
    path : path
        The file, or ``"-"`` for standard input.
    format : {"auto", "svmlight", "vw"}
        By default Vowpal Wabbit's where the first line that is not empty has a bar before any ``#``.
    bits : int
        Vowpal Wabbit's features take ``2**bits`` columns.
    chunk_bytes : int
        About how much text to read at a time; one line at least.

    Yields
    ------
    Chunk
        With as many columns as the largest index so far needs, or ``2**bits``.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not whole, or if a line is not right; the message has its number and what is wrong.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "train.dat")
    ...     _ = path.write_text("1 0:0.5 2:1\\n-1 1:2  # no more\\n")
    ...     chunk = next(read_chunks(path))
    >>> chunk.y, chunk.X.toarray()
    (array([ 1., -1.]), array([[0.5, 0. , 1. ], [0. , 2. , 0. ]]))
    """
    choice("format", format, FORMATS)
    bits, chunk_bytes = integer("bits", bits, 1), integer("chunk_bytes", chunk_bytes, 1)
    if bits > MOST_BITS:
        raise ValueError(message("bits", f"be at most {MOST_BITS}", bits, "take fewer"))
    path, width = os.fspath(path), 0
    for block in blocks(path, chunk_bytes):
        if format == "auto":
            format = _detect(block.text)
        if format == "auto":  # nothing but empty lines so far
            continue
        rows = svmlight.parse(block.text) if format == "svmlight" else vw.parse(block.text, bits)
        if rows is None:
            rows = _line_by_line(block, path, format, bits)
        if rows.y.size == 0:
            continue
        if format == "vw":
            width = 2**bits
        else:
            width = max(width, int(rows.indices.max(initial=-1)) + 1)
        X = csr_array((rows.data, rows.indices, rows.indptr.astype(np.int32)), shape=(rows.y.size, width))
        X.sum_duplicates()
        lines = rows.lines + block.first_line
        yield Chunk(X, rows.y, rows.weights, lines, format, len(block.text), block.position)


def _detect(text: bytes) -> str:
    first = text.lstrip().partition(b"\n")[0]
    if not first:
        return "auto"
    return "vw" if b"|" in first.partition(b"#")[0] else "svmlight"


def _line_by_line(block: Block, path: str, format: str, bits: int) -> Rows:
    """The slow way, which finds the line that is not right."""
    rows: list[Row] = []
    lines: list[int] = []
    for number, line in enumerate(block.text.split(b"\n")):
        try:
            row = svmlight.parse_line(line) if format == "svmlight" else vw.parse_line(line, bits)
        except BadLine as error:
            name, must, got, remedy = error.args
            where = f"{path}:{block.first_line + number}: {name}"
            raise ValueError(message(where, must, got, remedy)) from None
        if row is not None:
            rows.append(row)
            lines.append(number)
    return stack(rows, lines)
