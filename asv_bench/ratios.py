"""Compare functions by time where a clock alone says little: on machines that others use too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np


def interleaved(
    functions: dict[str, Callable[[], Any]], rounds: int = 31, seconds: float = 0.002, limit: float = 5.0
) -> dict[str, np.ndarray]:
    """Seconds a call of each function, (rounds,) each.

    Every round measures all of them, for ``seconds`` each, one after the other, and begins with another one
    each time: what disturbs the machine disturbs all alike. Many short rounds are better than a few long
    ones, as most fall between two turns of another process. One call before each measurement brings the
    function's own data back into the cache. Where calls are slow there are fewer rounds, at least 5, to
    stay near ``limit`` seconds.
    """
    names = list(functions)
    for name in names:
        functions[name]()
    once = {name: time_of(functions[name], 1) for name in names}
    calls = {name: max(1, int(seconds / once[name])) for name in names}
    a_round = sum((calls[name] + 1) * once[name] for name in names)
    rounds = min(rounds, max(5, int(limit / a_round)))
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(rounds):
        first = round_ % len(names)
        for name in names[first:] + names[:first]:
            functions[name]()
            times[name].append(time_of(functions[name], calls[name]))
    return {name: np.array(values) for name, values in times.items()}


def time_of(function: Callable[[], Any], calls: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def medians(functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds a call of each function, measured as `interleaved` does."""
    return {name: float(np.median(times)) for name, times in interleaved(functions).items()}
