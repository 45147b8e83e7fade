"""The part of the protocol that needs PyTorch: small networks, an autoencoder, LoRA and unfreezing.

    python asv_bench/protocol_torch.py --data DIR [--only NAME ...] [--quick]

DIR holds MNIST's IDX files; with only the 10,000 test images there, 8,000 of them train and 2,000 test. It
was fixed before it was run, and no constant is fitted to it. `refsgd.adapters.torch.VSGD` and Adam at 1e-3,
its default, and at 1e-2 are compared after equal numbers of gradient evaluations, in minibatches of 32,
seeds 0 to 2: a second gradient of the same minibatch counts like any other.

mlp          784-256-256-10, ReLU: 1,500 gradients; loss on the first 2,000 training rows and the test rows
conv         three convolutions of 8, 16 and 32 channels, stride 2, ReLU, without normalisation: 1,000;
             likewise
autoencoder  784-256-32-256-784, ReLU, mean square error: 1,000; likewise
lora         a tanh network 784-120-10 is trained by Adam for two epochs on shifted labels; then matrices of
             rank 8 beside its frozen weights are trained for two epochs' worth of gradients on the true ones:
             loss on 4,000 training rows, test error in %
unfreeze     the output layer alone for an epoch's worth of gradients, then all for two: likewise

Results go to a file as they come; the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # NumPy and PyTorch read it when they are imported

# isort: split
import numpy as np
import torch
import torch.nn.functional as F
from contests import Store, digits_of
from torch import nn

from refsgd.adapters.torch import VSGD
from refsgd.datasets import load_mnist

torch.set_num_threads(1)

BATCH = 32
Parameters = list[nn.Parameter]
OURS = "refsgd"
OPTIMISERS: dict[str, Callable[[Parameters], Any]] = {
    OURS: VSGD,
    "Adam 1e-3": lambda parameters: torch.optim.Adam(parameters),
    "Adam 1e-2": lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
}

#: The most of each figure, as means over seeds; the error of LoRA holds for each seed.
BARS = {"mlp": (0.008, 0.16), "conv": (0.025, 0.09)}
LORA_BAR = 9.0


class Data(NamedTuple):
    X: torch.Tensor
    y: torch.Tensor
    X_test: torch.Tensor
    y_test: torch.Tensor


def load(folder: str) -> Data:
    data = load_mnist(folder)
    return Data(*(torch.from_numpy(np.array(a)) for a in data[:4]))


def orders(n: int, seed: int) -> Iterator[torch.Tensor]:
    """Rows of minibatches without end, each epoch in a new order; what is left of an epoch is dropped."""
    generator = torch.Generator().manual_seed(1000 + seed)
    while True:
        order = torch.randperm(n, generator=generator)
        yield from order[: n // BATCH * BATCH].split(BATCH)


class Trainer:
    """Takes steps until a number of gradients is used up, and counts them over several calls."""

    def __init__(
        self, parameters: Parameters, make: Callable[[Parameters], Any], data: Data, seed: int
    ) -> None:
        self.parameters, self.optimizer = parameters, make(parameters)
        self.rows = orders(len(data.y), seed)
        self.n_gradients = 0

    def train(self, loss_of: Callable[[torch.Tensor], torch.Tensor], until: int) -> None:
        """``loss_of(rows)``. A step that would exceed the number is taken nevertheless: by one gradient."""
        while self.n_gradients < until:
            rows = next(self.rows)

            def closure(rows: torch.Tensor = rows) -> torch.Tensor:
                for p in self.parameters:
                    p.grad = None
                loss = loss_of(rows)
                loss.backward()
                self.n_gradients += 1
                return loss.detach()

            self.optimizer.step(closure)


def mlp() -> nn.Module:
    layers = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
    return nn.Sequential(*layers)


def conv() -> nn.Module:
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 28, 28))]
    for n_in, n_out in ((1, 8), (8, 16), (16, 32)):
        layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def autoencoder() -> nn.Module:
    widths = 784, 256, 32, 256
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(256, 784))


def network(
    build: Callable[[], nn.Module], n_gradients: int, data: Data, make: Callable[[Parameters], Any], seed: int
) -> tuple[float, float]:
    """Loss in training and testing."""
    torch.manual_seed(seed)
    model = build()

    def loss(X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(model(X), X) if build is autoencoder else F.cross_entropy(model(X), y)

    trainer = Trainer(list(model.parameters()), make, data, seed)
    trainer.train(lambda rows: loss(data.X[rows], data.y[rows]), n_gradients)
    with torch.no_grad():
        return loss(data.X[:2000], data.y[:2000]).item(), loss(data.X_test, data.y_test).item()


def loss_error(f: Callable[[torch.Tensor], torch.Tensor], data: Data) -> tuple[float, float]:
    with torch.no_grad():
        loss = F.cross_entropy(f(data.X[:4000]), data.y[:4000]).item()
        return loss, 100 * (f(data.X_test).argmax(1) != data.y_test).float().mean().item()


def lora(data: Data, make: Callable[[Parameters], Any], seed: int) -> tuple[float, float]:
    torch.manual_seed(seed)
    first, second = nn.Linear(784, 120), nn.Linear(120, 10)
    frozen = [*first.parameters(), *second.parameters()]
    epoch, shifted = len(data.y) // BATCH, (data.y + 3) % 10
    pretrained = Trainer(frozen, torch.optim.Adam, data, seed)
    pretrained.train(
        lambda rows: F.cross_entropy(second(torch.tanh(first(data.X[rows]))), shifted[rows]), 2 * epoch
    )
    for p in frozen:
        p.requires_grad_(False)
    A, B = nn.Parameter(torch.randn(8, 784) / 28), nn.Parameter(torch.zeros(120, 8))
    C, D = nn.Parameter(torch.randn(8, 120) / 11), nn.Parameter(torch.zeros(10, 8))

    def adapted(X: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(first(X) + X @ A.T @ B.T)
        return second(hidden) + hidden @ C.T @ D.T

    trainer = Trainer([A, B, C, D], make, data, seed + 5)
    trainer.train(lambda rows: F.cross_entropy(adapted(data.X[rows]), data.y[rows]), 2 * epoch)
    return loss_error(adapted, data)


def unfreeze(data: Data, make: Callable[[Parameters], Any], seed: int) -> tuple[float, float]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(784, 120), nn.Tanh(), nn.Linear(120, 10))
    trainer, epoch = Trainer(list(model.parameters()), make, data, seed), len(data.y) // BATCH
    for is_frozen, until in ((True, epoch), (False, 3 * epoch)):
        for p in model[0].parameters():
            p.requires_grad_(not is_frozen)
        trainer.train(lambda rows: F.cross_entropy(model(data.X[rows]), data.y[rows]), until)
    return loss_error(model, data)


PROBLEMS: dict[str, tuple[Callable[..., tuple[float, float]], str]] = {
    "mlp": (partial(network, mlp, 1500), "train / validation loss"),
    "conv": (partial(network, conv, 1000), "train / validation loss"),
    "autoencoder": (partial(network, autoencoder, 1000), "train / validation loss"),
    "lora": (lora, "train loss / test error %"),
    "unfreeze": (unfreeze, "train loss / test error %"),
}


def verdict(text: str, is_met: bool) -> None:
    print(f"  {'met' if is_met else 'NOT met':8s} {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder of MNIST's IDX files")
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--out", type=Path, default=Path("protocol_torch.json"), help="file of the results")
    options = parser.parse_args()
    store, data, began = Store(options.out), load(options.data), time.process_time()
    for name in options.only:
        problem, titles = PROBLEMS[name]
        print(f"\n{name}: {titles}, means over seeds, and each")
        for optimiser, make in OPTIMISERS.items():
            runs = [
                store.get(f"{name} | {optimiser} | {seed}", partial(problem, data, make, seed))
                for seed in range(1 if options.quick else 3)
            ]
            figures = [*np.mean(runs, axis=0), *np.ravel(runs)]
            pairs = zip(figures[::2], figures[1::2], strict=True)
            cells = (" / ".join(map(digits_of, pair)) for pair in pairs)
            print(f"  {optimiser:12s}" + "".join(f"{cell:>18s}" for cell in cells), flush=True)
            if optimiser == OURS and name in BARS:
                most = BARS[name]
                verdict(
                    f"train at most {most[0]}, validation at most {most[1]}",
                    bool(np.all(figures[:2] <= np.array(most))),
                )
            if optimiser == OURS and name == "lora":
                worst = max(error for _, error in runs)
                verdict(f"at most {LORA_BAR:g} % test error with each seed: {worst:.1f}", worst <= LORA_BAR)
    print(f"\n{(time.process_time() - began) / 60:.0f} CPU minutes")


if __name__ == "__main__":
    main()
