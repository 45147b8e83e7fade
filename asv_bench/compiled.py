"""What a loop without Python saves in linear regression, online: time a step beside the Python loop's.

python asv_bench/compiled.py

And what it asks for: the time that a new gradient takes to compile.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from claims import Claim, print_claims, ratio
from ratios import interleaved

import refsgd
from refsgd.sgd.driver import Driver
from refsgd.sgd.sampler import Minibatches


def new_gradient() -> Any:
    """A function that Numba has not seen yet, of an old text."""

    @numba.njit
    def grad(x, row, target, out):  # type: ignore[no-untyped-def]
        residual = -target
        for i in range(x.size):
            residual += row[i] * x[i]
        for i in range(x.size):
            out[i] = row[i] * residual

    return grad


def gradient_rows(x, rows, targets):  # type: ignore[no-untyped-def]
    return rows * (rows @ x - targets)[:, None]


def regression(d: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10_000, d))
    return X, X @ np.ones(d) + rng.normal(size=len(X))


def steps_of(gradient: Any, d: int, steps: int) -> Callable[[], None]:
    """What does so many steps more of a run of `refsgd.minimize`."""
    batches = Minibatches(list(regression(d)), 1, 0)
    driver = Driver(refsgd.VSGD().start(np.zeros(d)), batches, gradient)

    def advance() -> None:
        end = driver.run.n_steps + steps
        while driver.run.n_steps < end:
            driver.step(end - driver.run.n_steps)

    return advance


def loop_nanoseconds(d: int) -> tuple[float, float]:
    """Nanoseconds a step, compiled and in Python: medians over rounds in which they take turns."""
    n_compiled, n_plain = max(100_000 // d, 1), 100
    compiled, plain = steps_of(new_gradient(), d, n_compiled), steps_of(gradient_rows, d, n_plain)
    times = interleaved({"compiled": compiled, "plain": plain})
    return (
        statistics.median(times["compiled"]) / n_compiled * 1e9,
        statistics.median(times["plain"]) / n_plain * 1e9,
    )


def compile_seconds(repeats: int = 15) -> float:
    """Median of the seconds that a run of a hundred steps takes with a new gradient, once there was one such.

    That one has loaded the loop from Numba's cache, or compiled it.
    """
    data, times = regression(10), []
    for _ in range(1 + repeats):
        gradient, began = new_gradient(), time.perf_counter()
        refsgd.minimize(gradient, np.zeros(10), data, max_iter=100, random_state=0)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def claims() -> Iterator[Claim]:
    compiled, plain = (1e-9 * spent for spent in loop_nanoseconds(10))
    yield Claim("compiled online step, d=10, ns", 1e9 * compiled, "<= 100", compiled)
    yield ratio("compiled online step, d=10: Python", compiled, plain, ">= 30")
    compiling = compile_seconds()
    yield Claim("a new gradient and 100 steps, s", compiling, "<= 0.15", compiling)


def main() -> None:
    print("     d  compiled ns  Python ns  ratio")
    for d in (10, 100, 1000):
        compiled, plain = loop_nanoseconds(d)
        print(f"{d:6d}  {compiled:11.0f}  {plain:9.0f}  {plain / compiled:5.1f}", flush=True)
    print()
    print_claims(claims())


if __name__ == "__main__":
    main()
