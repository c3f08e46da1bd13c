"""A naive interpreter of graphs in torch, also for training: node by node, out of place."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetc.ir import Graph, Node


def random_state(graph: Graph, seed: int = 0) -> dict[str, Tensor]:
    """A float64 state_dict in which nothing is 0 or 1 by default: no term can go missing."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for path, parameter in graph.parameters.items():
        shape = parameter.type.shape
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        match parameter.role.value:
            case "weight":
                drawn /= math.sqrt(max(1, math.prod(shape[1:])))
            case "scale":
                drawn = 1 + 0.2 * drawn
            case "variance":
                drawn = 0.3 + drawn.abs()
            case "counter":
                drawn = torch.tensor(3)
            case _:
                drawn *= 0.3
        state[path] = drawn
    return state


def interpret(
    graph: Graph, state: Mapping[str, Tensor], inputs: tuple[Tensor, ...], *, training: bool
) -> dict[str, Tensor]:
    """Outputs by name. In training, running statistics in `state` are updated, and the auxiliary
    outputs come behind the others."""
    values = {node.id: tensor for node, tensor in zip(graph.inputs, inputs, strict=True)}
    wanted = {**graph.outputs, **graph.aux} if training else graph.outputs
    needed = set(wanted.values())
    for node in reversed(list(graph)):
        needed.update(node.inputs if node.id in needed else ())
    for node in graph:
        if node.op.name != "input" and node.id in needed:
            held = [state[parameter.path] for parameter in node.parameters]
            operands = [values[operand] for operand in node.inputs]
            values[node.id] = _apply(node, operands, held, training)
    return {name: values[node_id] for name, node_id in wanted.items()}


def _apply(node: Node, operands: list[Tensor], held: list[Tensor], training: bool) -> Tensor:
    op, x = node.op, operands[0]
    match op.name:
        case "conv2d":
            bias = held[1] if op.bias else None
            return F.conv2d(x, held[0], bias, op.stride, op.pad, op.dilation, op.groups)
        case "ws_conv2d":
            filters = held[0].flatten(1)
            centred = filters - filters.mean(1, keepdim=True)
            variance = (centred**2).mean(1, keepdim=True)
            weight = (centred / (variance + op.eps) ** 0.5).reshape(held[0].shape)
            bias = held[1] if op.bias else None
            return F.conv2d(x, weight, bias, op.stride, op.pad, op.dilation, op.groups)
        case "conv_transpose2d":
            return _conv_transpose(op, x, *held)
        case "conv1d_channels":
            reach = op.kernel // 2
            line = F.pad(x.flatten(1), (reach, reach))
            taps = [held[0][0, 0, i] * line[:, i : i + x.shape[1]] for i in range(op.kernel)]
            return sum(taps).reshape(x.shape)
        case "linear":
            return F.linear(x, *held)
        case "pixel_linear":
            summed = torch.einsum("oc,nchw->nohw", held[0], x)
            return summed + held[1].reshape(-1, 1, 1) if op.bias else summed
        case "batchnorm":
            return _batch_norm(op, x, held, training)
        case "channel_affine":
            return x * held[0].reshape(-1, 1, 1) + held[1].reshape(-1, 1, 1)
        case "layernorm" | "pixel_layernorm":
            axes = (-1, *[1] * (x.ndim - 2))
            return _standard(x, 1, op.eps) * held[0].reshape(axes) + held[1].reshape(axes)
        case "groupnorm":
            groups = x.reshape(x.shape[0], op.groups, -1)
            normed = _standard(groups, 2, op.eps).reshape(x.shape)
            return normed * held[0].reshape(-1, 1, 1) + held[1].reshape(-1, 1, 1)
        case "channel_scale":
            return x * held[0]
        case "affine":
            axes = (-1, *[1] * (x.ndim - 2))
            return x * x.new_tensor(op.scale).reshape(axes) + x.new_tensor(op.shift).reshape(axes)
        case "relu":
            return torch.where(x > 0, x, torch.zeros_like(x))
        case "relu6":
            return torch.where((x > 0) & (x < 6), x, x.detach().clamp(0, 6))
        case "leaky_relu":
            return torch.where(x > 0, x, op.slope * x)
        case "silu":
            return x / (1 + _exp(-x))
        case "gelu":
            return x * (1 + torch.erf(x / math.sqrt(2))) / 2
        case "hardswish":
            return x * (x + 3).clamp(0, 6) / 6
        case "hardsigmoid":
            return (x + 3).clamp(0, 6) / 6
        case "sigmoid":
            return 1 / (1 + _exp(-x))
        case "tanh":
            return 1 - 2 / (_exp(2 * x) + 1)
        case "softmax":
            exps = torch.exp(x - x.detach().amax(1, keepdim=True))
            return exps / exps.sum(1, keepdim=True)
        case "radix_softmax":
            return _radix_softmax(op, x)
        case "identity":
            return x
        case "dropout":
            return F.dropout(x, op.p, training)
        case "drop_path":
            assert not training or op.p in (0, 1), "what is random cannot be compared"
            return x * 0 if training and op.p else x
        case "maxpool":
            return F.max_pool2d(x, op.kernel, op.stride, op.pad, ceil_mode=op.ceil)
        case "avgpool":
            return F.avg_pool2d(x, op.kernel, op.stride, op.pad, op.ceil, op.count_pad)
        case "adaptive_avgpool":
            return _windows_mean(op, x)
        case "blur_pool":
            return _blur_pool(op, x)
        case "upsample" | "resize":
            return _resize(x, op.mode, node.type.shape[1:])
        case "gap":
            return x.mean((2, 3), keepdim=True)
        case "flatten":
            return x.reshape(x.shape[0], -1)
        case "subsample":
            rows = torch.arange(0, x.shape[2], op.stride[0])
            return x[:, :, rows][:, :, :, torch.arange(0, x.shape[3], op.stride[1])]
        case "pad":
            height, width = x.shape[2:]
            y = x.new_full((*x.shape[:2], height + 2 * op.by[0], width + 2 * op.by[1]), op.value)
            rows = torch.slice_scatter(
                y[:, :, op.by[0] : op.by[0] + height], x, 3, op.by[1], op.by[1] + width
            )
            return torch.slice_scatter(y, rows, 2, op.by[0], op.by[0] + height)
        case "slice_channels":
            return x[:, torch.arange(op.start, op.stop)]
        case "channel_shuffle":
            columns = x.chunk(op.groups, 1)
            places = x.shape[1] // op.groups
            return torch.stack([c[:, i] for i in range(places) for c in columns], 1)
        case "pad_channels":
            y = x.new_zeros(x.shape[0], op.to, *x.shape[2:])
            return torch.slice_scatter(y, x, 1, op.before, op.before + x.shape[1])
        case "add":
            return sum(operands[1:], start=x)
        case "mul":
            return math.prod(operands[1:], start=x)
        case "concat":
            return torch.cat(operands, 1)
    raise AssertionError(op.name)


def _standard(x: Tensor, axis: int, eps: float) -> Tensor:
    """Mean 0 and variance 1 along an axis."""
    centred = x - x.mean(axis, keepdim=True)
    return centred / ((centred**2).mean(axis, keepdim=True) + eps) ** 0.5


def _conv_transpose(op: object, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Every input pixel adds its multiple of the filter; the edges are cut off at last."""
    batch, channels, height, width = x.shape
    high, wide = (
        (n - 1) * s + k for n, s, k in zip((height, width), op.stride, op.kernel, strict=True)
    )
    groups = x.reshape(batch, op.groups, channels // op.groups, height, width)
    filters = weight.reshape(op.groups, channels // op.groups, -1, *op.kernel)
    added = torch.einsum("ngihw,giokl->ngohwkl", groups, filters).flatten(1, 2)
    y = x.new_zeros(batch, op.out_channels, high, wide)
    for row in range(height):
        for column in range(width):
            top, left = row * op.stride[0], column * op.stride[1]
            edges = (left, wide - left - op.kernel[1], top, high - top - op.kernel[0])
            y = y + F.pad(added[:, :, row, column], edges)
    y = y[:, :, op.pad[0] : high - op.pad[0], op.pad[1] : wide - op.pad[1]]
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def _exp(x: Tensor) -> Tensor:
    """exp, held below what overflows: nothing that is summed with 1 tells the difference."""
    return torch.exp(x.clamp(max=300))


def _radix_softmax(op: object, x: Tensor) -> Tensor:
    if op.radix == 1:
        return 1 / (1 + _exp(-x))
    each = x.shape[1] // (op.radix * op.groups)
    flat = x.flatten(1)
    exps = torch.exp(flat - flat.detach().amax(1, keepdim=True))
    found = []
    for split in range(op.radix):
        for group in range(op.groups):
            for place in range(each):
                at = [(group * op.radix + r) * each + place for r in range(op.radix)]
                found.append(exps[:, at[split]] / exps[:, at].sum(1))
    return torch.stack(found, 1).reshape(x.shape)


def _windows_mean(op: object, x: Tensor) -> Tensor:
    """The mean of every window by itself."""
    height, width = x.shape[2:]
    rows = []
    for i in range(op.to[0]):
        top, bottom = i * height // op.to[0], math.ceil((i + 1) * height / op.to[0])
        row = []
        for j in range(op.to[1]):
            left, right = j * width // op.to[1], math.ceil((j + 1) * width / op.to[1])
            row.append(x[:, :, top:bottom, left:right].mean((2, 3)))
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def _blur_pool(op: object, x: Tensor) -> Tensor:
    """Averages of neighbours, again and again, make the binomial filter."""
    for axis in (2, 3):
        pad = (op.stride[axis - 2] - 1 + op.kernel - 1) // 2
        size = x.shape[axis]
        reflected = [abs(i) for i in range(-pad, size)] + [size - 2 - i for i in range(pad)]
        x = x.index_select(axis, torch.tensor(reflected))
        for _ in range(op.kernel - 1):
            x = (x.narrow(axis, 0, x.shape[axis] - 1) + x.narrow(axis, 1, x.shape[axis] - 1)) / 2
        x = x.index_select(axis, torch.arange(0, x.shape[axis], op.stride[axis - 2]))
    return x


def _resize(x: Tensor, mode: str, size: tuple[int, ...]) -> Tensor:
    for axis, after in zip((2, 3), size, strict=True):
        before = x.shape[axis]
        if mode == "nearest":
            chosen = [i * before // after for i in range(after)]
            x = x.index_select(axis, torch.tensor(chosen))
            continue
        places = [max(0.0, (i + 0.5) * before / after - 0.5) for i in range(after)]
        first = torch.tensor([int(place) for place in places])
        second = (first + 1).clamp(max=before - 1)
        share = x.new_tensor([place % 1 for place in places])
        share = share.reshape((-1, 1) if axis == 2 else (-1,))
        x = x.index_select(axis, first) * (1 - share) + x.index_select(axis, second) * share
    return x


def _batch_norm(op: object, x: Tensor, held: list[Tensor], training: bool) -> Tensor:
    scale, shift, mean, variance, counter = held
    if training:
        count = x.numel() // x.shape[1]
        m, v = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        with torch.no_grad():
            mean.lerp_(m, op.momentum)
            variance.lerp_(v * count / (count - 1), op.momentum)
            counter += 1
    else:
        m, v = mean, variance
    m, v, scale, shift = (t[:, None, None] for t in (m, v, scale, shift))
    return (x - m) / torch.sqrt(v + op.eps) * scale + shift


def seeded_inputs(graph: Graph, batch: int = 2, seed: int = 1) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(batch, *node.type.shape, generator=generator, dtype=torch.float64)
        for node in graph.inputs
    )


def assert_close(found: Tensor, expected: Tensor, what: str = "", tolerance: float = 1e-9) -> None:
    """Equal to float rounding: relative to the largest number of the tensor."""
    assert found.shape == expected.shape, what
    scale = expected.abs().max().item() if expected.numel() else 0
    error = (found - expected).abs().max().item() if expected.numel() else 0
    assert error <= tolerance * max(scale, 1e-6), f"{what}: off by {error} of {scale}"


def assert_same_training(
    graph: Graph, module: nn.Module, *, batch: int = 3, tolerance: float = 1e-9
) -> None:
    """The module computes what the graph says: outputs, gradients and statistics, in both modes.

    Everything is compared with the interpreter, in float64. Norms over few numbers have steep
    gradients: they want a wider tolerance.
    """
    state = random_state(graph)
    assert sorted(module.state_dict()) == sorted(state)
    module = module.double()
    module.load_state_dict(state, strict=True)
    for training in (False, True):
        module.train(training)
        mine = tuple(t.clone().requires_grad_() for t in seeded_inputs(graph, batch))
        theirs = tuple(t.clone().requires_grad_() for t in seeded_inputs(graph, batch))
        names = [p for p, tensor in module.named_parameters()]
        for name in names:
            state[name] = state[name].detach().requires_grad_()
        found = module(*mine)
        found = found if isinstance(found, dict) else dict.fromkeys(graph.outputs, found)
        expected = interpret(graph, state, theirs, training=training)
        assert list(found) == list(expected)
        for place, name in enumerate(expected):
            assert_close(found[name], expected[name], f"output {name}", tolerance)
            assert torch.equal(mine[0], theirs[0]), "an input was overwritten"
            # Unlike weights for unlike outputs, so that none can stand in for another.
            weight = torch.randn(
                expected[name].shape, generator=torch.Generator().manual_seed(place)
            ).double()
            expected[name] = (expected[name] * weight).sum()
            found[name] = (found[name] * weight).sum()
        _assert_same_gradients(module, found, mine, expected, theirs, state, tolerance)
        for name, buffer in module.named_buffers():
            assert_close(buffer.double(), state[name].double(), f"buffer {name}", tolerance)


def _assert_same_gradients(
    module: nn.Module,
    found: dict[str, Tensor],
    mine: tuple[Tensor, ...],
    expected: dict[str, Tensor],
    theirs: tuple[Tensor, ...],
    state: Mapping[str, Tensor],
    tolerance: float,
) -> None:
    named = dict(module.named_parameters())
    sources = [*mine, *named.values()]
    references = [*theirs, *(state[name] for name in named)]
    a = torch.autograd.grad(sum(found.values()), sources, allow_unused=True)
    b = torch.autograd.grad(sum(expected.values()), references, allow_unused=True)
    names = [f"input {i}" for i in range(len(mine))] + list(named)
    largest = max((t.abs().max().item() for t in b if t is not None and t.numel()), default=1)
    # What is zero but for rounding, as the gradient of a bias before a norm, is noise on the scale
    # of the larger ones it is the difference of.
    floor = max(1e-2 * largest, 1e-6)
    for name, x, y in zip(names, a, b, strict=True):
        x, y = (torch.zeros(()) if t is None else t for t in (x, y))
        error = (x - y).abs().max().item()
        scale = max(y.abs().max().item(), floor)
        assert error <= tolerance * scale, f"gradient of {name}: off by {error} of {scale}"
