"""Write the table of series coefficients that the Bessel ratio, its inverse and its integral are summed from.

    python csrc/generate_coefficients.py

rewrites ``refsgd/directional/_coefficients.py``. Every coefficient is an exact rational from the recurrences
and integrals below, rounded once to the nearest double. A polynomial is a list of coefficients, lowest power
first.
"""

from __future__ import annotations

import textwrap
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

Polynomial = list[Fraction]

RATIO_TERMS = 15
CONCENTRATION_TERMS = 14
PYTHON_TABLE = Path(__file__).parents[1] / "refsgd" / "directional" / "_coefficients.py"


def polynomial(*coefficients: int | str) -> Polynomial:
    return [Fraction(c) for c in coefficients]


def add(*terms: Polynomial) -> Polynomial:
    return [sum(column, Fraction(0)) for column in zip_longest(*terms, fillvalue=Fraction(0))]


def scale(factor: Fraction | int, p: Polynomial) -> Polynomial:
    return [factor * c for c in p]


def multiply(p: Polynomial, q: Polynomial) -> Polynomial:
    product = [Fraction(0)] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return product


def derivative(p: Polynomial) -> Polynomial:
    return [k * c for k, c in enumerate(p)][1:] or [Fraction(0)]


def divided(p: Polynomial, root: int) -> Polynomial:
    """p/(x - root), for a p that vanishes there."""
    quotient = [Fraction(0)]
    for c in reversed(p):
        quotient.insert(0, c + root * quotient[0])
    if quotient.pop(0) != 0:
        raise ValueError(f"the polynomial does not vanish at {root}")
    return quotient[:-1]


def trimmed(p: Polynomial) -> Polynomial:
    while len(p) > 1 and p[-1] == 0:
        p = p[:-1]
    return p


def ratio_polynomials(terms: int) -> list[Polynomial]:
    """P_1 ... P_terms of ``A = x/(lambda + s) * (1 + sum_k P_k(q)/s**k)``.

    They solve the Riccati equation ``A' = 1 - A**2 - 2*lambda*A/x`` order by order in 1/s. With
    q = lambda/s::

        2 P_k = -[q (k = 1 only) + q P_{k-1} + (1 - q^2) (-q P'_{k-1} - (k-1) P_{k-1})
                  + (1 - q) sum_{i=1}^{k-1} P_i P_{k-i}]
    """
    q, one_minus_q, one_minus_q2 = polynomial(0, 1), polynomial(1, -1), polynomial(1, 0, -1)
    p = [polynomial(0)]
    for k in range(1, terms + 1):
        last = p[k - 1]
        slope = add(scale(-1, multiply(q, derivative(last))), scale(1 - k, last))
        products = add(polynomial(0), *(multiply(p[i], p[k - i]) for i in range(1, k)))
        source = q if k == 1 else polynomial(0)
        total = add(source, multiply(q, last), multiply(one_minus_q2, slope), multiply(one_minus_q, products))
        p.append(trimmed(scale(Fraction(-1, 2), total)))
    return p[1:]


def concentration_polynomials(terms: int) -> list[Polynomial]:
    """Q_1 ... Q_terms of ``kappa = x0 * (1 + sum_k Q_k(w)/s0**k)``, the inverse of the series above.

    ``Q_1 = 1/2``, and with ``w = (2r/(1 + r^2))^2``::

        Q_k = Q_{k-1}/2 - sum_{i=1}^{k-1} Q_i [Q_{k-i} + 2w (1-w) Q'_{k-i} - (k-i) w Q_{k-i}]
    """
    w, two_w_one_minus_w = polynomial(0, 1), polynomial(0, 2, -2)
    p = [polynomial(0), polynomial("1/2")]
    for k in range(2, terms + 1):
        total = scale(Fraction(1, 2), p[k - 1])
        for i in range(1, k):
            other = p[k - i]
            slope = add(multiply(two_w_one_minus_w, derivative(other)), scale(i - k, multiply(w, other)))
            total = add(total, scale(-1, multiply(p[i], add(other, slope))))
        p.append(trimmed(total))
    return p[1:]


def normalizer_polynomials(ratio: list[Polynomial]) -> list[Polynomial]:
    """G_1 ... of ``log C = lambda*log((lambda + s)/2pi) - s - log1p(q)/2 - sum_k G_k(q)/s**k``.

    As ``d log C/d kappa = -A``, term by term an integral of the series of the ratio, in which
    ``P_k(-1) = 0`` for k >= 2::

        q^(k-1) G_{k-1}(q) = -int_0^q P_k(t) t^(k-2)/(1 + t) dt
    """
    return [
        [-c / (k - 1 + j) for j, c in enumerate(divided(p, -1))] for k, p in enumerate(ratio[1:], start=2)
    ]


def log_h_polynomials(normalizer: list[Polynomial]) -> list[Polynomial]:
    """D_1 ... of ``sum_k G_k(1)/lambda**k - G_k(q)/s**k = (1 - q) sum_k D_k(q)/lambda**k``.

    The left side is the change of the sum above from kappa = 0 to kappa, as s = lambda/q::

        D_k(q) = [G_k(1) - q^k G_k(q)]/(1 - q)
    """
    found = []
    for k, g in enumerate(normalizer, start=1):
        minus_numerator = add([Fraction(0)] * k + g, [-sum(g, Fraction(0))])
        found.append(divided(minus_numerator, 1))
    return found


RATIO = ratio_polynomials(RATIO_TERMS)
NORMALIZER = normalizer_polynomials(RATIO)

TABLES = {
    "RATIO": ("P_k(q), k = 1, 2, ...", RATIO),
    "CONCENTRATION": ("Q_k(w), k = 1, 2, ...", concentration_polynomials(CONCENTRATION_TERMS)),
    "NORMALIZER": ("G_k(q), k = 1, 2, ...", NORMALIZER),
    "LOG_H": ("D_k(q), k = 1, 2, ...", log_h_polynomials(NORMALIZER)),
}


def python_table() -> str:
    """The text of ``refsgd/directional/_coefficients.py``."""
    lines = [
        '"""Coefficients of series, lowest power first; written by csrc/generate_coefficients.py."""',
        "",
        "# fmt: off",
    ]
    for name, (meaning, polynomials) in TABLES.items():
        lines += ["", f"# {meaning}", f"{name}: tuple[tuple[float, ...], ...] = ("]
        for p in polynomials:
            numbers = " ".join(f"{float(c)!r}," for c in p)
            lines.append(
                textwrap.fill(f"({numbers})", 109, initial_indent=" " * 4, subsequent_indent=" " * 5) + ","
            )
        lines += [")"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PYTHON_TABLE.write_text(python_table(), encoding="utf-8")
