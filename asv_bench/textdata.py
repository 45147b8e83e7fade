"""How fast `refsgd.textdata` reads, beside scikit-learn's `load_svmlight_file`.

    python asv_bench/textdata.py

Generated rows of 75 entries, values with eight digits, as svmlight and as Vowpal Wabbit text of numbers and
of names. CPU time of the thread, the least of seven turns; the last column is the ratio to scikit-learn.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from refsgd.textdata import read_chunks

N_ROWS, N_ENTRIES, N_FEATURES = 8000, 75, 47_236
TURNS = 7


def rows(bar: str, prefix: str) -> str:
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(N_ROWS):
        indices = np.unique(rng.integers(1, N_FEATURES, N_ENTRIES)).tolist()
        values = rng.lognormal(-3, 0.5, len(indices)).tolist()
        entries = " ".join(f"{prefix}{i}:{v:.7e}" for i, v in zip(indices, values, strict=True))
        lines.append(f"{rng.choice([-1, 1])} {bar}{entries}\n")
    return "".join(lines)


def seconds(read: Callable[[], object]) -> float:
    began = time.thread_time()
    read()
    return time.thread_time() - began


def consume(path: Path) -> None:
    for _ in read_chunks(path):
        pass


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        readers: dict[str, tuple[Path, Callable[[], object]]] = {}
        for name, bar, prefix in (
            ("svmlight", "", ""),
            ("Vowpal Wabbit, numbers", "|f ", ""),
            ("Vowpal Wabbit, names", "|f ", "word"),
        ):
            path = Path(folder, name)
            path.write_text(rows(bar, prefix))
            readers[name] = path, lambda path=path: consume(path)  # type: ignore[misc]
        try:
            from sklearn.datasets import load_svmlight_file
        except ImportError:
            print("scikit-learn is not installed")
        else:
            path = Path(folder, "svmlight")
            readers["scikit-learn, svmlight"] = path, lambda: load_svmlight_file(str(path))
        turns = [[seconds(read) for _, read in readers.values()] for _ in range(TURNS)]
        least = dict(zip(readers, map(min, zip(*turns, strict=True)), strict=True))
        speeds = {name: path.stat().st_size / least[name] for name, (path, _) in readers.items()}
        peer = speeds.get("scikit-learn, svmlight", np.nan)
        for name, speed in speeds.items():
            print(f"{name:24s}{speed / 1e6:7.0f} MB/s{speed / peer:7.2f}")
