"""Vowpal Wabbit's hash: MurmurHash3 x86_32 of a name, or number plus seed if the name is all digits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .tokens import PAD, Ints, digits, unaligned

C1, C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
TAIL = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)


def hash_names(
    buffer: NDArray[np.uint8], start: Ints, end: Ints, seeds: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """The hash of each name in a padded buffer, each with its own seed; not yet modulo 2**bits."""
    value, is_number = digits(buffer, start, np.minimum(end, start + 16))
    long = np.flatnonzero(is_number & (end - start > 16))
    for k in long.tolist():
        name = buffer[start[k] : end[k]].tobytes()
        is_number[k] = name.isdigit()
        if is_number[k]:
            value[k] = _modulo(name)
    value += seeds
    other = np.flatnonzero(~is_number)
    value[other] = _murmur(buffer, start[other], end[other], seeds[other].astype(np.uint32))
    return value


def hash_words(names: list[bytes], seed: int) -> list[int]:
    """The hash of each name, all with one seed."""
    pad = b"\n" * PAD
    buffer = np.frombuffer(pad + b"".join(names) + pad, np.uint8)
    end = PAD + np.cumsum([len(name) for name in names], dtype=np.int64)
    start = end - np.array([len(name) for name in names], np.int64)
    hashed: list[int] = hash_names(buffer, start, end, np.full(len(names), seed, np.uint64)).tolist()
    return hashed


def _modulo(name: bytes) -> int:
    """The number that digits spell, modulo 2**64; 16 digits at a time, as ``int`` takes at most 4,300."""
    value = 0
    for k in range(0, len(name), 16):
        part = name[k : k + 16]
        value = (value * 10 ** len(part) + int(part)) % 2**64
    return value


def _murmur(
    buffer: NDArray[np.uint8], start: Ints, end: Ints, seeds: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    words, n = unaligned(buffer, "<u4"), end - start
    h = seeds
    n_words = n // 4
    for k in range(int(n_words.max(initial=0))):
        held = np.flatnonzero(n_words > k)
        mixed = h[held] ^ _scramble(words[start[held] + 4 * k])
        h[held] = _rotated(mixed, 13) * np.uint32(5) + np.uint32(0xE6546B64)
    h = h ^ _scramble(words[start + 4 * n_words] & TAIL[n & 3]) ^ n.astype(np.uint32)
    h = (h ^ h >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    h = (h ^ h >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return h ^ h >> np.uint32(16)


def _scramble(word: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return _rotated(word * C1, 15) * C2


def _rotated(x: NDArray[np.uint32], n: int) -> NDArray[np.uint32]:
    return x << np.uint32(n) | x >> np.uint32(32 - n)
