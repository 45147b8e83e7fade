"""What it costs to watch a gradient, beside reading it once.

    cd asv_bench && python -m benchmarks.bench_monitor

prints ratios to ``g.sum()``, and to the streams that no monitor of this kind can do without. A gradient of s
bytes an entry is read twice, as its length comes before its direction; the reference is read (8); and one of
16 blocks of sums, and the sum for the mean, are read and written (16 each): 40 + 2 s bytes, 12 or 7 times s.
Groups have one more sum, for their part of the whole direction: 56 + 2 s, 16 or 9 times s.
"""

from __future__ import annotations

import numpy as np
from ratios import interleaved

import refsgd

from . import DTYPES, backend

BLOCKS = 16


class Watched:
    """A gradient, whole or in ten groups, monitors of both, and sums like theirs; all pages touched."""

    def __init__(self, dim: int, dtype: str) -> None:
        backend("numpy")  # sets one thread
        self.g = np.random.default_rng(0).standard_normal(dim, dtype)
        self.groups = {str(i): part for i, part in enumerate(np.array_split(self.g, 10))}
        self.whole, self.layers = refsgd.DirectionMonitor(), refsgd.DirectionMonitor()
        for _ in range(BLOCKS + 1):
            self.whole.update(self.g)
            self.layers.update(self.groups)
        self.sums, self.totals = np.ones((BLOCKS, dim)), np.ones((2, dim))
        self.turn = 0

    def read(self) -> float:
        return float(self.g.sum())

    def streams(self) -> float:
        """What `whole` has to move, in one pass for the length and one for the sums."""
        self.turn = (self.turn + 1) % BLOCKS
        read = self.g.sum()
        size = 2**15
        for begin in range(0, self.g.size, size):
            chunk = slice(begin, begin + size)
            g = self.g[chunk]
            self.sums[self.turn, chunk] += g
            self.totals[0, chunk] += g
            read += self.totals[1, chunk].sum()
        return float(read)

    def ratios(self) -> dict[str, float]:
        functions = {
            "read": self.read,
            "streams": self.streams,
            "whole": lambda: self.whole.update(self.g),
            "layers": lambda: self.layers.update(self.groups),
        }
        times = interleaved(functions)
        found = {name: float(np.median(times[name] / times["read"])) for name in functions if name != "read"}
        return found | {"whole to streams": float(np.median(times["whole"] / times["streams"]))}


class Monitor:
    params = ([10_000, 1_000_000, 10_000_000], DTYPES)
    param_names = ("dim", "dtype")
    timeout = 300

    def setup(self, dim: int, dtype: str) -> None:
        self.watched = Watched(dim, dtype)

    def time_update(self, *_: object) -> None:
        self.watched.whole.update(self.watched.g)

    def time_update_of_ten_groups(self, *_: object) -> None:
        self.watched.layers.update(self.watched.groups)

    def time_report(self, *_: object) -> None:
        self.watched.whole.report()

    def track_update_to_read(self, *_: object) -> float:
        return self.watched.ratios()["whole"]

    track_update_to_read.unit = "update time / read time"  # type: ignore[attr-defined]

    def track_update_of_ten_groups_to_read(self, *_: object) -> float:
        return self.watched.ratios()["layers"]

    track_update_of_ten_groups_to_read.unit = "update time / read time"  # type: ignore[attr-defined]


if __name__ == "__main__":
    print(f"{'times of g.sum()':>22s}  streams    whole  10 groups  whole : streams")
    for dim in (1_000_000, 10_000_000):
        for dtype in DTYPES:
            found = Watched(dim, dtype).ratios()
            print(
                f"{dtype:>12s} d={dim:<8.0e}  {found['streams']:7.1f}  {found['whole']:7.1f}"
                f"  {found['layers']:9.1f}  {found['whole to streams']:15.2f}",
                flush=True,
            )
