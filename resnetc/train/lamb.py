"""LAMB: Adam whose step is as long, layer by layer, as the weights are (You et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LAMB(torch.optim.Optimizer):
    """You et al., arXiv 1904.00962, algorithm 2, in the form of NVIDIA's and timm's.

    Moments `m` and `v` are Adam's, corrected for their start. The direction of a parameter is
    `u = m / (sqrt(v) + eps) + weight_decay * p`, and `p = p - lr * |p| / |u| * u`; where either
    norm is 0, or the parameter does not decay, it is `p - lr * u`. Before that, all gradients
    together are shortened to an L2 norm of `clip_norm`, unless it is None. Gradients are left as
    they are, and parameters without one are left alone. Nothing here waits for the device.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        self._clip_norm = clip_norm

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        held = [[p for p in group["params"] if p.grad is not None] for group in self.param_groups]
        gradients = iter(self._clipped([p.grad for params in held for p in params]))
        for group, params in zip(self.param_groups, held, strict=True):
            if params:
                self._update(params, [next(gradients) for _ in params], group)
        return loss

    def _clipped(self, gradients: list[Tensor]) -> list[Tensor]:
        """The gradients, shortened where their joint norm is above the bound."""
        if self._clip_norm is None or not gradients:
            return gradients
        norm = torch.linalg.vector_norm(torch.stack(list(torch._foreach_norm(gradients))))
        return list(torch._foreach_div(gradients, (norm / self._clip_norm).clamp(min=1.0)))

    def _update(self, params: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        moves = self._adam(params, gradients, group)
        if group["weight_decay"]:
            torch._foreach_add_(moves, params, alpha=group["weight_decay"])
            torch._foreach_mul_(moves, _ratios(params, moves))
        torch._foreach_mul_(moves, group["lr"])
        torch._foreach_sub_(params, moves)

    def _adam(
        self, params: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        """Adam's direction for each parameter, and its moments brought up to date."""
        states = [self._held(p) for p in params]
        steps, means, squares = (
            [state[name] for state in states] for name in ("step", "exp_avg", "exp_avg_sq")
        )
        first, second = group["betas"]
        torch._foreach_add_(steps, 1.0)
        torch._foreach_lerp_(means, gradients, 1.0 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - second)
        scales = torch._foreach_div(squares, _corrections(second, steps))
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, group["eps"])
        moves = torch._foreach_div(means, _corrections(first, steps))
        torch._foreach_div_(moves, scales)
        return list(moves)

    def _held(self, parameter: Tensor) -> dict[str, Tensor]:
        """The step count, float32 [], and the moments of a parameter."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


def _corrections(beta: float, steps: list[Tensor]) -> list[Tensor]:
    """What a moment that began at 0 is short by: `1 - beta ** step`."""
    powers = torch._foreach_pow(beta, steps)
    torch._foreach_neg_(powers)
    torch._foreach_add_(powers, 1.0)
    return list(powers)


def _ratios(params: list[Tensor], moves: list[Tensor]) -> list[Tensor]:
    """By what each direction is multiplied to be as long as its parameter."""
    theirs, ours = (torch.stack(list(torch._foreach_norm(each))) for each in (params, moves))
    return list(torch.where((theirs > 0) & (ours > 0), theirs / ours, 1.0).unbind())
