"""What a loop without Python saves: nanoseconds a step for linear regression, online, beside the Python loop.

python asv_bench/compiled.py
"""

from __future__ import annotations

import statistics
import time

import numba
import numpy as np

import refsgd


@numba.njit
def grad(x, row, target, out):  # type: ignore[no-untyped-def]
    residual = -target
    for i in range(x.size):
        residual += row[i] * x[i]
    for i in range(x.size):
        out[i] = row[i] * residual


def rows(x, rows, targets):  # type: ignore[no-untyped-def]
    return rows * (rows @ x - targets)[:, None]


def seconds(gradient, data, d, steps):  # type: ignore[no-untyped-def]
    began = time.perf_counter()
    epochs = -(-steps // len(data[0]))
    refsgd.minimize(gradient, np.zeros(d), data, epochs=epochs, max_iter=steps, random_state=0)
    return time.perf_counter() - began


def nanoseconds(gradient, data, d, steps, repeats=7):  # type: ignore[no-untyped-def]
    """Median of the time that as many steps more take, so that compiling does not count."""
    once = [seconds(gradient, data, d, 2 * steps) - seconds(gradient, data, d, steps) for _ in range(repeats)]
    return statistics.median(once) / steps * 1e9


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    print("     d  compiled ns  Python ns  ratio (bars at d = 10: 100 ns, 30)")
    for d in (10, 100, 1000):
        X = rng.normal(size=(10_000, d))
        data = X, X @ np.ones(d) + rng.normal(size=len(X))
        seconds(grad, data, d, 100)
        compiled, plain = nanoseconds(grad, data, d, 4_000_000 // d), nanoseconds(rows, data, d, 2_000)
        print(f"{d:6d}  {compiled:11.0f}  {plain:9.0f}  {plain / compiled:5.1f}", flush=True)
