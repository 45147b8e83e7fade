"""Sparse samples from text files larger than memory: svmlight and Vowpal Wabbit, plain, gzip or bzip2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..._errors import message
from ..._validation import choice, integer
from . import svmlight, vw
from .samples import BadLine, Sample, Samples, stack
from .stream import Piece, pieces

__all__ = ["FORMATS", "Chunk", "read_chunks"]

Format = Literal["auto", "svmlight", "vw"]
FORMATS: tuple[Format, ...] = get_args(Format)
CHUNK = 2**20  # bytes of text: the parsed arrays fit a cache
MOST_BITS = 30


class Chunk(NamedTuple):
    """Some samples of a file."""

    X: csr_array
    """float64 ``(n, n_features)``, with sorted indices and without duplicates."""
    y: NDArray[np.float64]
    """``(n,)``, NaN where a line has no label."""
    weights: NDArray[np.float64] | None
    """``(n,)``, not negative; None where all are 1."""
    lines: NDArray[np.int64]
    """``(n,)``, the number of each sample's line in the file, from 1."""
    format: str
    """``"svmlight"`` or ``"vw"``."""
    n_bytes: int
    """Length of the text, decompressed."""
    position: int
    """Bytes of the file on disk that have been read so far."""


def read_chunks(
    path: str | os.PathLike[str], format: Format = "auto", *, bits: int = 18, chunk_bytes: int = CHUNK
) -> Iterator[Chunk]:
    """Read a text file of sparse samples, one bounded part at a time.

    The first bytes of a file say whether it is compressed. Empty lines are skipped; words may be separated by
    spaces and tabs, and lines may end in CRLF. Numbers equal Python's ``float`` to the last bit.

    - svmlight: ``label [qid:n] index:value ... # comment``. Indices are columns as written, so a file that
      counts from 1 leaves column 0 empty. An index occurs once per line, in any order.
    - Vowpal Wabbit: ``[label [importance]] ['tag]|namespace[:scale] feature[:value] ...``. Features are
      hashed into columns exactly as in Vowpal Wabbit; values in the same column of a sample are added. The
      default value is 1.

    Parameters
    ----------
    path : path
        The file, or ``"-"`` for standard input.
    format : {"auto", "svmlight", "vw"}
        "auto" is Vowpal Wabbit's if the first line that is not empty has a bar before any ``#``.
    bits : int
        Vowpal Wabbit's features take ``2**bits`` columns.
    chunk_bytes : int
        Approximate bytes of text to read at a time; at least one line.

    Yields
    ------
    Chunk
        X has as many columns as the largest index so far needs, or ``2**bits``.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is truncated or a line is malformed; the message gives the number and what is wrong.

    See Also
    --------
    refsgd.linear.model.LinearModel : learns from such samples.

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
    for piece in pieces(path, chunk_bytes):
        if format == "auto":
            format = _detect(piece.text)
        if format == "auto":  # nothing but empty lines so far
            continue
        samples = svmlight.parse(piece.text) if format == "svmlight" else vw.parse(piece.text, bits)
        if samples is None:
            samples = _line_by_line(piece, path, format, bits)
        if samples.y.size == 0:
            continue
        if format == "vw":
            width = 2**bits
        else:
            width = max(width, int(samples.indices.max(initial=-1)) + 1)
        y, weights, lines, indptr, indices, data = samples
        X = csr_array((data, indices, indptr.astype(np.int32)), shape=(y.size, width))
        X.sum_duplicates()
        lines = lines + piece.first_line
        yield Chunk(X, y, weights, lines, format, len(piece.text), piece.position)


def _detect(text: bytes) -> Format:
    first = text.lstrip().partition(b"\n")[0]
    if not first:
        return "auto"
    return "vw" if b"|" in first.partition(b"#")[0] else "svmlight"


def _line_by_line(piece: Piece, path: str, format: str, bits: int) -> Samples:
    """Slow, but finds the malformed line."""
    samples: list[Sample] = []
    lines: list[int] = []
    for number, line in enumerate(piece.text.split(b"\n")):
        try:
            sample = svmlight.parse_line(line) if format == "svmlight" else vw.parse_line(line, bits)
        except BadLine as error:
            name, must, got, remedy = error.args
            where = f"{path}:{piece.first_line + number}: {name}"
            raise ValueError(message(where, must, got, remedy)) from None
        if sample is not None:
            samples.append(sample)
            lines.append(number)
    return stack(samples, lines)
