"""The optimizers of recipes: SGD in the form the paper's authors ran (Caffe), and others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from resnetc.diagnostics import InternalError
from resnetc.ir import Graph
from resnetc.ops import Linear, Role
from resnetc.recipes import Lamb, Optimizer, Sgd
from resnetc.train.lamb import LAMB


class CaffeSGD(torch.optim.Optimizer):
    """`v = momentum * v + lr * (g + weight_decay * p); p = p - v`.

    The rate is inside the velocity, so that after a drop of the rate the old, larger velocity
    decays instead of shrinking at once (Caffe's solver; torch's SGD multiplies at the end).
    Gradients are used up; parameters without one are left alone.
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
        rate, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
        if _waits_for_memory(params[0].device):
            _in_one_pass(params, gradients, velocities, float(rate), momentum, decay)
            return
        if decay:
            torch._foreach_add_(gradients, params, alpha=decay)
        # By a factor, not as `alpha`: the rate may be a number that the device alone knows.
        torch._foreach_mul_(gradients, rate)
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, gradients)
        torch._foreach_sub_(params, velocities)

    def _velocity(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _waits_for_memory(device: torch.device) -> bool:
    """Whether what a step costs is reading and writing, and the host knows the rate."""
    return device.type == "cpu"


def _in_one_pass(
    params: list[Tensor],
    gradients: list[Tensor],
    velocities: list[Tensor],
    rate: float,
    momentum: float,
    decay: float,
) -> None:
    """Caffe's step by torch's own kernel, which reads and writes each number once.

    Torch's form, `v = momentum * v + (1 - dampening) * g; p = p - lr * v`, is Caffe's where `lr`
    is 1 and what dampening leaves of a gradient is the rate.
    """
    lr, dampening = (1.0, 1.0 - rate) if momentum else (rate, 0.0)
    held: list[Tensor | None] = [*velocities]
    sgd(
        params,
        gradients,
        held,
        fused=True,
        weight_decay=decay,
        momentum=momentum,
        lr=lr,
        dampening=dampening,
        nesterov=False,
        maximize=False,
    )


def make_optimizer(module: nn.Module, graph: Graph, recipe: Optimizer) -> torch.optim.Optimizer:
    """The optimizer a recipe asks for; which parameters decay is told by their roles, and of
    weights by what they belong to."""
    linear = _of_linear_layers(graph)
    decays: list[Tensor] = []
    spared: list[Tensor] = []
    for path, parameter in module.named_parameters():
        if path not in graph.parameters:
            raise InternalError(f"the module's parameter {path} is not in the graph")
        decayed = _decays(graph.parameters[path].role, recipe)
        decayed = decayed and (recipe.decay_linear or path not in linear)
        (decays if decayed else spared).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decays, "weight_decay": recipe.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return _made([group for group in groups if group["params"]], recipe)


def _made(groups: list[dict[str, Any]], recipe: Optimizer) -> torch.optim.Optimizer:
    """The optimizer over these groups of parameters."""
    if isinstance(recipe, Sgd):
        if recipe.form == "caffe":
            return CaffeSGD(groups, lr=recipe.lr, momentum=recipe.momentum)
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, fused=True)
    betas = recipe.beta1, recipe.beta2
    if isinstance(recipe, Lamb):
        return LAMB(groups, recipe.lr, betas, recipe.eps, clip_norm=recipe.clip_norm)
    # Its count of steps is on the device then, so that a step can be captured in a CUDA graph.
    return torch.optim.AdamW(groups, recipe.lr, betas, recipe.eps, fused=True)


def _of_linear_layers(graph: Graph) -> set[str]:
    """The paths of linear layers' weights."""
    return {
        parameter.path
        for node in graph
        if isinstance(node.op, Linear)
        for parameter in node.parameters
        if parameter.role is Role.WEIGHT
    }


def _decays(role: Role, recipe: Optimizer) -> bool:
    if role in (Role.SCALE, Role.SHIFT):
        return recipe.decay_norm
    return recipe.decay_bias if role is Role.BIAS else True


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of every group."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def rate_on(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Keep the rate on a device, where a step that is replayed finds it."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)


_VELOCITY = "momentum_buffer"
"""What is kept under the parameter's path alone; the rest of an optimizer's state is kept as
`exp_avg/PATH`, and no path holds a slash."""


def state_by_path(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's velocities, moments and counts, named by their parameters' paths."""
    return {
        path if name == _VELOCITY else f"{name}/{path}": tensor
        for path, parameter in module.named_parameters()
        for name, tensor in optimizer.state.get(parameter, {}).items()
        if isinstance(tensor, Tensor)
    }


def load_state(
    module: nn.Module, optimizer: torch.optim.Optimizer, kept: Mapping[str, Tensor]
) -> None:
    """Put back what `state_by_path` gave."""
    parameters = dict(module.named_parameters())
    for key, tensor in kept.items():
        name, _, path = key.rpartition("/")
        parameter = parameters[path]
        # A moment lies in memory as its parameter does; a count has a shape of its own.
        like = parameter if tensor.shape == parameter.shape else tensor
        held = torch.empty_like(like, dtype=tensor.dtype, device=parameter.device)
        optimizer.state[parameter][name or _VELOCITY] = held.copy_(tensor)
