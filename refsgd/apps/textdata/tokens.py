"""Words and numbers of a piece of text, all at once by NumPy.

A piece is cut at its separators; a token is the text between two of them. Digits are read eight at a time:
three multiplications turn the bytes "12345678", as one little-endian integer, into 12345678. If the digits of
a decimal number make an integer up to 2**53 and its power of ten is at most 10**22, both are exact floats and
one operation rounds once, so the result equals ``float``. All other numbers go through NumPy's ``strtod``.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD, BLANK, COLON, BAR, NEWLINE = range(5)
PAD = 8  # bytes before and after a piece, so that eight bytes can be read anywhere in it

POWERS = np.array([float(10**k) for k in range(23)])  # all exact
INTEGER_POWERS = np.array([10**k for k in range(19)], np.uint64)
MOST_DIGITS = 18  # of an integer that fits 64 bits whatever they are
LARGEST = np.uint64(2**53)
KEEP = np.array(
    [(2**64 - 1) - (2 ** (8 * (8 - n)) - 1) for n in range(9)], np.uint64
)  # the last n of 8 bytes

Ints = NDArray[np.int64]


def separators(bar: bool) -> bytes:
    """The kind of each byte, as a table for ``bytes.translate``; a bar is a separator only on request."""
    table = bytearray(256)
    for byte in b" \t\r\v\f":
        table[byte] = BLANK
    table[ord(":")], table[ord("\n")] = COLON, NEWLINE
    if bar:
        table[ord("|")] = BAR
    return bytes(table)


class Tokens(NamedTuple):
    """The tokens of a piece, in order, and its separators."""

    buffer: NDArray[np.uint8]
    """The piece and `PAD` newlines on both sides."""
    start: Ints
    """Position of each token in the buffer."""
    end: Ints
    before: NDArray[np.uint8]
    """The separator right before each token."""
    after: NDArray[np.uint8]
    separator: Ints
    """Number of the separator before each token."""
    kinds: NDArray[np.uint8]
    """Every separator of the buffer."""
    first: Ints
    """Number of the first token of each line; the last is the number of tokens."""

    @property
    def are_colons_tight(self) -> bool:
        """Whether each colon has a token on both sides and no token has two colons."""
        n = np.count_nonzero(self.kinds == COLON)
        left, right = self.after == COLON, self.before == COLON
        return bool(np.count_nonzero(left) == n == np.count_nonzero(right) and not (left & right).any())


def split(piece: bytes, table: bytes) -> Tokens:
    """Cut a piece, which ends in a newline, at the separators of `separators`."""
    padded = b"\n" * PAD + piece + b"\n" * PAD
    codes = np.frombuffer(padded.translate(table), np.uint8)
    position = np.flatnonzero(codes.view(bool))
    kinds = codes[position]
    separator = np.flatnonzero(position[1:] - position[:-1] > 1)
    newlines = np.flatnonzero(kinds == NEWLINE)[PAD - 1 : -PAD]
    return Tokens(
        np.frombuffer(padded, np.uint8),
        position[separator] + 1,
        position[separator + 1],
        kinds[separator],
        kinds[separator + 1],
        separator,
        kinds,
        np.searchsorted(separator, newlines),
    )


def unaligned(buffer: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    """The integers that start at each byte of a buffer."""
    size = np.dtype(dtype).itemsize
    return np.ndarray((buffer.size - size + 1,), dtype, buffer, strides=(1,))


def _eight(digits: NDArray[np.uint64], n: Ints) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The integers that the last n of eight bytes spell, and whether they are digits."""
    x = (digits ^ np.uint64(0x3030303030303030)) & KEEP[n]
    is_good = ((x + np.uint64(0x0606060606060606)) | x) & np.uint64(0xF0F0F0F0F0F0F0F0) == 0
    x = x * np.uint64(2561) >> np.uint64(8)
    x = (x & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    x = (x & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32)
    return x, is_good


def digits(buffer: NDArray[np.uint8], start: Ints, end: Ints) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The integers that runs of up to 16 digits spell, 0 for an empty one, and whether they are that."""
    n, words = end - start, unaligned(buffer, "<u8")
    value, is_good = _eight(words[end - 8], np.minimum(n, 8))
    long = np.flatnonzero(n > 8)
    if long.size:
        upper, is_good_too = _eight(words[end[long] - 16], np.minimum(n[long] - 8, 8))
        value[long] += upper * np.uint64(10**8)
        is_good[long] &= is_good_too & (n[long] <= 16)
    return value, is_good


def numbers(buffer: NDArray[np.uint8], start: Ints, end: Ints) -> NDArray[np.float64] | None:
    """The tokens as float64, equal to ``float``; None if one of them is not a finite decimal number."""
    first = buffer[start]
    begin = start + ((first == ord("-")) | (first == ord("+")))
    stop, power, is_fast = _exponents(buffer, begin, end)
    dots = np.append(np.flatnonzero(buffer == ord(".")), buffer.size)
    dot = np.minimum(dots[np.searchsorted(dots, begin)], stop)
    n_whole, n_part = dot - begin, np.maximum(stop - dot - 1, 0)
    whole, is_good = digits(buffer, begin, dot)
    is_fast &= is_good
    part, is_good = digits(buffer, stop - n_part, stop)
    is_fast &= is_good & (n_whole + n_part > 0) & (n_whole + n_part <= MOST_DIGITS)
    mantissa = whole * INTEGER_POWERS[np.minimum(n_part, MOST_DIGITS)] + part
    power = power - n_part
    is_fast &= (mantissa <= LARGEST) & (np.abs(power) <= 22)
    value: NDArray[np.float64] = mantissa.astype(np.float64)
    value /= POWERS[np.clip(-power, 0, 22)]
    value *= POWERS[np.clip(power, 0, 22)]
    np.negative(value, out=value, where=first == ord("-"))
    rest = np.flatnonzero(~is_fast)
    if rest.size:
        exact = _strtod(buffer, start[rest], end[rest])
        if exact is None:
            return None
        value[rest] = exact
    return value


def _exponents(buffer: NDArray[np.uint8], begin: Ints, end: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """The end of each mantissa, the power of ten after it, and whether that is a number."""
    stop, power, is_good = end.copy(), np.zeros(end.size, np.int64), np.ones(end.size, bool)
    for n in (5, 4, 3, 2):  # e-100 to e1
        has_exponent = (buffer[end - n] | 32) == ord("e")
        has_exponent &= end - n > begin
        stop[has_exponent] = end[has_exponent] - n
    held = np.flatnonzero(stop < end)
    if held.size:
        first = buffer[stop[held] + 1]
        run = stop[held] + 1 + ((first == ord("-")) | (first == ord("+")))
        value, is_number = digits(buffer, run, end[held])
        is_good[held] = is_number & (run < end[held])
        size = np.minimum(value, np.uint64(10**4)).astype(np.int64)
        power[held] = np.where(first == ord("-"), -size, size)
    return stop, power, is_good


def _strtod(buffer: NDArray[np.uint8], start: Ints, end: Ints) -> NDArray[np.float64] | None:
    content = buffer.tobytes()
    text = b" ".join([content[a:b] for a, b in zip(start.tolist(), end.tolist(), strict=True)])
    if b"\0" in text:  # it would end there
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of text that is not a number
            value: NDArray[np.float64] = np.fromstring(text, sep=" ")
    except (DeprecationWarning, ValueError):
        return None
    return value if value.size == start.size and np.isfinite(value).all() else None
