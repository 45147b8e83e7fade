"""What a claim is: a protocol, numbers, a verdict and a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Verdict(NamedTuple):
    """Whether a claim holds, and by how much: a sentence with the numbers."""

    holds: bool
    by: str


class Claim(NamedTuple):
    """``measure(quick)`` gives numbers that JSON can hold; ``plot(axes, numbers)`` draws them on one axes.

    A claim ``on_images`` is given them: ``measure(quick, data)``. ``needs`` is a module that may be missing.
    """

    name: str
    statement: str
    protocol: str
    measure: Callable[..., dict[str, Any]]
    verdict: Callable[[dict[str, Any]], Verdict]
    plot: Callable[[Any, dict[str, Any]], None]
    on_images: bool = False
    needs: str = ""
