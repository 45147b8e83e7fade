"""Write tests/data/vmf_reference.csv, what the functions of ``refsgd.vmf`` must give, by mpmath.

    python tests/make_vmf_reference.py

Arguments are doubles, values have 25 digits. Rows begin with what they are functions of::

    kappa, <kappa>, <dim>, log H, KL to uniform, log C, A, 1 - A, A'
    r, <r>, <1 - r>, <dim>, kappa
"""

from __future__ import annotations

from pathlib import Path

import mpmath
import oracles_directional as oracle

FILE = Path(__file__).parent / "data" / "vmf_reference.csv"

DIMS = [2.0, 2.5, 3.0, 10.0, 33.0, 64.0, 65.0, 66.0, 300.0, 999.5, 1e4, 1e6, 1e9]
RATIOS = [1e-100, 1e-12, 1e-6, 1e-3, 0.01, 0.1, 0.3, 1.0, 2.0, 10.0, 100.0, 1e4, 1e8, 1e12, 1e100]
LENGTHS = [
    1e-300,
    1e-100,
    1e-16,
    1e-6,
    0.01,
    0.1,
    0.3,
    0.49,
    0.5,
    0.7,
    0.9,
    0.99,
    1 - 1e-6,
    1 - 1e-12,
    1 - 1e-16,
]
COMPLEMENTS = [1e-20, 1e-100, 1e-290]  # of lengths that are 1 to rounding


def kappas(dim: float) -> list[float]:
    """From the linear to the saturated regime, and on both sides of where the methods change."""
    lam = (dim - 1) / 2
    radius = max(32.0**2 - lam**2, 1.0) ** 0.5
    return [dim * t for t in RATIOS] + [
        t * edge for edge in (radius, max(32.0, 2 * lam)) for t in (0.97, 1.0, 1.03)
    ]


def digits(values: tuple[mpmath.mpf, ...]) -> list[str]:
    return [mpmath.nstr(v, 25, min_fixed=0, max_fixed=0) for v in values]


def kappa_row(kappa: float, dim: float) -> str:
    return ",".join(["kappa", repr(kappa), repr(dim), *digits(oracle.exact(kappa, dim))])


def r_row(r: float, one_minus_r: float, dim: float) -> str:
    kappa = oracle.exact_concentration(r, one_minus_r, dim)
    return ",".join(["r", repr(r), repr(one_minus_r), repr(dim), *digits((kappa,))])


def rows() -> list[str]:
    lengths = [(r, 1.0 - r) for r in LENGTHS] + [(1.0, b) for b in COMPLEMENTS]
    return [kappa_row(k, d) for d in DIMS for k in kappas(d)] + [
        r_row(*rb, d) for d in DIMS for rb in lengths
    ]


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text("\n".join(rows()) + "\n", encoding="utf-8")
