"""What is claimed of directions: statistics beside reading the rows, functions of vmf, and SciPy."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import DTYPES
from benchmarks.bench_directions import DIMS, DirectionsProblem
from benchmarks.bench_vmf import Peer
from claims import Claim, size, versus
from ratios import medians

# isort: split
import numpy as np

import refsgd


def directions(quick: bool) -> Iterator[Claim]:
    for is_unit in (False, True):
        for dtype in DTYPES:
            for dim in [32, 300, 4_000] if quick else DIMS:
                problem = DirectionsProblem(dim, dtype, is_unit)
                text = f"DirectionStats{' of unit rows' if is_unit else ''} {dtype} d={size(dim)}: X.sum()"
                bar = 3.0 if dim <= 32 else 1.25 if dim <= 4_000 else 2.0 if dim <= 100_000 else 2.3
                bar = 1.3 if is_unit and dim > 32 else bar
                yield versus(text, problem.update, problem.read, f"<= {bar:g}")
    r = np.random.default_rng(0).uniform(size=10_000)
    for dim, bar in ((10, 400), (1_000, 25), (1_000_000, 25)):
        spent = medians({"solve": lambda d=dim: refsgd.vmf.concentration(r, d)})["solve"] / r.size
        yield Claim(f"vmf.concentration, one of 10,000, d={size(dim)}, ns", 1e9 * spent, f"<= {bar}", spent)


def scipy_peer(dim: int = 60) -> Iterator[Claim]:
    """In the largest dimension, about, in which SciPy's fit still works."""
    peer = Peer()
    peer.setup(dim)
    for name, (ours, other) in peer.pairs().items():
        text = f"VonMisesFisher.{name} of 1,000 directions d={dim}: SciPy"
        yield versus(text, ours, other, ">=")
