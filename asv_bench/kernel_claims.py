"""What is claimed of the kernels: their roofs, NumPy, threads, the call from Python, equal bits."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import DTYPES, Problem, after_steps, backend, ulps
from benchmarks.bench_import import import_medians
from benchmarks.bench_moments import MomentsProblem
from claims import Claim, ratio, size, versus
from ratios import medians

# isort: split

import refsgd
from refsgd import kernels

ROOT = Path(__file__).resolve().parents[1]


def step_and_roof(dims: list[int]) -> Iterator[Claim]:
    """The step with its check, which reads the gradient once more, beside the streams of the step alone."""
    table = backend("c")
    for dtype in DTYPES:
        for dim in dims:
            problem = Problem(dim, dtype).with_roof()
            bar = "<= 1.15" if dim >= 1_000_000 else "<="
            text = f"C step {dtype} d={size(dim)}: twin"
            yield versus(text, lambda p=problem: p.step(table), problem.twin, bar)


def step_and_oracle(dims: list[int]) -> Iterator[Claim]:
    oracle = backend("numpy")
    for name, bar in (("c", ">= 10"), ("numba", ">=")):
        table = backend(name)
        for dtype in DTYPES:
            for dim in dims:
                problem = Problem(dim, dtype)
                text = f"{name.capitalize()} step {dtype} d={size(dim)}: NumPy"
                run, plain = lambda p=problem, t=table: p.step(t), lambda p=problem: p.step(oracle)
                yield versus(text, run, plain, bar)


def overhead() -> Iterator[Claim]:
    """Microseconds of a step of 10 parameters, nearly all of them spent on the way from Python to C."""
    table = backend("c")
    problem = Problem(10, "float64")
    grad, other = problem.grad, -problem.grad
    turn = itertools.cycle((grad, other)).__next__
    step = table.bind_advance(problem.buffer, problem.energy, problem.sums)
    run = refsgd.VSGD().start(problem.grad, backend="c")

    def ask_and_tell() -> None:
        run.ask()
        run.tell(turn())
        if run.is_open:
            run.ask()
            run.tell(other)

    functions = {
        "new gradients": lambda: step(turn(), 1.0, 10.0, 1e-3, 0.0),
        "gradients where the last were": lambda: step(grad, 1.0, 10.0, 1e-3, 0.0),
        "a minibatch by ask and tell with all checks": ask_and_tell,
    }
    bars = "<= 0.5", "<= 0.2", "<="
    for (name, spent), bar in zip(medians(functions).items(), bars, strict=True):
        yield Claim(f"C step from Python, {name}, d=10, us", 1e6 * spent, bar, spent)


def moments(dims: list[int]) -> Iterator[Claim]:
    """``X.dot(X)`` by BLAS is the fastest read there is, ``X.sum()`` what a user would time."""
    table = backend("c")
    for dtype in DTYPES:
        for dim in dims:
            problem = MomentsProblem(dim, dtype)
            run = lambda p=problem: p.moments(table)  # noqa: E731
            text = f"C moments of 64 rows {dtype} d={size(dim)}"
            yield versus(f"{text}: NumPy", run, problem.plain, ">= 5")
            share = ">= 0.95" if dim <= 100_000 else ">= 0.8"  # in the last cache, and in memory
            yield versus(f"{text}: reading by BLAS", run, problem.read, share)
            yield versus(f"{text}: X.sum()", run, problem.sum, ">=")


def two_threads(small: list[int], large: list[int]) -> Iterator[Claim]:
    """Beside one thread, and what the twin gains: memory has a roof for all threads together, too."""
    table = backend("c", threads=2)

    def step(problem: Problem, threads: int) -> None:
        kernels.set_num_threads(threads)
        problem.step(table)

    def twin(problem: Problem, threads: int) -> None:
        kernels.set_num_threads(threads)
        problem.twin()

    for dtype in DTYPES:
        for dim in (*small, *large):
            problem = Problem(dim, dtype).with_roof()
            text = f"C step, 2 threads {dtype} d={size(dim)}: 1 thread"
            bar = ">= 1.85" if dim in large else ">= 0.97"
            yield versus(text, lambda p=problem: step(p, 2), lambda p=problem: step(p, 1), bar)
            if dim in large:
                text = text.replace("C step", "its twin")
                yield versus(text, lambda p=problem: twin(p, 2), lambda p=problem: twin(p, 1), ">=")
    kernels.set_num_threads(1)


def bits(dim: int = 300_000) -> Iterator[Claim]:
    """Units in the last place after 50 steps, and the tests of each instruction set, compiled by itself."""
    tables = {"C": backend("c"), "Numba": backend("numba"), "C, 2 threads": backend("c", threads=2)}
    for dtype in DTYPES:
        oracle = after_steps(backend("numpy"), dim, dtype)
        for name, table in tables.items():
            kernels.set_num_threads(2 if "2" in name else 1)
            text = f"{name} step {dtype}: NumPy, units in the last place"
            yield Claim(text, ulps(after_steps(table, dim, dtype), oracle), "<= 0")
    kernels.set_num_threads(1)
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_instruction_sets.py"]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True).returncode
    yield Claim("SSE2, AVX2, AVX-512: bits of NumPy (0: tests pass)", failed, "<= 0")


def imports(rounds: int) -> Iterator[Claim]:
    times = import_medians(rounds)
    yield ratio("import refsgd: import numpy, scipy.special", times["ours"], times["peer"], "<= 1.5")
