"""Vowpal Wabbit: ``[label [importance [initial]]] ['tag]|namespace[:scale] feature[:value] ...``.

Features are hashed into 2**bits columns as Vowpal Wabbit does, so a column here is the column there: a name
that is all digits has as column that number plus the hash of its namespace; any other name, its MurmurHash3
with the hash of the namespace as seed; both modulo 2**bits. A namespace is hashed with seed 0; one without
a name has the hash 0. The tag, a word that touches the bar, is ignored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import tokens
from .murmur import hash_names, hash_words
from .samples import BadLine, Sample, Samples, number, shown
from .tokens import BAR, COLON, Tokens

SEPARATORS = tokens.separators(bar=True)
HELP = "write label [importance] ['tag]|namespace feature[:value] ..."


def parse(piece: bytes, bits: int) -> Samples | None:
    """The samples in whole lines; None if a line is malformed: `parse_line` then finds the fault.

    A tag with a colon is legal, but left to `parse_line` as well.
    """
    words = tokens.split(piece, SEPARATORS)
    if not words.are_colons_tight:
        return None
    # For each bar, the line it is in and the first token after it.
    bars = np.flatnonzero(words.kinds == BAR)
    newlines = np.flatnonzero(words.kinds == tokens.NEWLINE)[tokens.PAD - 1 : -tokens.PAD]
    bar_line = np.searchsorted(newlines, bars) - 1
    behind = np.searchsorted(words.separator, bars)
    lines, first_bar = np.unique(bar_line, return_index=True)
    n_tokens = np.diff(words.first)
    if n_tokens.sum() != n_tokens[lines].sum():  # a line of words without a bar
        return None
    begins, opens = words.first[lines], behind[first_bar]
    header = _headers(words, begins, opens)
    if header is None:
        return None
    y, weights = header

    is_feature = np.zeros(words.start.size, bool)
    ends = words.first[lines + 1]
    is_feature[_ranges(opens, ends)] = True
    is_space = (words.before == BAR) & is_feature
    is_value = (words.before == COLON) & is_feature
    is_scale = is_value.copy()
    is_scale[1:] &= is_space[:-1]
    name = np.flatnonzero(is_feature & ~is_space & ~is_value)
    space = np.flatnonzero(is_space)

    n_bars = bars.size
    seeds, scales = np.zeros(n_bars, np.uint64), np.ones(n_bars)
    owner = np.searchsorted(bars, words.separator[space], side="right") - 1
    seeds[owner] = hash_names(
        words.buffer, words.start[space], words.end[space], np.zeros(space.size, np.uint64)
    )
    scale = np.flatnonzero(is_scale)
    scale_values = tokens.numbers(words.buffer, words.start[scale], words.end[scale])
    value = np.flatnonzero(is_value & ~is_scale)
    values = tokens.numbers(words.buffer, words.start[value], words.end[value])
    if scale_values is None or values is None:
        return None
    scales[np.searchsorted(bars, words.separator[scale - 1], side="right") - 1] = scale_values

    # Names come in the order of bars, so values per bar are repeated for the names of each.
    data = np.ones(name.size)
    data[words.after[name] == COLON] = values
    n_names = np.diff(np.searchsorted(name, np.append(behind, words.start.size)))
    if scale.size:
        with np.errstate(over="ignore"):
            data *= np.repeat(scales, n_names)
    if not np.isfinite(data).all():
        return None
    columns = hash_names(words.buffer, words.start[name], words.end[name], np.repeat(seeds, n_names))
    columns &= np.uint64(2**bits - 1)
    indptr = np.append(np.searchsorted(name, begins), name.size)
    return Samples(y, weights, lines, indptr, columns.astype(np.int32), data)


def _headers(
    words: Tokens, begins: tokens.Ints, opens: tokens.Ints
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None] | None:
    """Labels and weights from the tokens ``begins`` to ``opens`` of each sample; None if one is malformed."""
    n = opens - begins
    last = opens[n > 0] - 1
    is_tag = (words.after[last] == BAR) | (words.buffer[words.start[last]] == ord("'"))
    n[n > 0] -= is_tag
    if n.size and n.max() > 3:
        return None
    columns = []
    for k, missing in enumerate((np.nan, 1.0, 0.0)):
        word = begins[n > k] + k
        if (words.after[word] == COLON).any():
            return None
        values = tokens.numbers(words.buffer, words.start[word], words.end[word])
        if values is None:
            return None
        column = np.full(n.size, missing)
        column[n > k] = values
        columns.append(column)
    y, weights, initial = columns
    if (weights < 0).any() or initial.any():
        return None
    return y, None if (weights == 1).all() else weights


def _ranges(begins: tokens.Ints, ends: tokens.Ints) -> tokens.Ints:
    """``arange(begin, end)`` of each pair, concatenated."""
    n = ends - begins
    return np.asarray(np.arange(n.sum()) + np.repeat(begins - np.cumsum(n) + n, n))


def parse_line(line: bytes, bits: int) -> Sample | None:
    """The sample in one line, None if it is empty; `BadLine` says what is wrong."""
    if not line.strip():
        return None
    header, bar, rest = line.partition(b"|")
    if not bar:
        raise BadLine("line", "have a bar before its features", shown(line.strip()), HELP)
    words = header.split()
    if words and (words[-1].startswith(b"'") or not header[-1:].isspace()):
        del words[-1]
    if len(words) > 3:
        raise BadLine(
            "line", "have at most label, importance and initial before the bar", f"{len(words)} words", HELP
        )
    y = number("label", words[0], words[0]) if words else np.nan
    weight = number("importance", words[1], words[1]) if len(words) > 1 else 1.0
    if weight < 0:
        raise BadLine("importance", "be at least 0", shown(words[1]))
    if len(words) > 2 and number("initial", words[2], words[2]) != 0:
        raise BadLine(
            "initial prediction", "be 0 or left out", shown(words[2]), "it is not supported; remove it"
        )
    sample = Sample(y, weight, [], [])
    for part in rest.split(b"|"):
        _add_namespace(part, sample, bits)
    return sample


def _add_namespace(part: bytes, sample: Sample, bits: int) -> None:
    """Add the features of ``[namespace[:scale]] feature[:value] ...``, the text between two bars."""
    words = part.split()
    seed, scale = 0, 1.0
    if words and not part[:1].isspace():
        space = words.pop(0)
        name, colon, value = space.partition(b":")
        if not name:
            raise BadLine("namespace", "have a name before the colon", shown(space), HELP)
        seed = hash_words([name], 0)[0]
        scale = number("scale", value, space) if colon else 1.0
    names = []
    for word in words:
        name, colon, tail = word.partition(b":")
        if not name:
            raise BadLine("feature", "have a name before the colon", shown(word), HELP)
        x = (number("value", tail, word) if colon else 1.0) * scale
        if not np.isfinite(x):
            raise BadLine("value", "be finite when it is scaled", shown(word))
        names.append(name)
        sample.data.append(x)
    sample.indices.extend(column & (2**bits - 1) for column in hash_words(names, seed))
