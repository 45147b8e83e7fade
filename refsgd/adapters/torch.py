"""For PyTorch: a monitor of the gradients of a model, and vSGD as an optimiser.

Both work in CPU memory: they copy gradients from other devices, and `VSGD` needs its parameters on the CPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import sgd
from .._config import BackendName
from .._errors import NumericalWarning, message
from ..directional import DirectionMonitor

DTYPES = {torch.float32: np.float32, torch.float64: np.float64}


class Watch:
    """What `watch` returns: a handle, and a context manager that removes the monitor at the end.

    Parameters
    ----------
    model : torch.nn.Module
        The model whose gradients to watch.
    optimizer : torch.optim.Optimizer
        The optimiser whose steps to watch.
    monitor : DirectionMonitor
        Its groups are the parameters of the model, by name.

    See Also
    --------
    watch : makes one, with an example.
    """

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, monitor: DirectionMonitor):
        self.monitor = monitor
        self._parameters = dict(model.named_parameters())
        self._hook = optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        try:
            self.monitor.update(self._parameters)
        except ValueError as error:  # a watcher must not end the training
            warnings.warn(f"the monitor left a step out: {error}", NumericalWarning, stacklevel=2)

    def remove(self) -> None:
        """Stop watching; the monitor keeps its history."""
        self._hook.remove()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def watch(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, monitor: DirectionMonitor | None = None
) -> Watch:
    """Feed a monitor, layer by layer, with the gradients that an optimiser steps with.

    The monitor reads them when ``optimizer.step()`` begins. So several backward passes that add up to one
    minibatch count once, clipped and unscaled as the optimiser sees them; a hook on backward passes would see
    parts of sums. An optimiser that takes a closure has no gradients yet at that time: call
    ``monitor.update(dict(model.named_parameters()))`` in the closure instead. A gradient that is not finite
    is skipped with a `NumericalWarning`.

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters are the groups. One whose ``.grad`` is None counts as having a zero gradient.
    optimizer : torch.optim.Optimizer
        The optimiser whose steps to watch.
    monitor : DirectionMonitor, optional
        A new one by default.

    Returns
    -------
    Watch
        Has the ``monitor`` and ``remove()``; ``with watch(...) as watched:`` removes it at the end.

    See Also
    --------
    refsgd.DirectionMonitor : what it records.

    Examples
    --------
    >>> model = torch.nn.Linear(3, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with watch(model, optimizer, DirectionMonitor(every=5)) as watched:
    ...     for _ in range(10):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(4, 3)).square().mean().backward()
    ...         optimizer.step()
    >>> watched.monitor.history[["step", "group"]].tolist()[:3]
    [(5, ''), (5, 'weight'), (5, 'bias')]
    """
    return Watch(model, optimizer, DirectionMonitor() if monitor is None else monitor)


class VSGD(torch.optim.Optimizer):
    """`refsgd.VSGD` as an optimiser of PyTorch: no learning rate.

    A step calls the closure at the parameters and, about once in fifteen steps, again at a second point, on
    the same minibatch. A tensor takes part from its first gradient that is not all zero.

    Parameters
    ----------
    params : iterable of torch.nn.Parameter
        All float32 or all float64, on the CPU.
    rule : refsgd.VSGD, optional
        ``refsgd.VSGD()`` by default; its weighting must be ``"dense"``.
    backend : str, optional
        ``"c"``, ``"numba"``, ``"numpy"`` or ``"auto"``; by default as `refsgd.use_backend` says.

    See Also
    --------
    refsgd.VSGD : the rule.
    watch : monitors the gradients of any optimiser.

    Examples
    --------
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = VSGD(model.parameters())
    >>> for _ in range(300):
    ...     x = torch.randn(10, 3)
    ...     def closure():
    ...         optimizer.zero_grad()
    ...         loss = (model(x) - x.sum(dim=1, keepdim=True)).square().mean()
    ...         loss.backward()
    ...         return loss
    ...     loss = optimizer.step(closure)
    >>> bool(loss < 0.01)
    True
    """

    def __init__(
        self, params: Iterable[Any], rule: sgd.VSGD | None = None, backend: BackendName | None = None
    ):
        rule = sgd.VSGD() if rule is None else rule
        if not isinstance(rule, sgd.VSGD) or rule.weighting != "dense":
            must, remedy = "be a refsgd.VSGD with weighting='dense'", "pass refsgd.VSGD()"
            raise ValueError(message("rule", must, rule, remedy))
        super().__init__(params, {})
        parameters = self._parameters()
        if len(dtypes := {p.dtype for p in parameters}) > 1 or not dtypes <= DTYPES.keys():
            names = ", ".join(sorted(map(str, dtypes)))
            raise TypeError(message("params", "be all float32 or all float64", names, "convert the model"))
        if devices := {p.device.type for p in parameters} - {"cpu"}:
            raise ValueError(message("params", "be on the CPU", sorted(devices), "call model.cpu()"))
        x0 = np.concatenate([p.detach().numpy().ravel() for p in parameters])
        sizes = [p.numel() for p in parameters if p.numel()]
        self._run = rule.start(x0, groups=sizes, backend=backend)
        self._x_parts = self._views(self._run.x)
        self._grad = x0  # a run copies the first gradient of a minibatch if there is to be a second
        self._grad_parts = self._views(self._grad)

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [p for group in self.param_groups for p in group["params"]]

    def _views(self, flat: NDArray[Any]) -> list[torch.Tensor]:
        """A flat array as tensors in the shapes of the parameters, which share its memory."""
        parameters = self._parameters()
        parts = torch.from_numpy(flat).split([p.numel() for p in parameters])
        return [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]

    @torch.no_grad()
    def _gather(self) -> None:
        for part, p in zip(self._x_parts, self._parameters(), strict=True):
            part.copy_(p)

    @torch.no_grad()
    def _scatter(self, parts: list[torch.Tensor]) -> None:
        for part, p in zip(parts, self._parameters(), strict=True):
            p.copy_(part)

    def _gradient(self) -> NDArray[Any]:
        for part, p in zip(self._grad_parts, self._parameters(), strict=True):
            if p.grad is None:
                part.zero_()
            else:
                part.copy_(p.grad.detach())
        return self._grad

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step. It picks up any parameter changes made since the last one.

        Parameters
        ----------
        closure : callable
            Clears gradients, evaluates the loss of one minibatch, calls ``backward`` and returns the loss.
            It must use the same samples both times when a step calls it twice.

        Returns
        -------
        loss
            What ``closure`` returned at the parameters before the step.

        Raises
        ------
        TypeError
            If there is no closure.
        FloatingPointError
            If a gradient is not finite; the parameters are then as before.
        """
        if closure is None:
            remedy = "wrap zero_grad, loss and backward in a function and pass it"
            raise TypeError(message("closure", "be given", None, remedy))
        run = self._run
        self._gather()
        try:
            loss = self._tell(closure)
            if run.is_open:
                self._scatter(self._views(run.ask()))
                self._tell(closure)
        except BaseException:
            run.close()
            raise
        finally:
            self._scatter(self._x_parts)
        return loss

    def _tell(self, closure: Callable[[], Any]) -> Any:
        with torch.enable_grad():
            loss = closure()
        self._run.tell(self._gradient())
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse parameters that come later: a run has a fixed number of them."""
        if hasattr(self, "_run"):
            remedy = "start another optimiser"
            raise ValueError(message("param_group", "be given at the start", "one later", remedy))
        super().add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """As in `torch.optim.Optimizer`, with the run as tensors and plain values under ``"run"``."""
        run = {
            name: torch.from_numpy(value) if value.ndim else value.item()
            for name, value in self._run.state_dict().items()
        }
        return super().state_dict() | {"run": run}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict`, bit for bit if the model has the parameters of that time too.

        Raises
        ------
        ValueError
            If it is from another rule or number of parameters.
        """
        self._run.load_state_dict({name: np.asarray(value) for name, value in state_dict["run"].items()})
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "run"})
