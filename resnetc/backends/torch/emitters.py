"""The emitter table: how each op is written in PyTorch, as a module and as a call in `forward`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from resnetc.backends.base import complete_table
from resnetc.backends.torch.layout import Call, Chain, Expression, ListOf, Text, as_operand
from resnetc.backends.torch.terms import LayerHead, Leaf, Term, Value
from resnetc.diagnostics import UsageError
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
from resnetc.shapes import TensorType

Expressions = tuple[Expression, ...]


@dataclass(frozen=True)
class Argument:
    """One argument of a layer. Without a keyword it stands by position; at its default it is left
    out. `kind` says what it may share a constructor's parameter with."""

    name: str
    read: Callable[[Any, TensorType], Value]
    kind: str
    keyword: str = ""
    default: Value | None = None

    def leaf(self, op: Op, operand: TensorType) -> Leaf:
        return Leaf(self.read(op, operand), self.name, self.kind)


@dataclass(frozen=True)
class Emitter:
    """How an op is written. `module` is the class to construct, empty where there is none;
    `call` makes the expression in `forward` of operands and arguments, None where a module must
    hold parameters. An op that may overwrite its operand takes `inplace=True` as a last argument.
    A `parameter` is one number for each channel, by which the operand is multiplied: a member that
    is no module.
    """

    module: str
    arguments: tuple[Argument, ...] = ()
    call: Callable[[Expressions, Expressions], Expression] | None = None
    inplace: bool = False
    parameter: bool = False


def _attribute(
    attribute: str,
    name: str = "",
    *,
    kind: str = "",
    keyword: str = "",
    default: Value | None = None,
    axis: int | None = None,
) -> Argument:
    """An argument that is an attribute of the op; `axis` takes one side of a size."""
    name = name or keyword or attribute

    def read(op: Op, operand: TensorType) -> Value:
        value = getattr(op, attribute)
        if axis is not None:
            return int(value[axis])
        square = isinstance(value, tuple) and value[0] == value[1]
        return value[0] if square else value  # type: ignore[no-any-return]

    return Argument(name, read, kind or name, keyword, default)


def _channels(attribute: str, name: str = "channels") -> Argument:
    return _attribute(attribute, name, kind="channels")


def _zeros_before(op: PadChannels, operand: TensorType) -> Value:
    """How many zero channels come first; "half" of the new ones where that is what it is."""
    half = (op.to - operand.shape[0]) // 2
    return "half" if op.before == half > 0 else op.before


def _function(name: str, *fixed: str) -> Callable[[Expressions, Expressions], Expression]:
    """A call `name(operand, fixed, arguments)`."""

    def call(operands: Expressions, arguments: Expressions) -> Expression:
        return Call(name, (*operands, *map(Text, fixed), *arguments))

    return call


def _in_training(name: str) -> Callable[[Expressions, Expressions], Expression]:
    """A call of what does something in training only."""

    def call(operands: Expressions, arguments: Expressions) -> Expression:
        return Call(name, (*operands, *arguments, Text("training=self.training")))

    return call


def _slice(operands: Expressions, arguments: Expressions) -> Expression:
    start, stop = (argument.flat() for argument in arguments)
    spaced = f"{start} : {stop}" if "." in start + stop else f"{start}:{stop}"
    return Text(f"{as_operand(operands[0])}[:, {spaced}]")


def _one_or_all(attribute: str, keyword: str, default: float) -> Argument:
    """Constants: a number where there is one, else a tuple of one for each channel."""

    def read(op: Op, operand: TensorType) -> Value:
        numbers: tuple[float, ...] = getattr(op, attribute)
        return numbers[0] if len(numbers) == 1 else numbers

    return Argument(attribute, read, attribute, keyword, default)


def _edges(op: Pad, operand: TensorType) -> Value:
    """Padding in torch's order: left, right, top, bottom."""
    rows, columns = op.by
    return columns, columns, rows, rows


def _subsample(operands: Expressions, arguments: Expressions) -> Expression:
    steps = [argument.flat() for argument in arguments]
    spaced = [f":: {step}" if "." in step else f"::{step}" for step in steps]
    return Text(f"{as_operand(operands[0])}[:, :, {', '.join(spaced)}]")


def _chain(operator: str) -> Callable[[Expressions, Expressions], Expression]:
    def call(operands: Expressions, arguments: Expressions) -> Expression:
        return Chain(operator, operands)

    return call


def _concat(operands: Expressions, arguments: Expressions) -> Expression:
    return Call("torch.cat", (ListOf(operands), Text("1")))


def _dtype(op: Cast | Quantize | Dequantize, operand: TensorType) -> Value:
    """An element type by torch's name."""
    return op.to.value


_EIGHT_BITS = (
    _attribute("scale"),
    _attribute("zero_point"),
    Argument("dtype", _dtype, "dtype"),
)
_STRIDE = _attribute("stride", keyword="stride", default=1)
_BIAS = _attribute("bias", keyword="bias", default=True)
_CONVOLUTION = (
    _channels("in_channels", "in_channels"),
    _channels("out_channels", "out_channels"),
    _attribute("kernel"),
    _STRIDE,
    _attribute("pad", keyword="padding", default=0),
    _attribute("dilation", keyword="dilation", default=1),
    _attribute("groups", keyword="groups", default=1),
    _BIAS,
)
_FEATURES = (
    _channels("in_features", "in_features"),
    _channels("out_features", "out_features"),
    _BIAS,
)
_EPS = _attribute("eps", keyword="eps", default=1e-5)
_MODE = _attribute("mode", keyword="mode", default="nearest")
_WINDOW = (
    _attribute("kernel"),
    # A pool's stride is its kernel in torch unless it is said, so it is always said.
    _attribute("stride", keyword="stride"),
    _attribute("pad", keyword="padding", default=0),
    _attribute("ceil", keyword="ceil_mode", default=False),
)

REFUSED: Mapping[type[Op], str] = {
    Input: "an input is an argument of `forward`, not a layer",
}

EMITTERS: Mapping[type[Op], Emitter] = complete_table(
    "torch",
    {
        Conv2d: Emitter("nn.Conv2d", _CONVOLUTION),
        WsConv2d: Emitter(
            "WsConv2d", (*_CONVOLUTION, _attribute("eps", keyword="eps", default=1e-6))
        ),
        ConvTranspose2d: Emitter(
            "nn.ConvTranspose2d", tuple(a for a in _CONVOLUTION if a.name != "dilation")
        ),
        ChannelConv1d: Emitter("ChannelConv1d", (_attribute("kernel"),)),
        Linear: Emitter("nn.Linear", _FEATURES),
        PixelLinear: Emitter("PixelLinear", _FEATURES),
        BatchNorm: Emitter(
            "nn.BatchNorm2d",
            (
                _channels("channels"),
                _EPS,
                _attribute("momentum", keyword="momentum", default=0.1),
                _attribute("gamma", keyword="gamma", default=1.0),
            ),
        ),
        LayerNorm: Emitter("nn.LayerNorm", (_channels("channels"), _EPS)),
        PixelLayerNorm: Emitter("PixelLayerNorm", (_channels("channels"), _EPS)),
        GroupNorm: Emitter("nn.GroupNorm", (_attribute("groups"), _channels("channels"), _EPS)),
        ChannelScale: Emitter(
            "nn.Parameter", (_channels("channels"), _attribute("init")), parameter=True
        ),
        ChannelAffine: Emitter("ChannelAffine", (_channels("channels"),)),
        Relu: Emitter("nn.ReLU", call=_function("F.relu"), inplace=True),
        Relu6: Emitter("nn.ReLU6", call=_function("F.relu6")),
        LeakyRelu: Emitter(
            "nn.LeakyReLU", (_attribute("slope", default=0.01),), _function("F.leaky_relu")
        ),
        Silu: Emitter("nn.SiLU", call=_function("F.silu")),
        Gelu: Emitter("nn.GELU", call=_function("F.gelu")),
        Hardswish: Emitter("nn.Hardswish", call=_function("F.hardswish")),
        Hardsigmoid: Emitter("nn.Hardsigmoid", call=_function("F.hardsigmoid")),
        Sigmoid: Emitter("nn.Sigmoid", call=_function("torch.sigmoid")),
        Tanh: Emitter("nn.Tanh", call=_function("torch.tanh")),
        Softmax: Emitter(
            "nn.Softmax",
            (Argument("dim", lambda op, operand: 1, "dim"),),
            _function("torch.softmax"),
        ),
        RadixSoftmax: Emitter(
            "RadixSoftmax",
            (_attribute("radix"), _attribute("groups", default=1)),
            _function("radix_softmax"),
        ),
        Identity: Emitter("nn.Identity"),
        Dropout: Emitter("nn.Dropout", (_attribute("p"),), _in_training("F.dropout")),
        DropPath: Emitter("DropPath", (_attribute("p"),), _in_training("drop_path")),
        Affine: Emitter(
            "Affine",
            (_one_or_all("scale", "", 1.0), _one_or_all("shift", "shift", 0.0)),
            _function("affine"),
        ),
        MaxPool: Emitter("nn.MaxPool2d", _WINDOW, _function("F.max_pool2d")),
        AvgPool: Emitter(
            "nn.AvgPool2d",
            (*_WINDOW, _attribute("count_pad", keyword="count_include_pad", default=True)),
            _function("F.avg_pool2d"),
        ),
        GlobalAvgPool: Emitter(
            "nn.AdaptiveAvgPool2d",
            (Argument("size", lambda op, operand: 1, "size"),),
            _function("F.adaptive_avg_pool2d"),
        ),
        AdaptiveAvgPool: Emitter(
            "nn.AdaptiveAvgPool2d",
            (_attribute("to", "size"),),
            _function("F.adaptive_avg_pool2d"),
        ),
        BlurPool: Emitter(
            "BlurPool", (_attribute("kernel"), _attribute("stride")), _function("blur_pool")
        ),
        Upsample: Emitter(
            "nn.Upsample",
            (_attribute("scale", keyword="scale_factor"), _MODE),
            _function("F.interpolate"),
        ),
        Resize: Emitter(
            "nn.Upsample", (_attribute("to", "size"), _MODE), _function("F.interpolate")
        ),
        Flatten: Emitter("nn.Flatten", call=_function("torch.flatten", "1")),
        SliceChannels: Emitter(
            "SliceChannels",
            (_attribute("start", kind="channels"), _attribute("stop", kind="channels")),
            _slice,
        ),
        ChannelShuffle: Emitter(
            "nn.ChannelShuffle", (_attribute("groups"),), _function("F.channel_shuffle")
        ),
        Pad: Emitter(
            "nn.ConstantPad2d",
            (Argument("padding", _edges, "edges"), _attribute("value", keyword="value")),
            _function("F.pad"),
        ),
        Subsample: Emitter(
            "Subsample",
            tuple(_attribute("stride", kind="stride", axis=axis) for axis in (0, 1)),
            _subsample,
        ),
        PadChannels: Emitter(
            "PadChannels",
            (
                _channels("to"),
                Argument("before", _zeros_before, "before", keyword="before", default=0),
            ),
            _function("pad_channels"),
        ),
        Cast: Emitter("Cast", (Argument("dtype", _dtype, "dtype"),), _function("cast")),
        Quantize: Emitter("Quantize", _EIGHT_BITS, _function("quantize")),
        Dequantize: Emitter("Dequantize", _EIGHT_BITS[:2], _function("dequantize")),
        Add: Emitter("", call=_chain("+")),
        Mul: Emitter("", call=_chain("*")),
        Concat: Emitter("", call=_concat),
    },
    REFUSED,
)


def layer_term(op: Op, operand: TensorType, *, overwrites: bool = False) -> Term:
    """The layer with its arguments. Raises UsageError for an op that this backend refuses."""
    emitter = EMITTERS.get(type(op))
    if emitter is None:
        raise UsageError(f"PyTorch cannot have `{op.name}` here: {REFUSED[type(op)]}")
    leaves = [argument.leaf(op, operand) for argument in emitter.arguments]
    if emitter.inplace:
        leaves.append(Leaf(overwrites, "inplace", "inplace"))
    return Term(LayerHead(type(op)), tuple(leaves))
