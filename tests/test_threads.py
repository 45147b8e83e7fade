"""How many threads C kernels use, and that processes which are forked or spawned do not hang."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from threadpoolctl import threadpool_limits

import refsgd
from refsgd import kernels

pytestmark = pytest.mark.skipif(kernels.unavailable("c") is not None, reason="only C uses threads")

PREAMBLE = """
import os
import numpy as np
import refsgd

def step(d=600_000):
    run = refsgd.VSGD().start(np.ones(d, np.float32), backend="c")
    for _ in range(12):  # x moves from the 11th on
        run.tell(run.ask()[None].copy())
        if run.is_open:
            run.tell(run.ask()[None].copy())
    return float(run.x[-1])

def living():
    return len(os.listdir("/proc/self/task"))
"""


def output_of(program: str, **environment: str) -> list[str]:
    """Lines that a new Python prints; one that hangs fails."""
    run = [sys.executable, "-c", PREAMBLE + textwrap.dedent(program)]
    done = subprocess.run(
        run, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.process
@pytest.mark.parametrize(("asked", "used"), [("1", 1), ("3", 3), ("2,1", 2)])
def test_environment_sets_the_number_of_threads(asked: str, used: int) -> None:
    assert output_of("print(refsgd.get_num_threads())", OMP_NUM_THREADS=asked) == [str(used)]


@pytest.mark.process
def test_number_asked_for_goes_before_the_environment() -> None:
    program = """
        for n in (3, 1, 2):
            refsgd.set_num_threads(n)
            print(refsgd.get_num_threads())
    """
    assert output_of(program, OMP_NUM_THREADS="1") == ["3", "1", "2"]


@pytest.mark.parametrize("api", ["openmp", None])
def test_threadpoolctl_limits_what_was_asked_for(api: str | None) -> None:
    before = refsgd.get_num_threads()
    refsgd.set_num_threads(4)
    try:
        with threadpool_limits(2, user_api=api):
            assert refsgd.get_num_threads() == 2
            with threadpool_limits(1, user_api=api):
                assert refsgd.get_num_threads() == 1
        assert refsgd.get_num_threads() == 4
    finally:
        refsgd.set_num_threads(before)


@pytest.mark.process
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the threads that live")
def test_a_kernel_starts_no_more_threads_than_it_may() -> None:
    program = """
        from threadpoolctl import threadpool_limits
        refsgd.get_num_threads()  # threadpoolctl limits what is loaded
        before = living()
        with threadpool_limits(1, user_api="openmp"):
            step()
        print(living() - before)
        step(d=200_000)  # too small for two
        print(living() - before)
        step()
        print(living() - before)
    """
    assert output_of(program, OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="1") == ["0", "0", "1"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_workers_of_joblib_finish_after_a_parallel_region(backend: str) -> None:
    program = f"""
        from joblib import Parallel, delayed
        want = step()
        got = Parallel(n_jobs=2, backend={backend!r})(delayed(step)() for _ in range(4))
        print(got == [want] * 4)
    """
    assert output_of(program, OMP_NUM_THREADS="2") == ["True"]


@pytest.mark.slow
def test_forked_pool_finishes_after_a_parallel_region() -> None:
    program = """
        import multiprocessing
        want = step()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            got = pool.starmap(step, [()] * 4)
        print(got == [want] * 4)
    """
    assert output_of(program, OMP_NUM_THREADS="2") == ["True"]
