"""What `quality.py` compares with refsgd: optimisers at the defaults of their packages, behind one form.

Parameters are one flat vector and so one tensor of PyTorch. For all of these that makes no difference: each
entry counts alone, or norms are taken over all tensors together. (LDoG takes them tensor by tensor.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import peers
import torch
from networks import Task
from numpy.typing import NDArray

import refsgd

torch.set_num_threads(1)

Array = NDArray[np.float32]


class Course:
    """A training under way: what the loop of a comparison drives, one gradient at a time."""

    name: str
    is_open = False  # whether the next gradient has to be of the same minibatch

    def evaluate(self, task: Task, X: Array, y: NDArray[np.int64]) -> None:
        """Evaluate one gradient of a minibatch and take it in; FloatingPointError where it is not finite."""
        raise NotImplementedError

    def iterates(self) -> dict[str, Array]:
        """What this optimiser would give as its result by now; by the name of the row in the tables."""
        raise NotImplementedError


class Ours(Course):
    """A run of refsgd, which may ask for a second gradient of the same minibatch."""

    def __init__(self, x0: Array, name: str) -> None:
        self.run = refsgd.VSGD(average=True).start(x0)
        self.name = name

    @property
    def is_open(self) -> bool:  # type: ignore[override]
        return bool(self.run.is_open)

    def evaluate(self, task: Task, X: Array, y: NDArray[np.int64]) -> None:
        self.run.tell(task.gradient(self.run.ask(), X, y)[1])

    def iterates(self) -> dict[str, Array]:
        return {self.name: self.run.x, f"{self.name}, averaged": self.run.x_avg}


class Published(Course):
    """The rule as published, which needs the mean square over samples too."""

    def __init__(self, x0: Array, name: str) -> None:
        self.run = refsgd.PublishedVSGD().start(x0)
        self.name = name

    @property
    def is_open(self) -> bool:  # type: ignore[override]
        return bool(self.run.is_open)

    def evaluate(self, task: Task, X: Array, y: NDArray[np.int64]) -> None:
        self.run.tell(task.model.moments(self.run.ask(), X, y, squares=not self.run.is_open))

    def iterates(self) -> dict[str, Array]:
        return {self.name: self.run.x}


class Torch(Course):
    """An optimiser of PyTorch on a flat vector."""

    def __init__(self, make: Callable[[list[Any]], Any], x0: Array, name: str) -> None:
        self.parameter = torch.nn.Parameter(torch.from_numpy(x0.copy()))
        self.optimizer = make([self.parameter])
        self.name = name

    @property
    def x(self) -> Array:
        x: Array = self.parameter.detach().numpy()
        return x

    def evaluate(self, task: Task, X: Array, y: NDArray[np.int64]) -> None:
        loss, gradient = task.gradient(self.x, X, y)
        if not math.isfinite(loss):
            raise FloatingPointError("the loss is not finite")
        self.parameter.grad = torch.from_numpy(gradient)
        self.step(loss)

    def step(self, loss: float) -> None:
        self.optimizer.step()

    def iterates(self) -> dict[str, Array]:
        return {self.name: self.x}


class Averaged(Torch):
    """DoG, whose authors say that its iterates have to be averaged, by the averager of its package."""

    def __init__(self, make: Callable[[list[Any]], Any], x0: Array, name: str) -> None:
        from dog import PolynomialDecayAverager

        super().__init__(make, x0, name)
        self.averager = PolynomialDecayAverager(torch.nn.ParameterList([self.parameter]))

    def step(self, loss: float) -> None:
        super().step(loss)
        self.averager.step()

    def iterates(self) -> dict[str, Array]:
        (average,) = self.averager.averaged_model.parameters()
        return {self.name: self.x, f"{self.name}, averaged": average.detach().numpy()}


class WithLoss(Torch):
    """MoMo, whose step needs the loss."""

    def step(self, loss: float) -> None:
        self.optimizer.step(loss=torch.tensor(loss))


class ScheduleFree(Torch):
    """Its result is another point than that of its gradients, and it has to be switched between the two."""

    def __init__(self, make: Callable[[list[Any]], Any], x0: Array, name: str) -> None:
        super().__init__(make, x0, name)
        self.optimizer.train()

    def iterates(self) -> dict[str, Array]:
        of_gradients = self.x.copy()
        self.optimizer.eval()
        result = self.x.copy()
        self.optimizer.train()
        return {self.name: result, f"{self.name}, train mode": of_gradients}


def sgd(rate: float) -> Callable[[list[Any]], Any]:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, fused=True)


def adam(rate: float) -> Callable[[list[Any]], Any]:
    return lambda parameters: torch.optim.Adam(parameters, lr=rate, fused=True)


def adamw(parameters: list[Any]) -> Any:
    return torch.optim.AdamW(parameters, fused=True)


Start = Callable[[Array], Any]

OURS, ADAM = "refsgd", "Adam 1e-3"

#: Name -> what begins a run at a point.
DEFAULTS: dict[str, Start] = {
    OURS: lambda x0: Ours(x0, OURS),
    ADAM: lambda x0: Torch(adam(1e-3), x0, ADAM),
    "AdamW": lambda x0: Torch(adamw, x0, "AdamW"),
    "Prodigy": lambda x0: Torch(peers.prodigy, x0, "Prodigy"),
    "ScheduleFree": lambda x0: ScheduleFree(peers.schedule_free, x0, "ScheduleFree"),
    "DoG": lambda x0: Averaged(peers.dog, x0, "DoG"),
    "MoMo": lambda x0: WithLoss(peers.momo, x0, "MoMo"),
    "MoMo-Adam": lambda x0: WithLoss(peers.momo_adam, x0, "MoMo-Adam"),
    "D-Adaptation": lambda x0: Torch(peers.d_adaptation, x0, "D-Adaptation"),
    "published": lambda x0: Published(x0, "published"),
}

#: Rates a third of a decade apart.
RATES = {
    "SGD": [10 ** (k / 3) for k in range(-9, 4)],
    "Adam": [10 ** (k / 3) for k in range(-15, -2)],
}
GRID_MAKERS = {"SGD": sgd, "Adam": adam}


def on_grid(family: str, rate: float) -> str:
    """The name of SGD or Adam with that rate."""
    return f"{family} at {rate:.3g}"


def grid(family: str, step: int = 1) -> dict[str, Start]:
    """Name -> start, for every ``step``-th rate."""

    def starter(name: str, rate: float) -> Start:
        return lambda x0: Torch(GRID_MAKERS[family](rate), x0, name)

    names = {on_grid(family, rate): rate for rate in RATES[family][::step]}
    return {name: starter(name, rate) for name, rate in names.items()}
