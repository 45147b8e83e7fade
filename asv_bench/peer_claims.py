"""Optimisers of PyTorch that a user might pick instead of a C step, in float32. What is missing is named."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import peers
from benchmarks import Problem, backend
from claims import Claim, size, versus


def peer_claims(dims: list[int]) -> Iterator[Claim]:
    try:
        import torch
    except ImportError:
        yield Claim("skipped, torch is not installed: Adam, Prodigy, D-Adapt, DoG, ScheduleFree")
        return
    torch.set_num_threads(1)
    table = backend("c")
    for name, make in MAKERS.items():
        for dim in dims:
            problem = Problem(dim, "float32").with_roof()
            parameter = torch.nn.Parameter(torch.from_numpy(problem.state.x.copy()))
            parameter.grad = torch.from_numpy(problem.grad.copy())
            try:
                peer = make([parameter])
            except ImportError as error:
                yield Claim(f"skipped, {error}: {name}")
                break
            text = f"C step float32 d={size(dim)}: {name}"
            yield versus(text, lambda p=problem: p.step(table), peer.step, BARS.get((name, dim), ">="))
            if name == "torch fused Adam":
                relation, _ = BARS[name, dim].split()
                yield versus(text.replace("C step", "its twin"), problem.twin, peer.step, relation)


def fused_adam(parameters: list[Any]) -> Any:
    return import_module("torch").optim.Adam(parameters, fused=True)


def schedule_free(parameters: list[Any]) -> Any:
    peer = peers.schedule_free(parameters)
    peer.train()
    return peer


MAKERS = {
    "torch fused Adam": fused_adam,
    "Prodigy": peers.prodigy,
    "D-Adapt Adam": peers.d_adaptation,
    "DoG": peers.dog,
    "ScheduleFree AdamW": schedule_free,
}
BARS = {
    ("torch fused Adam", 1_000): ">= 20",
    ("torch fused Adam", 10_000): ">= 4",
    ("torch fused Adam", 100_000): "<= 1.0",
    ("torch fused Adam", 1_000_000): "<= 1.3",
    ("torch fused Adam", 10_000_000): "<= 1.3",
    ("Prodigy", 100_000): ">= 2.5",
    ("Prodigy", 1_000_000): ">= 3.2",
    ("Prodigy", 10_000_000): ">= 4.5",
    ("D-Adapt Adam", 100_000): ">= 2.7",
    ("D-Adapt Adam", 1_000_000): ">= 3.5",
    ("D-Adapt Adam", 10_000_000): ">= 5.5",
    ("DoG", 100_000): ">= 1.3",
    ("DoG", 1_000_000): ">= 1.35",
    ("DoG", 10_000_000): ">= 2.2",
    ("ScheduleFree AdamW", 100_000): ">= 1.8",
    ("ScheduleFree AdamW", 1_000_000): ">= 2.2",
    ("ScheduleFree AdamW", 10_000_000): ">= 2.5",
}
