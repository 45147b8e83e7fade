"""What each choice of the default rule is worth: one changed at a time.

    python asv_bench/ablation.py [--data DIR] [--only SECTION ...] [--quick]

Variants are those of `variants.py`, plain NumPy on whole vectors, which with its defaults is the library's
rule. Problems, and how they are looked at, are those of `protocol.py`; DIR holds MNIST's IDX files, for the
last section. Prints tables in Markdown. Results go to a file as they come; the same command goes on after an
interruption.

networks    digits, after 5 epochs' worth of gradients, seeds 0 to 2: train loss / test error in %
robustness  mean gain and worst cell of the suite (seed 0); the geometric mean, over the stress problems
            and seeds 0 to 3, of the loss at the end over that of the default; 1 % of gradients × 1,000,
            median and worst; how many of 50 random convex problems (seeds 1000 to 1049) end above their
            start, with minibatches of 4 and more and below; initial weights × 0.1 and × 10, train loss as
            above
mnist       after 5 epochs' worth of gradients, seed 0: train loss / test error in %
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # NumPy reads it when it is imported

# isort: split
import hard
import numpy as np
import stress
import suite
from contests import Problem, Store, digits_of, train
from networks import TASKS
from protocol import epochs
from variants import Variant

from refsgd.datasets import load_mnist

VARIANTS = {
    "default": Variant(),
    "rate by $\\rho^{3/4}$": Variant(power=0.75),
    "rate by $\\rho$": Variant(power=1.0),
    "curvature by $N$": Variant(curvature="bound"),
    "curvature by $\\sqrt{NR}$": Variant(curvature="between"),
    "length $1/\\mathrm{E}\\lambda$": Variant(length="inverse"),
    "limit 2": Variant(limit=2.0),
    "no limit": Variant(limit=None),
    "no guard": Variant(guard=None),
    "start by $R$": Variant(start_by="quotient"),
    "start by $\\sqrt{NR}$": Variant(start_by="between"),
    "no ceiling": Variant(ceiling=0.0),
    "ceiling 2": Variant(ceiling=2.0),
}
NETWORKS = [("tanh", 10), ("relu", 10), ("relu", 100), ("deep", 10), ("softmax", 1), ("softmax", 10)]
MNIST = "tanh n=10", "ReLU n=10", "softmax n=1"
SECTIONS = "networks", "robustness", "mnist"


def final(make: Callable[[int], Problem], variant: Variant, n_gradients: int, seeds: Sequence[int]) -> Any:
    """The figures after so many gradients, of each seed."""
    runs = [train(make(seed), "variant", variant.start, [n_gradients]) for seed in seeds]
    return [run["variant"][n_gradients] for run in runs]


def loss_error(runs: Sequence[Sequence[float]]) -> str:
    loss, error = np.mean(np.array(runs, float), axis=0)
    return f"{digits_of(loss)} / {error:.1f}"


def networks(name: str, variant: Variant, store: Store) -> list[str]:
    cells = []
    for network, n in NETWORKS:
        task = hard.task(network, n)
        measure = partial(final, partial(hard.network, task), variant, epochs(n, 5)[0], range(3))
        cells.append(loss_error(store.get(f"{network} n={n} | {name}", measure)))
    return cells


def mnist(data: Any, name: str, variant: Variant, store: Store) -> list[str]:
    cells = []
    for key in MNIST:
        task = TASKS[key]
        make = partial(hard.network, task, data=data)
        measure = partial(final, make, variant, 5 * task.steps(data), range(1))
        cells.append(loss_error(store.get(f"mnist {key} | {name}", measure)))
    return cells


def all_gains(variant: Variant) -> list[list[float]]:
    return [[suite.gain(variant.start, cell, seed) for seed in range(1)] for cell in suite.CELLS]


def stress_losses(variant: Variant) -> list[list[float]]:
    return [
        [loss for (loss,) in final(partial(stress.stress, name), variant, 2000, range(4))]
        for name in stress.STRESS
    ]


def rises(n_problems: int, variant: Variant) -> list[int]:
    """How many convex problems end above their start: with n of 4 and more, and below."""
    counts = [0, 0]
    for seed in range(1000, 1000 + n_problems):
        scores = train(stress.convex(seed), "variant", variant.start, [2000])["variant"]
        counts[stress.n_per_minibatch(seed) < 4] += not scores[2000][0] <= scores[0][0]
    return counts


def robustness(n_problems: int, name: str, variant: Variant, store: Store) -> list[str]:
    gains = np.array(store.get(f"suite | {name}", partial(all_gains, variant))).mean(axis=1)
    losses = np.array(store.get(f"stress | {name}", partial(stress_losses, variant)))
    default = np.array(store.get("stress | default", partial(stress_losses, Variant())))
    ratio = math.exp(np.log(losses / default).mean())
    wild = losses[list(stress.STRESS).index("1 % of gradients × 1,000")]
    large, small = store.get(f"convex {n_problems} | {name}", partial(rises, n_problems, variant))
    starts = []
    for factor in (0.1, 10.0):
        make = partial(hard.scaled_start, factor=factor)
        measure = partial(final, make, variant, epochs(10, 5)[0], range(3))
        runs = store.get(f"weights × {factor:g} | {name}", measure)
        starts.append(digits_of(float(np.mean(np.array(runs, float)[:, 0]))))
    cells = [
        f"{gains.mean():.2f}, {gains.min():.2f}",
        f"{ratio:.2f}",
        f"{digits_of(np.median(wild))}, {digits_of(wild.max())}",
        f"{large}, {small}",
    ]
    return [*cells, *starts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of MNIST's IDX files")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--quick", action="store_true", help="20 convex problems, no MNIST")
    parser.add_argument("--out", type=Path, default=Path("ablation.json"), help="file of the results")
    options = parser.parse_args()
    store = Store(options.out)
    n_problems = 20 if options.quick else 50
    tables: dict[str, tuple[list[str], Callable[..., list[str]]]] = {
        "networks": ([f"{name} n = {n}" for name, n in NETWORKS], networks),
        "robustness": (
            [
                "suite: mean, worst",
                "stress",
                "1 % × 1,000: median, worst",
                f"of {n_problems} convex",
                "× 0.1",
                "× 10",
            ],
            partial(robustness, n_problems),
        ),
    }
    if options.data and not options.quick:
        tables["mnist"] = [f"MNIST {key}" for key in MNIST], partial(mnist, load_mnist(options.data))
    for section in options.only:
        if section not in tables:
            print(f"\n{section}: needs --data DIR, and not --quick")
            continue
        titles, row = tables[section]
        print(f"\n| | {' | '.join(titles)} |\n|---|{'---|' * len(titles)}", flush=True)
        with np.errstate(all="ignore"):
            for name, variant in VARIANTS.items():
                print(f"| {name} | {' | '.join(row(name, variant, store))} |", flush=True)


if __name__ == "__main__":
    main()
