"""What ``import refsgd`` costs a program that has NumPy and SciPy loaded anyway."""

from __future__ import annotations

import statistics
import subprocess
import sys

PEER = "import numpy, scipy.special"


def import_seconds(statement: str) -> float:
    """Seconds that the statement takes in a fresh interpreter, whose own start does not count."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def import_medians(rounds: int = 9) -> dict[str, float]:
    """Median seconds of both imports, measured in turns after one round that warms the disk cache."""
    statements = {"ours": "import refsgd", "peer": PEER}
    pairs = [{name: import_seconds(s) for name, s in statements.items()} for _ in range(rounds + 1)]
    return {name: statistics.median(pair[name] for pair in pairs[1:]) for name in statements}


class Import:
    def timeraw_import(self) -> str:
        return "import refsgd"

    def timeraw_peer(self) -> str:
        return PEER

    def track_ratio(self) -> float:
        times = import_medians()
        return times["ours"] / times["peer"]

    track_ratio.unit = "time / time of numpy and scipy.special"  # type: ignore[attr-defined]
    track_ratio.timeout = 300  # type: ignore[attr-defined]
