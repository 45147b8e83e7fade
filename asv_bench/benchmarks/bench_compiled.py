"""The loop without Python: `refsgd.minimize` with a gradient that Numba compiled, on linear regression."""

from __future__ import annotations

from compiled import compile_seconds, loop_nanoseconds

from . import backend


class CompiledStep:
    """Nanoseconds a step, online."""

    params = (10, 100, 1_000)
    param_names = ("dim",)
    timeout = 300

    def setup(self, _: int) -> None:
        backend("numba")

    def track_nanoseconds_a_step(self, dim: int) -> float:
        return loop_nanoseconds(dim)[0]

    track_nanoseconds_a_step.unit = "ns"  # type: ignore[attr-defined]


class CompiledGradient:
    """What a gradient that Numba has not seen yet takes, with a hundred steps."""

    timeout = 300

    def setup(self) -> None:
        backend("numba")

    def track_seconds_to_compile(self) -> float:
        return compile_seconds()

    track_seconds_to_compile.unit = "s"  # type: ignore[attr-defined]
