"""The C step of the default rule, check included, over torch's fused Adam and over its own memory roof.

    python asv_bench/dense_step.py                                        the widest instructions there are
    python asv_bench/dense_step.py --march x86-64-v3                      AVX2: compiled for this run alone
    ATEN_CPU_CAPABILITY=avx2 python asv_bench/dense_step.py --march ...   and PyTorch's likewise

float32, one thread, without the average of x. In every round all functions take turns; ratios are medians of
rounds. The twin is the roof: 1 read and 4 updates in place, trivial arithmetic; the check reads the gradient
once more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import Problem, backend
from claims import Claim, print_claims, size
from ratios import interleaved

# isort: split
import numpy as np
import torch
from cffi import FFI

ROOT = Path(__file__).resolve().parents[1]
DIMS = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
ADAM_BARS = [">= 20", ">= 4", "<= 1.0", "<= 1.3", "<= 1.3"]
TWIN_BARS = ["<=", "<=", "<=", "<= 1.15", "<= 1.15"]

Functions = Callable[[Problem], tuple[Callable[[], object], Callable[[], object]]]


def installed() -> Functions:
    """Step and twin of the installed backend."""
    table = backend("c")

    def functions(problem: Problem) -> tuple[Callable[[], object], Callable[[], object]]:
        advance = table.bind_advance(problem.buffer, problem.energy, problem.sums)
        grad, turn, g2_sum = problem.grad, problem.turn, float(problem.dim)
        return lambda: advance(grad, turn(), g2_sum, 1e-3, 0.0), problem.twin

    return functions


def compiled(march: str, folder: Path) -> Functions:
    """Step and twin compiled for one instruction set, called with addresses at hand as a bound step is."""
    sys.path.append(str(ROOT / "csrc"))
    import build_cffi

    path = folder / "kernels.so"
    flags = [flag for flag in build_cffi.FLAGS if flag != "-fvisibility=hidden"]
    target = [f"-march={march}", "-DREFSGD_NO_CLONES", "-shared", "-fPIC"]
    sources = [ROOT / "csrc" / name for name in ("dense.c", "parallel.c")]
    command = [*build_cffi.c_compiler(), *flags, *target, *sources, "-lm", "-o", path]
    subprocess.run(list(map(str, command)), check=True)
    ffi = FFI()
    ffi.cdef(build_cffi.interface())
    lib = ffi.dlopen(str(path))
    advance, twin = lib.refsgd_dense_advance_f32, lib.refsgd_dense_twin_f32

    def functions(problem: Problem) -> tuple[Callable[[], object], Callable[[], object]]:
        state, roof = (ffi.from_buffer("float[]", rows) for rows in (problem.buffer, problem.roof))
        energy, sums = (ffi.from_buffer("double[]", rows) for rows in (problem.energy, problem.sums))
        width, d, turn = problem.buffer.shape[1], problem.dim, problem.turn
        grad, scalars = ffi.from_buffer("float[]", problem.grad), (float(d), 1e-3, 0.0)
        return (
            lambda: advance(state, width, 0, d, grad, turn(), *scalars, energy, sums, 1),
            lambda: twin(roof, width, d, grad, 1),
        )

    return functions


def fused_adam(problem: Problem) -> Callable[[], object]:
    parameter = torch.nn.Parameter(torch.from_numpy(problem.state.x.copy()))
    parameter.grad = torch.from_numpy(problem.grad.copy())
    return torch.optim.Adam([parameter], fused=True).step


def claims(functions: Functions, rounds: int) -> Iterator[Claim]:
    for dim, adam_bar, twin_bar in zip(DIMS, ADAM_BARS, TWIN_BARS, strict=True):
        problem = Problem(dim, "float32").with_roof()
        step, twin = functions(problem)
        times = interleaved({"step": step, "twin": twin, "adam": fused_adam(problem)}, rounds, limit=15)
        seconds = {name: float(np.median(each)) for name, each in times.items()}
        for name, bar in (("adam", adam_bar), ("twin", twin_bar)):
            ratio = float(np.median(times["step"] / times[name]))
            value = 1 / ratio if bar.startswith(">=") else ratio
            text = f"C step float32 d={size(dim)}: {'torch fused Adam' if name == 'adam' else 'twin'}"
            yield Claim(text, value, bar, seconds["step"], seconds[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--march", help="compile for this instruction set, such as x86-64-v3")
    parser.add_argument("--rounds", type=int, default=101)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        march = arguments.march
        functions = compiled(march, Path(folder)) if march else installed()
        print(f"{march or backend('c').description}; PyTorch: {torch.backends.cpu.get_cpu_capability()}\n")
        print_claims(claims(functions, arguments.rounds))


if __name__ == "__main__":
    main()
