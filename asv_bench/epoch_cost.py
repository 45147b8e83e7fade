"""What refsgd costs as users pay it: the time of an epoch over that of PyTorch's Adam on the same network.

    python asv_bench/epoch_cost.py --data DIR                  some minutes

DIR holds MNIST's IDX files. The network is 784-120-10 (tanh), an epoch its 8,000 images: gradients, second
gradients of the same minibatch, and steps. The optimisers take turns epoch by epoch; the first epoch, which
has the start, is left out. Times are medians, with one thread. Adam is PyTorch's fused one.

NumPy: gradients in plain NumPy for both, Adam on the flat vector. PyTorch: `torch.nn.Sequential` for both,
with `refsgd.adapters.torch.VSGD`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # NumPy reads it when it is imported

# isort: split
import numpy as np
import torch
from claims import Claim, print_claims
from networks import TASKS, Task
from optimisers import adam

import refsgd
from refsgd.adapters.torch import VSGD
from refsgd.datasets import Dataset, load_mnist

Epoch = Callable[[], int]
SIZES = {10: "tanh n=10", 100: "tanh n=100"}


def ours_in_numpy(task: Task, data: Dataset) -> Epoch:
    run, batches = refsgd.VSGD().start(task.model.init(0, np.float32)), task.batches(data, 0)
    gradient = np.empty_like(run.x)

    def epoch() -> int:
        before = run.n_gradients
        for batch in itertools.islice(batches, task.steps(data)):
            run.tell(task.gradient(run.ask(), *batch, out=gradient)[1])
            if run.is_open:
                run.tell(task.gradient(run.ask(), *batch, out=gradient)[1])
        return run.n_gradients - before

    return epoch


def adam_in_numpy(task: Task, data: Dataset) -> Epoch:
    """Without copies: Adam works in the memory of NumPy."""
    x, batches = task.model.init(0, np.float32), task.batches(data, 0)
    gradient, parameter = np.empty_like(x), torch.nn.Parameter(torch.from_numpy(x))
    parameter.grad = torch.from_numpy(gradient)
    optimizer = adam(1e-3)([parameter])

    def epoch() -> int:
        for batch in itertools.islice(batches, task.steps(data)):
            task.gradient(x, *batch, out=gradient)
            optimizer.step()
        return task.steps(data)

    return epoch


def network(task: Task) -> torch.nn.Module:
    torch.manual_seed(0)
    n_in, n_hidden, n_out = task.widths
    return torch.nn.Sequential(
        torch.nn.Linear(n_in, n_hidden), torch.nn.Tanh(), torch.nn.Linear(n_hidden, n_out)
    )


def in_torch(
    task: Task, data: Dataset, make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
) -> Epoch:
    """A loop as PyTorch's users write it, with a closure."""
    model, batches = network(task), task.batches(data, 0)
    optimizer = make(list(model.parameters()))

    def epoch() -> int:
        n_gradients = 0
        for X, y in itertools.islice(batches, task.steps(data)):
            X, y = torch.from_numpy(X), torch.from_numpy(y)

            def closure(X: torch.Tensor = X, y: torch.Tensor = y) -> torch.Tensor:
                nonlocal n_gradients
                n_gradients += 1
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(X), y)
                loss.backward()
                return loss

            optimizer.step(closure)
        return n_gradients

    return epoch


def compare(
    ours: Callable[[], Epoch], other: Callable[[], Epoch], epochs: int, repeats: int
) -> tuple[float, ...]:
    """Median ratio and seconds of epochs 2, 3, ..., and our gradients in them over Adam's."""
    times: dict[str, list[float]] = {"ours": [], "other": []}
    gradients = []
    for repeat in range(repeats):
        pair = {"ours": ours(), "other": other()}
        for epoch in range(1, epochs + 1):
            counts = {}
            for name in sorted(pair, reverse=(epoch + repeat) % 2 == 1):
                began = time.perf_counter()
                counts[name] = pair[name]()
                if epoch > 1:
                    times[name].append(time.perf_counter() - began)
            if epoch > 1:
                gradients.append(counts["ours"] / counts["other"])
    mine, theirs = np.array(times["ours"]), np.array(times["other"])
    return (
        float(np.median(mine / theirs)),
        float(np.median(mine)),
        float(np.median(theirs)),
        float(np.mean(gradients)),
    )


def claims(data: Dataset, epochs: int, repeats: int) -> Iterator[Claim]:
    for n, name in SIZES.items():
        task = TASKS[name]
        bar = "<= 1.2" if n == 100 else "<="
        pairs = {
            "NumPy": (lambda t=task: ours_in_numpy(t, data), lambda t=task: adam_in_numpy(t, data)),
            "PyTorch": (lambda t=task: in_torch(t, data, VSGD), lambda t=task: in_torch(t, data, adam(1e-3))),
        }
        for where, (ours, other) in pairs.items():
            ratio, mine, theirs, gradients = compare(ours, other, epochs, repeats)
            yield Claim(f"epoch in {where}, n={n}: Adam", ratio, bar, mine, theirs)
            yield Claim(f"  gradients a step, n={n}", gradients)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of MNIST's IDX files")
    parser.add_argument("--epochs", type=int, default=10, help="of each training, the first left out")
    parser.add_argument("--repeats", type=int, default=3, help="trainings")
    options = parser.parse_args()
    print_claims(claims(load_mnist(options.data), options.epochs, options.repeats))


if __name__ == "__main__":
    main()
