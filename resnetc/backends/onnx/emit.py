"""From graph nodes to ONNX nodes: the table of emitters, one per op."""

from __future__ import annotations

from collections.abc import Mapping

from resnetc.backends.base import complete_table
from resnetc.backends.onnx.emission import Emission, Emitter, plain
from resnetc.backends.onnx.emitters import (
    activation,
    convolution,
    layout,
    normalization,
    pooling,
    quantization,
)
from resnetc.backends.onnx.options import DEFAULT_OPSET
from resnetc.diagnostics import InternalError
from resnetc.ir import Graph, Node
from resnetc.ops import (
    AdaptiveAvgPool,
    Add,
    Affine,
    AvgPool,
    BatchNorm,
    BlurPool,
    Cast,
    ChannelAffine,
    ChannelConv1d,
    ChannelScale,
    ChannelShuffle,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dequantize,
    Dropout,
    DropPath,
    Flatten,
    Gelu,
    GlobalAvgPool,
    GroupNorm,
    Hardsigmoid,
    Hardswish,
    Identity,
    Input,
    LayerNorm,
    LeakyRelu,
    Linear,
    MaxPool,
    Mul,
    Op,
    Pad,
    PadChannels,
    PixelLayerNorm,
    PixelLinear,
    Quantize,
    RadixSoftmax,
    Relu,
    Relu6,
    Resize,
    Sigmoid,
    Silu,
    SliceChannels,
    Softmax,
    Subsample,
    Tanh,
    Upsample,
    WsConv2d,
)


def emit(graph: Graph, batch: int | None, opset: int = DEFAULT_OPSET) -> Emission:
    """Emit a graph that :func:`resnetc.passes.lower_for_inference` has made."""
    emission = Emission(graph, batch, opset)
    for node in graph:
        if node.op.name == "input":
            continue
        if type(node.op) not in EMITTERS:
            raise InternalError(f"{node.name}: {REFUSED[type(node.op)]}")
        emission.emit(node, EMITTERS[type(node.op)], emission.tensors[node.id])
    for name, node_id in graph.outputs.items():
        if emission.tensors[node_id] != name:
            emission.emit(graph[node_id], _renamed(name), None)
    return emission


def _renamed(name: str) -> Emitter:
    """A node's tensor under another name."""

    def emitter(emission: Emission, node: Node) -> None:
        emission.put("Identity", [emission.tensors[node.id]], [name], name)

    return emitter


REFUSED: Mapping[type[Op], str] = {
    Input: "an input is a value of the file, not a node",
    Identity: "the pass for_inference leaves none",
    Dropout: "the pass for_inference leaves none",
    DropPath: "the pass for_inference leaves none",
    WsConv2d: "the pass for_inference makes a plain convolution of it",
}
EMITTERS: Mapping[type[Op], Emitter] = complete_table(
    "onnx",
    {
        Conv2d: convolution.conv,
        ConvTranspose2d: convolution.conv_transpose,
        ChannelConv1d: convolution.channel_conv,
        Linear: convolution.linear,
        PixelLinear: convolution.pixel_linear,
        BatchNorm: normalization.batch_norm,
        LayerNorm: normalization.layer_norm,
        PixelLayerNorm: normalization.pixel_layer_norm,
        GroupNorm: normalization.group_norm,
        ChannelAffine: normalization.channel_affine,
        ChannelScale: normalization.channel_scale,
        Affine: normalization.affine,
        Relu: plain("Relu"),
        Relu6: activation.relu6,
        LeakyRelu: activation.leaky_relu,
        Silu: activation.silu,
        Gelu: activation.gelu,
        Hardswish: activation.hardswish,
        Hardsigmoid: plain("HardSigmoid", alpha=1 / 6, beta=0.5),
        Sigmoid: plain("Sigmoid"),
        Tanh: plain("Tanh"),
        Softmax: plain("Softmax", axis=1),
        RadixSoftmax: activation.radix_softmax,
        MaxPool: pooling.max_pool,
        AvgPool: pooling.avg_pool,
        AdaptiveAvgPool: pooling.adaptive_avg_pool,
        GlobalAvgPool: plain("GlobalAveragePool"),
        BlurPool: pooling.blur_pool,
        Upsample: pooling.upsample,
        Resize: pooling.resize,
        Subsample: pooling.subsample,
        Flatten: plain("Flatten", axis=1),
        Pad: layout.pad,
        PadChannels: layout.pad_channels,
        SliceChannels: layout.slice_channels,
        ChannelShuffle: layout.channel_shuffle,
        Cast: layout.cast,
        Quantize: quantization.quantize,
        Dequantize: quantization.dequantize,
        Add: layout.chain("Add"),
        Mul: layout.chain("Mul"),
        Concat: plain("Concat", axis=1),
    },
    REFUSED,
)
