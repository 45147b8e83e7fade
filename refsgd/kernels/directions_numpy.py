"""The oracle of the statistics of directions: plain NumPy. The equations are in csrc/directions.c too."""

from __future__ import annotations

from typing import Any

import numpy as np

from .contract import BLOCK, DIRECTION_LANES, FAR, Array, DirectionBatch, FoldArrays


def tile_sum(values: Array) -> Any:
    """The sum over a tile of columns, in the order that the contract lays down."""
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


def directions(batch: DirectionBatch, folds: FoldArrays) -> bool:
    rows, squares = batch.rows, batch.squares
    n, k = len(rows), len(folds.sums)
    w = np.ones(n) if batch.weights is None else batch.weights
    for begin in range(0, n, batch.chunk or n):
        part = slice(begin, begin + (batch.chunk or n))
        if batch.chunk:
            square_rows(rows[part], squares[part])
        if not ((squares[part] >= batch.least) & (squares[part] <= batch.most)).all():
            return False
        squares[part] = 1 if batch.is_unit else 1 / np.sqrt(squares[part])
        members = [(np.arange(n)[part][b::k], (batch.first_fold + begin + b) % k) for b in range(k)]
        for chosen, fold in members:
            folds.weight[fold] += in_order(w[chosen])
            folds.weight2[fold] += in_order(w[chosen] ** 2)
        add = add_far if in_order(folds.sq_distance) >= FAR * in_order(folds.weight) else add_near
        for chosen, fold in members:
            x = rows[chosen].astype(np.float64)
            add(x, squares[chosen], w[chosen], folds, fold)
    return True


def in_order(values: Array) -> Any:
    """The sum as a loop takes it."""
    return np.add.accumulate(values)[-1] if values.size else 0.0


def add_near(rows: Array, scale: Array, weights: Array, folds: FoldArrays, fold: int) -> None:
    for tile in tiles(folds.reference.size):
        for x, s, w in zip(rows[:, tile], scale, weights, strict=True):
            off = s * x - folds.reference[tile]
            folds.sums[fold, tile] += w * off
            folds.sq_distance[fold] += w * tile_sum(off * off)


def add_far(rows: Array, scale: Array, weights: Array, folds: FoldArrays, fold: int) -> None:
    added, along = in_order(weights), 0.0
    for tile in tiles(folds.reference.size):
        reference = folds.reference[tile]
        total = np.zeros_like(reference)
        for x, s, w in zip(rows[:, tile], scale, weights, strict=True):
            total += w * s * x
        folds.sums[fold, tile] += total - added * reference
        along += tile_sum(total * reference)
    folds.sq_distance[fold] += 2 * max(added - along, 0)
