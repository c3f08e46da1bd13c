"""SGD with momentum, in the form the paper's authors ran (Caffe) and in torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from resnetc.diagnostics import InternalError
from resnetc.ir import Graph
from resnetc.ops import Role
from resnetc.recipes import Sgd


class CaffeSGD(torch.optim.Optimizer):
    """`v = momentum * v + lr * (g + weight_decay * p); p = p - v`.

    The rate is inside the velocity, so that after a drop of the rate the old, larger velocity
    decays instead of shrinking at once (Caffe's solver; torch's SGD multiplies at the end).
    Parameters without a gradient are left alone.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            held = [p for p in group["params"] if p.grad is not None]
            if held:
                self._update(held, group)
        return loss

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        velocities = [self._velocity(p) for p in params]
        gradients: list[Tensor] = [p.grad for p in params if p.grad is not None]
        torch._foreach_mul_(velocities, group["momentum"])
        if group["weight_decay"]:
            torch._foreach_add_(velocities, params, alpha=group["lr"] * group["weight_decay"])
        torch._foreach_add_(velocities, gradients, alpha=group["lr"])
        torch._foreach_sub_(params, velocities)

    def _velocity(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def make_optimizer(module: nn.Module, graph: Graph, recipe: Sgd) -> torch.optim.Optimizer:
    """The optimizer a recipe asks for; which parameters decay is told by their roles."""
    decays: list[Tensor] = []
    spared: list[Tensor] = []
    for path, parameter in module.named_parameters():
        if path not in graph.parameters:
            raise InternalError(f"the module's parameter {path} is not in the graph")
        (decays if _decays(graph.parameters[path].role, recipe) else spared).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decays, "weight_decay": recipe.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.form == "caffe":
        return CaffeSGD(groups, lr=recipe.lr, momentum=recipe.momentum)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, foreach=True)


def _decays(role: Role, recipe: Sgd) -> bool:
    if role in (Role.SCALE, Role.SHIFT):
        return recipe.decay_norm
    return recipe.decay_bias if role is Role.BIAS else True


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def momentum_by_path(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The velocities, named by their parameters' paths."""
    held = ((path, optimizer.state.get(p, {})) for path, p in module.named_parameters())
    return {path: s["momentum_buffer"] for path, s in held if s.get("momentum_buffer") is not None}


def load_momentum(
    module: nn.Module, optimizer: torch.optim.Optimizer, velocities: Mapping[str, Tensor]
) -> None:
    """Put back what `momentum_by_path` gave."""
    for path, parameter in module.named_parameters():
        if path in velocities:
            buffer = torch.empty_like(parameter).copy_(velocities[path])
            optimizer.state[parameter]["momentum_buffer"] = buffer
