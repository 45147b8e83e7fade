"""Text of sparse samples: against Python's ``float``, scikit-learn's reader and Vowpal Wabbit's columns."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import vstack

from refsgd.apps import textdata
from refsgd.apps.textdata import murmur, read_chunks, samples, svmlight, tokens, vw
from refsgd.apps.textdata.stream import Piece

BITS = 18


def whole(path, **options):
    """All chunks as one: X, y, weights, lines."""
    chunks = list(read_chunks(path, **options))
    for chunk in chunks:
        chunk.X.resize((chunk.X.shape[0], max(c.X.shape[1] for c in chunks)))
    weights = [np.ones(c.y.size) if c.weights is None else c.weights for c in chunks]
    parts = [c.y for c in chunks], weights, [c.lines for c in chunks]
    return vstack([c.X for c in chunks], format="csr"), *map(np.concatenate, parts)


def read(tmp_path, content, name="data", **options):
    path = tmp_path / name
    path.write_bytes(content)
    return whole(path, **options)


def parsers(format):
    if format == "svmlight":
        return svmlight.parse, svmlight.parse_line
    return lambda block: vw.parse(block, BITS), lambda line: vw.parse_line(line, BITS)


def check_fast_against_slow(block, format):
    """Both ways give the same rows, or the fast one declines what the slow one says is wrong."""
    fast = parsers(format)[0](block)
    try:
        slow = textdata._line_by_line(Piece(block, 1, 0), "data", format, BITS)
    except ValueError:
        assert fast is None
        return
    if fast is None:  # a tag with a colon goes the slow way
        assert format == "vw" and re.search(rb"(?m)^[^|\n]*:[^|\n]*\|", block)
        return
    assert (fast.weights is None) == (slow.weights is None)
    for mine, its in zip(fast, slow, strict=True):
        if mine is not None:
            assert_array_equal(mine, its)
            assert mine.dtype == its.dtype


# Numbers


def parsed(words):
    text = tokens.split(b" ".join(words) + b"\n", tokens.separators(bar=False))
    return tokens.numbers(text.buffer, text.start, text.end)


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WRITTEN = st.one_of(
    FLOATS.map(repr),
    st.tuples(FLOATS, st.sampled_from(["%.7e", "%.3g", "%g", "%.16g", "%.17g", "%.2E", "%+.8e"])).map(
        lambda pair: pair[1] % pair[0]
    ),
    st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str),
    st.from_regex(r"[+-]?([0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)


@given(st.lists(WRITTEN.map(str.encode), min_size=1, max_size=20))
@example(
    [b"9007199254740993", b"9007199254740992", b"1e22", b"1e23", b"5e-324", b"-0", b".5", b"5.", b"0e9999"]
)
@example([b"123456789012345678", b"0.00000000000000000000001", b"1e-5", b"+1E+05", b"0.1234567890123456"])
def test_numbers_are_those_of_python_to_the_last_bit(words):
    expected = np.array([float(word) for word in words])
    if np.isfinite(expected).all():
        assert_array_equal(parsed(words).view(np.int64), expected.view(np.int64))
    else:
        assert parsed(words) is None


@pytest.mark.parametrize(
    "word",
    [
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-",
        "+",
        ".",
        "e5",
        "1e",
        "1e+",
        "1_0",
        "0x10",
        "1.2.3",
        "1e5.0",
        "--1",
        "1,5",
        "½",
        "1e1e1",
        ".e1",
        "1-2",
        "\0",
        "5\0",
        "12345678a",
        "a12345678",
        "1e00a",
    ],
)
def test_what_is_no_finite_number_is_declined(word):
    assert parsed([b"1", word.encode()]) is None
    assert not samples.NUMBER.fullmatch(word.encode()) or not np.isfinite(float(word))


# The fast way and the slow way

JUNK = st.text("01 9.-+e:|#'\t\r\n\0aq id", max_size=60).map(str.encode) | st.binary(max_size=40)


@given(JUNK.map(lambda text: text + b"\n"), st.sampled_from(["svmlight", "vw"]))
@example(b"1 qid:3 5:1\n2 qid:x 1:1\n", "svmlight")
@example(b"1 2147483646:1 0:2\n", "svmlight")
@example(b"1 2147483647:1\n", "svmlight")
@example(b"1 0000000000000000005:1\n", "svmlight")
@example(b"1 1:1 1:2\n", "svmlight")
@example(b"1 2:1 1:2 # 3 1:1 1:1\n\n3:1\n", "svmlight")
@example(b"1 |f:1e308 a:1e308\n", "vw")
@example(b"1 1 0 'tag|f:2 a:3 |f a|g|h 00012345678901234567890 1234567890123456a\n|\n", "vw")
@example(b"1 -1 |f\n", "vw")
@example(b"1 1 0.5 |f\n", "vw")
def test_fast_and_slow_parsers_agree_on_anything(block, format):
    check_fast_against_slow(block, format)


WORDS = st.text(
    st.characters(min_codepoint=33, exclude_characters=":|", codec="utf-8"), min_size=1, max_size=20
)
WORDS = WORDS.filter(lambda word: not word.isspace() and len(word.split()) == 1)
NAMES = WORDS | st.integers(0, 10**18).map(str)
VALUES = st.one_of(st.just(""), st.floats(-1e6, 1e6).map(lambda x: f":{x!r}"))
FEATURES = st.lists(st.tuples(NAMES, VALUES).map("".join), max_size=5).map(" ".join)
SPACES = st.tuples(st.one_of(st.just(""), st.tuples(WORDS, VALUES).map("".join)), FEATURES).map(" ".join)
HEADERS = st.sampled_from(["", "1 ", "-1 2.5 ", "3 1 0 ", "1 0.25 'tag ", "1 'tag", "2 \t", "2 tag"])
LINES = st.tuples(HEADERS, st.lists(SPACES, min_size=1, max_size=3)).map(
    lambda p: p[0] + "|" + "|".join(p[1])
)


@settings(max_examples=50)
@given(st.lists(LINES | st.just(""), max_size=6).map(lambda lines: "".join(f"{x}\n" for x in lines).encode()))
def test_fast_parser_takes_every_vowpal_wabbit_line(block):
    assert vw.parse(block, BITS) is not None
    check_fast_against_slow(block, "vw")


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "data"
    path.write_bytes(content)
    try:
        n = sum(chunk.y.size for chunk in read_chunks(path, chunk_bytes=16))
    except ValueError as error:
        text = str(error)
        assert text.startswith(str(path)) and " must " in text and "; " in text
    else:
        assert n <= content.count(b"\n") + 1


# svmlight


@given(seed=st.integers(0, 99), chunk_bytes=st.integers(1, 300), from_zero=st.booleans(), query=st.booleans())
@settings(max_examples=20)
def test_svmlight_is_read_as_scikit_learn_reads_it(tmp_path_factory, seed, chunk_bytes, from_zero, query):
    sklearn = pytest.importorskip("sklearn.datasets")
    rng = np.random.default_rng(seed)
    X, y = rng.standard_cauchy((7, 9)) * (rng.random((7, 9)) < 0.5), rng.choice([-1, 0, 0.1, 3e9], 7)
    path = str(tmp_path_factory.mktemp("svmlight") / "data")
    options = {
        "zero_based": from_zero,
        "comment": "a: b|c\n1 2:3",
        "query_id": np.arange(7) if query else None,
    }
    sklearn.dump_svmlight_file(X, y, path, **options)
    X_read, y_read, *_ = whole(path, chunk_bytes=chunk_bytes)
    X_its, y_its = sklearn.load_svmlight_file(path, zero_based=True)
    assert_array_equal(X_read.toarray(), X_its.toarray())
    assert_array_equal(y_read, y_its)


def test_indices_stay_as_they_are_and_may_come_in_any_order(tmp_path):
    X, y, _, lines = read(tmp_path, b"# head\n\n1 7:1 3:2\n \t \n2\n-1 0:5#x\n")
    assert_array_equal(X.toarray(), [[0, 0, 0, 2, 0, 0, 0, 1], [0] * 8, [5, 0, 0, 0, 0, 0, 0, 0]])
    assert_array_equal(y, [1, 2, -1])
    assert_array_equal(lines, [3, 5, 6])
    assert X.has_sorted_indices


def test_width_grows_with_the_largest_index_so_far(tmp_path):
    (tmp_path / "data").write_bytes(b"1 1:1\n1 9:1\n1 2:1\n")
    assert [chunk.X.shape for chunk in read_chunks(tmp_path / "data", chunk_bytes=1)] == [
        (1, 2),
        (1, 10),
        (1, 10),
    ]


def test_missing_labels_are_nan(tmp_path):
    assert_array_equal(read(tmp_path, b"1:2\n3 1:2\n")[1], [np.nan, 3])
    assert_array_equal(read(tmp_path, b"|f 1\n3 |f 1\n")[1], [np.nan, 3])


# Vowpal Wabbit

# What Vowpal Wabbit 9.11 made of each line with -b 18 --noconstant: its columns and values, label and weight.
FROM_VOWPAL_WABBIT = [
    ("1 |f 9:0.5 14 abc:2 price_23.5", {1403: 2, 34884: 0.5, 34889: 1, 99405: 1}, 1, 1),
    (
        "-1 2 'tag|user age:3 8 |other:0.5 8 x y:4",
        {15637: 1, 23567: 3, 41904: 0.5, 90592: 2, 224690: 0.5},
        -1,
        2,
    ),
    ("| 12 hello 007 a%b", {7: 1, 12: 1, 247647: 1, 260679: 1}, np.nan, 1),
    ("1|f a", {14355: 1}, np.nan, 1),  # what touches the bar is a tag
    ("0 0.5 tag|12 3 4:2 word |é naïve", {15: 1, 16: 2, 157367: 1, 220097: 1}, 0, 0.5),
    ("1 |f a|g b", {14355: 1, 149920: 1}, 1, 1),
    ("1 | abcdefghijklmnopq abc12345678 12345678901234567890", {89674: 1, 199378: 1, 232886: 1}, 1, 1),
]


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\n"])
@pytest.mark.parametrize("blank", [" ", "\t", "  "])
def test_columns_are_those_of_vowpal_wabbit(tmp_path, blank, end):
    text = "".join(line.replace(" ", blank) + end for line, *_ in FROM_VOWPAL_WABBIT)
    X, y, weights, _ = read(tmp_path, text.encode())
    assert X.shape == (len(FROM_VOWPAL_WABBIT), 2**18)
    for k, (_, entries, label, weight) in enumerate(FROM_VOWPAL_WABBIT):
        assert dict(zip(X[[k]].indices.tolist(), X[[k]].data.tolist(), strict=True)) == entries
        assert_array_equal([y[k], weights[k]], [label, weight])


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1), st.integers(0, 2**32 - 1))
def test_hash_is_murmurhash3(names, seed):
    hash_one = pytest.importorskip("sklearn.utils").murmurhash3_32
    expected = [
        int(name) + seed if name.isdigit() else hash_one(name, seed=seed, positive=True) for name in names
    ]
    assert murmur.hash_words(names, seed) == expected


def test_numbers_of_any_length_are_hashed_modulo_two_to_the_64th():
    name = b"9" * 5000  # more than int() takes
    assert murmur.hash_words([name, b"18446744073709551617"], 0) == [(pow(10, 5000, 2**64) - 1) % 2**64, 1]


def test_features_in_one_column_are_added(tmp_path):
    X, *_ = read(tmp_path, b"1 | 3:0.5 1 3:2 5:1\n", bits=2)
    assert_array_equal(X.toarray(), [[0, 2, 0, 2.5]])
    assert X.nnz == 2


# Files


@pytest.mark.parametrize("format", ["svmlight", "vw"])
@pytest.mark.parametrize("name", ["data", "data.gz", "data.bz2", "gzip under another name"])
def test_chunks_of_any_size_hold_the_same_rows(tmp_path, format, name):
    bar = "" if format == "svmlight" else "|f "
    content = "".join(
        f"{k % 3} {bar}{k}:{k / 7} {k + 5}:1\n{chr(10) * (k % 5 == 0)}" for k in range(40)
    ).encode()
    packed = {"data": content, "data.bz2": bz2.compress(content)}.get(name, gzip.compress(content))
    expected = read(tmp_path, content, "plain", bits=8)
    for chunk_bytes in (1, 7, 64, 300, 2**20):
        found = read(tmp_path, packed, name, chunk_bytes=chunk_bytes, bits=8)
        assert_array_equal(found[0].toarray(), expected[0].toarray())
        for mine, its in zip(found[1:], expected[1:], strict=True):
            assert_array_equal(mine, its)
    chunks = list(read_chunks(tmp_path / name, chunk_bytes=64))
    assert sum(chunk.n_bytes for chunk in chunks) == len(content)
    assert chunks[-1].position == len(packed)
    assert {chunk.format for chunk in chunks} == {format}


def test_joined_gzip_files_are_one(tmp_path):
    assert read(tmp_path, gzip.compress(b"1 1:1\n2 ") + gzip.compress(b"2:1\n"))[1].tolist() == [1, 2]


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf1 1:2", b"\n\r\n1 1:2\r\n", b"1\t1:2", b"+1.0e0  1:2.0 \n"]
)
def test_small_differences_do_not_matter(tmp_path, content):
    X, y, *_ = read(tmp_path, content)
    assert_array_equal(X.toarray(), [[0, 2]])
    assert y == [1]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# nothing\n", gzip.compress(b"", mtime=0)])
def test_no_rows_no_chunks(tmp_path, content):
    (tmp_path / "data").write_bytes(content)
    assert list(read_chunks(tmp_path / "data")) == []


def test_standard_input_is_a_file(tmp_path, monkeypatch):
    content = gzip.compress(b"1 |f 3\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    (chunk,) = read_chunks("-")
    assert chunk.format == "vw"
    assert chunk.y == [1]


# Errors


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 5:abc", "value must be a finite number, got 'abc' in '5:abc'; correct the line or remove it"),
        ("1 5:nan", "value must be a finite number, got 'nan' in '5:nan'"),
        ("1 5:1e999", "value must be a finite number, got '1e999'"),
        ("1 5:", "value must be a finite number, got '' in '5:'"),
        ("1 5: 3", "value must be a finite number, got '' in '5:'"),
        ("1 5:1:2", "value must be a finite number, got '1:2' in '5:1:2'"),
        ("yes 5:1", "label must be a finite number, got 'yes'"),
        ("1,2 5:1", "label must be a finite number, got '1,2'"),
        ("1 2 5:1", "entry must be index:value, got '2'"),
        ("1 -5:1", "index must be a whole number, got '-5' in '-5:1'"),
        ("1 5.0:1", "index must be a whole number, got '5.0' in '5.0:1'"),
        ("1 :1", "index must be a whole number, got '' in ':1'"),
        ("1 2147483647:1", "index must be at most 2147483646, got '2147483647'; number the features anew"),
        ("1 99999999999999999999:1", "index must be at most 2147483646, got '9+'"),
        ("1 5:1 3:1 5:2", "index must come once in a line, got 5 twice; add the two values up"),
        ("1 \xff" + "x" * 90, r"entry must be index:value, got '.{39,45}\.\.\.'"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [4, 2**20])
def test_bad_svmlight_line_is_named(tmp_path, line, reason, chunk_bytes):
    path = tmp_path / "train.dat"
    path.write_text("# head\n1 1:1\n\n" + line + "\n1 1:1\n", encoding="latin-1")
    with pytest.raises(ValueError, match=f"train.dat:4: {reason}"):
        list(read_chunks(path, chunk_bytes=chunk_bytes))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1 f:2", "line must have a bar before its features, got '1 f:2'; write label"),
        ("yes |f a", "label must be a finite number, got 'yes'"),
        ("1 x |f a", "importance must be a finite number, got 'x'"),
        ("1 -2 |f a", "importance must be at least 0, got '-2'"),
        ("1 1 0.5 |f a", "initial prediction must be 0 or left out, got '0.5'"),
        ("1 1 0 0 |f a", "line must have at most label, importance and initial before the bar, got 4 words"),
        ("1:0.5 2:3 |f a", "label must be a finite number, got '1:0.5'"),
        ("1 |f a:b", "value must be a finite number, got 'b' in 'a:b'"),
        ("1 |f a:1:2", "value must be a finite number, got '1:2' in 'a:1:2'"),
        ("1 |f :2", "feature must have a name before the colon, got ':2'"),
        ("1 |:2 a", "namespace must have a name before the colon, got ':2'"),
        ("1 |f:x a", "scale must be a finite number, got 'x' in 'f:x'"),
        ("1 |f:1e300 a:1e300", "value must be finite when it is scaled, got 'a:1e300'"),
    ],
)
def test_bad_vowpal_wabbit_line_is_named(tmp_path, line, reason):
    path = tmp_path / "train.dat"
    path.write_text(f"1 |f a\n\n{line}\n1 |f a\n")
    with pytest.raises(ValueError, match=re.escape(f"train.dat:3: {reason}")):
        list(read_chunks(path))


@pytest.mark.parametrize(("pack", "kind"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2")])
def test_damaged_files_are_refused_by_name(tmp_path, pack, kind):
    rng = np.random.default_rng(0)
    content = "".join(f"1 1:{x}\n" for x in rng.random(2000)).encode()
    packed = pack(content)
    damaged = packed[: len(packed) // 2] + bytes(50) + packed[len(packed) // 2 + 50 :]
    path = tmp_path / "data"
    for bad in (packed[:-5], packed[: len(packed) // 2], packed[:3], damaged):
        path.write_bytes(bad)
        with pytest.raises(
            ValueError, match=rf"data must be a whole {kind} file, got .+; fetch the file again"
        ):
            list(read_chunks(path, chunk_bytes=1000))


def test_endless_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("refsgd.apps.textdata.stream.LONGEST_LINE", 100)
    (tmp_path / "data").write_bytes(b"1 1:1\n" + bytes(500))
    with pytest.raises(ValueError, match="data:2: line must be at most 100 bytes long, got more"):
        list(read_chunks(tmp_path / "data", chunk_bytes=50))


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        next(read_chunks(tmp_path / "absent"))
    for options, reason in (
        ({"format": "csv"}, "format must be one of"),
        ({"bits": 31}, "bits must be at most 30, got 31"),
        ({"bits": 0}, "bits must be at least 1"),
        ({"chunk_bytes": 0}, "chunk_bytes must be at least 1"),
    ):
        with pytest.raises(ValueError, match=reason):
            next(read_chunks(tmp_path / "absent", **options))
