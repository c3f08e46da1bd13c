"""What a graph means, computed the slow way: node by node, in float64, with torch's functions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from small_graphs import some_weights

from resnetc.ir import Graph, Node
from resnetc.ops import Role
from resnetc.shapes import DType

# These tensors are tiny: handing them to a second thread costs a thousand times the arithmetic.
torch.set_num_threads(1)


def evaluate(
    graph: Graph, weights: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Outputs by name, in inference mode. Casts are ignored: this is the exact meaning."""
    values: dict[int, torch.Tensor] = {}
    for node in graph:
        operands = [values[operand] for operand in node.inputs]
        if node.op.name == "input":
            operands = [torch.from_numpy(np.asarray(inputs[node.name], np.float64))]
        values[node.id] = _apply(node, operands, weights)
    return {name: values[node_id].numpy() for name, node_id in graph.outputs.items()}


def _apply(
    node: Node, operands: list[torch.Tensor], weights: Mapping[str, np.ndarray]
) -> torch.Tensor:
    held = {
        p.role: torch.from_numpy(np.asarray(p.value.evaluate(weights), np.float64))
        for p in node.parameters
    }
    op, x = node.op, operands[0]
    match op.name:
        case "input" | "identity" | "dropout" | "drop_path" | "cast":
            return x
        case "quantize" if op.to is DType.F8:
            scaled = (x / op.scale).clamp(-448, 448)
            return scaled.float().to(torch.float8_e4m3fn).double()
        case "quantize":
            low, high = {DType.I8: (-128, 127), DType.U8: (0, 255)}[op.to]
            return ((x / op.scale).round() + op.zero_point).clamp(low, high)
        case "dequantize":
            return (x - op.zero_point) * op.scale
        case "conv2d":
            bias = held.get(Role.BIAS)
            return F.conv2d(x, held[Role.WEIGHT], bias, op.stride, op.pad, op.dilation, op.groups)
        case "ws_conv2d":
            weight, bias = held[Role.WEIGHT], held.get(Role.BIAS)
            normed = F.layer_norm(weight, weight.shape[1:], eps=op.eps)
            return F.conv2d(x, normed, bias, op.stride, op.pad, op.dilation, op.groups)
        case "conv_transpose2d":
            bias = held.get(Role.BIAS)
            weight = held[Role.WEIGHT]
            return F.conv_transpose2d(x, weight, bias, op.stride, op.pad, groups=op.groups)
        case "conv1d_channels":
            line = x.flatten(1)[:, None]
            return F.conv1d(line, held[Role.WEIGHT], padding="same").reshape(x.shape)
        case "pixel_linear":
            last = F.linear(x.movedim(1, -1), held[Role.WEIGHT], held.get(Role.BIAS))
            return last.movedim(-1, 1)
        case "linear":
            return F.linear(x, held[Role.WEIGHT], held.get(Role.BIAS))
        case "batchnorm":
            mean, variance = held[Role.MEAN], held[Role.VARIANCE]
            return F.batch_norm(x, mean, variance, held[Role.SCALE], held[Role.SHIFT], eps=op.eps)
        case "channel_affine":
            scale, shift = held[Role.SCALE][:, None, None], held[Role.SHIFT][:, None, None]
            return x * scale + shift
        case "layernorm" | "pixel_layernorm":
            last = x.movedim(1, -1)
            scale, shift = held[Role.SCALE], held[Role.SHIFT]
            return F.layer_norm(last, last.shape[-1:], scale, shift, op.eps).movedim(-1, 1)
        case "groupnorm":
            return F.group_norm(x, op.groups, held[Role.SCALE], held[Role.SHIFT], op.eps)
        case "channel_scale":
            return x * held[Role.SCALE]
        case "affine":
            axes = (-1, *[1] * (x.ndim - 2))
            return x * x.new_tensor(op.scale).reshape(axes) + x.new_tensor(op.shift).reshape(axes)
        case "relu6" | "silu" | "gelu" | "hardswish" | "hardsigmoid" | "tanh":
            return getattr(F, op.name)(x)
        case "leaky_relu":
            return F.leaky_relu(x, op.slope)
        case "softmax":
            return F.softmax(x, 1)
        case "radix_softmax":
            if op.radix == 1:
                return torch.sigmoid(x)
            splits = x.reshape(x.shape[0], op.groups, op.radix, -1)
            return F.softmax(splits, 2).movedim(2, 1).reshape(x.shape)
        case "relu":
            return F.relu(x)
        case "sigmoid":
            return torch.sigmoid(x)
        case "maxpool":
            return F.max_pool2d(x, op.kernel, op.stride, op.pad, ceil_mode=op.ceil)
        case "avgpool":
            return F.avg_pool2d(x, op.kernel, op.stride, op.pad, op.ceil, op.count_pad)
        case "adaptive_avgpool":
            return F.adaptive_avg_pool2d(x, op.to)
        case "blur_pool":
            rows, columns = op.pad
            x = F.pad(x, (columns, columns, rows, rows), mode="reflect")
            line = x.new_tensor(op.row)
            weight = torch.outer(line, line).expand(x.shape[1], 1, op.kernel, op.kernel)
            return F.conv2d(x, weight, stride=op.stride, groups=x.shape[1])
        case "upsample" | "resize":
            return F.interpolate(x, node.type.shape[1:], mode=op.mode)
        case "gap":
            return x.mean((2, 3), keepdim=True)
        case "flatten":
            return torch.flatten(x, 1)
        case "subsample":
            return x[:, :, :: op.stride[0], :: op.stride[1]]
        case "pad":
            rows, columns = op.by
            return F.pad(x, (columns, columns, rows, rows), value=op.value)
        case "slice_channels":
            return x[:, op.start : op.stop]
        case "channel_shuffle":
            return F.channel_shuffle(x, op.groups)
        case "pad_channels":
            return F.pad(x, (0, 0, 0, 0, op.before, op.to - x.shape[1] - op.before))
        case "add":
            return torch.stack(operands).sum(0)
        case "mul":
            product = operands[0]
            for other in operands[1:]:
                product = product * other
            return product
        case "concat":
            return torch.cat(operands, 1)
    raise AssertionError(op.name)


def seeded_inputs(graph: Graph, batch: int = 2, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        node.name: rng.normal(size=(batch, *node.type.shape)).astype(np.float32)
        for node in graph.inputs
    }


_ROUNDING = 3e-5
"""Folded weights are rounded to float32 once; the random graphs are at most ten layers deep."""


def assert_same_meaning(before: Graph, after: Graph) -> None:
    """Both graphs compute the same, in float64, on seeded weights and inputs."""
    weights, inputs = some_weights(before), seeded_inputs(before)
    expected, found = evaluate(before, weights, inputs), evaluate(after, weights, inputs)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=_ROUNDING)
