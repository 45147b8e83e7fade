"""svmlight: ``label [qid:n] index:value ... # comment``.

An index is the number as written; files may count from 0 or from 1. Comments and queries are ignored. A line
without a label begins with an entry.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from . import tokens
from .samples import LARGEST_INDEX, BadLine, Sample, Samples, number, shown
from .tokens import COLON

SEPARATORS = tokens.separators(bar=False)
COMMENT = re.compile(rb"#[^\n]*")
QUERY = re.compile(rb"(?m)^([ \t]*[^\s:]+)[ \t]+qid:[0-9]+(?=\s)")


def parse(piece: bytes) -> Samples | None:
    """The samples in whole lines; None if a line is malformed: `parse_line` then finds the fault."""
    if b"#" in piece:
        piece = COMMENT.sub(b"", piece)
    if b"qid:" in piece:
        piece = QUERY.sub(rb"\1", piece)
    words = tokens.split(piece, SEPARATORS)
    if not words.are_colons_tight:
        return None
    is_index, is_value = words.after == COLON, words.before == COLON
    labels = np.flatnonzero(~(is_index | is_value))
    lines = np.flatnonzero(np.diff(words.first))
    begins = words.first[lines]
    row = np.searchsorted(begins, labels)
    if not np.array_equal(begins[np.minimum(row, begins.size - 1)], labels):  # a label that is not first
        return None
    index, is_good = tokens.digits(words.buffer, words.start[is_index], words.end[is_index])
    known = tokens.numbers(words.buffer, words.start[labels], words.end[labels])
    data = tokens.numbers(words.buffer, words.start[is_value], words.end[is_value])
    if known is None or data is None or not (is_good & (index <= LARGEST_INDEX)).all():
        return None
    y = np.full(lines.size, np.nan)
    y[row] = known
    n_words = np.diff(words.first)[lines] - ~np.isnan(y)
    indptr = np.concatenate([[0], np.cumsum(n_words // 2)])
    indices = index.astype(np.int32)
    if _has_repeated(indices, indptr):
        return None
    return Samples(y, None, lines, indptr, indices, data)


def _has_repeated(indices: NDArray[np.int32], indptr: tokens.Ints) -> bool:
    """Whether an index occurs twice in one sample."""
    rises = np.diff(indices) > 0
    inner = indptr[(indptr > 0) & (indptr < indices.size)]
    rises[inner - 1] = True
    if rises.all():
        return False
    keys = np.repeat(np.arange(indptr.size - 1), np.diff(indptr)) << 32 | indices
    keys.sort()
    return bool((keys[1:] == keys[:-1]).any())


def parse_line(line: bytes) -> Sample | None:
    """The sample in one line, None if it is empty; `BadLine` says what is wrong."""
    words = line.partition(b"#")[0].split()
    if not words:
        return None
    y = np.nan
    if b":" not in words[0]:
        y = number("label", words[0], words.pop(0))
        if words and re.fullmatch(rb"qid:[0-9]+", words[0]):
            del words[0]
    entries: dict[int, float] = {}
    for word in words:
        name, colon, value = word.partition(b":")
        if not colon:
            raise BadLine("entry", "be index:value", shown(word))
        if not name.isdigit():
            raise BadLine("index", "be a whole number", f"{shown(name)} in {shown(word)}")
        if len(name) > 16 or int(name) > LARGEST_INDEX:
            raise BadLine("index", f"be at most {LARGEST_INDEX}", shown(name), "number the features anew")
        if int(name) in entries:
            raise BadLine("index", "come once in a line", f"{int(name)} twice", "add the two values up")
        entries[int(name)] = number("value", value, word)
    return Sample(y, 1.0, list(entries), list(entries.values()))
