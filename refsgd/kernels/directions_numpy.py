"""The oracle of the statistics of directions: plain NumPy. See `refsgd.kernels.reference`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .contract import BLOCK, DIRECTION_LANES, FAR, Array


def tile_sum(values: Array) -> Any:
    """The sum over a block of columns, in the order that the contract lays down."""
    whole = values.size // DIRECTION_LANES * DIRECTION_LANES
    lanes = np.add.accumulate(values[:whole].reshape(-1, DIRECTION_LANES), axis=0)[-1:].ravel()
    pieces, at = [lanes], whole
    for size in (16, 8, 4, 2, 1):
        if values.size & size:
            pieces.append(values[at : at + size])
            at += size
    total = 0.0
    for piece in pieces:
        while piece.size > 1:
            piece = piece[: piece.size // 2] + piece[piece.size // 2 :]
        total += piece.sum()
    return total


def tiles(d: int) -> list[slice]:
    return [slice(i, min(i + BLOCK, d)) for i in range(0, d, BLOCK)]


@np.errstate(over="ignore", invalid="ignore")
def square_rows(rows: Array, squares: Array) -> None:
    squares[:] = 0
    for j, row in enumerate(rows.astype(np.float64)):
        for tile in tiles(row.size):
            squares[j] += tile_sum(row[tile] * row[tile])


def directions(
    rows: Array,
    weights: Array | None,
    squares: Array,
    least: float,
    most: float,
    is_unit: bool,
    chunk: int,
    first: int,
    reference: Array,
    sums: Array,
    weight: Array,
    weight2: Array,
    spread: Array,
) -> bool:
    n, k = len(rows), len(sums)
    w = np.ones(n) if weights is None else weights
    for begin in range(0, n, chunk or n):
        part = slice(begin, begin + (chunk or n))
        if chunk:
            square_rows(rows[part], squares[part])
        if not ((squares[part] >= least) & (squares[part] <= most)).all():
            return False
        squares[part] = 1 if is_unit else 1 / np.sqrt(squares[part])
        members = [(np.arange(n)[part][b::k], (first + begin + b) % k) for b in range(k)]
        for chosen, block in members:
            weight[block] += in_order(w[chosen])
            weight2[block] += in_order(w[chosen] ** 2)
        add = add_far if in_order(spread) >= FAR * in_order(weight) else add_near
        for chosen, block in members:
            x = rows[chosen].astype(np.float64)
            add(x, squares[chosen], w[chosen], reference, sums[block], spread[block : block + 1])
    return True


def in_order(values: Array) -> Any:
    """The sum as a loop takes it."""
    return np.add.accumulate(values)[-1] if values.size else 0.0


def add_near(rows: Array, scale: Array, weights: Array, reference: Array, sums: Array, spread: Array) -> None:
    for tile in tiles(reference.size):
        for x, s, w in zip(rows[:, tile], scale, weights, strict=True):
            off = s * x - reference[tile]
            sums[tile] += w * off
            spread += w * tile_sum(off * off)


def add_far(rows: Array, scale: Array, weights: Array, reference: Array, sums: Array, spread: Array) -> None:
    added, along = in_order(weights), 0.0
    for tile in tiles(reference.size):
        total = np.zeros_like(reference[tile])
        for x, s, w in zip(rows[:, tile], scale, weights, strict=True):
            total += w * s * x
        sums[tile] += total - added * reference[tile]
        along += tile_sum(total * reference[tile])
    spread += 2 * max(added - along, 0)
