"""Experiments and deployments as data: what `experiment` and `deploy` sections of a spec may say.

These records are the schema, as `resnetc.recipes` is for `recipe` sections: a key is a field, a
section inside a section is a record of its own. The compiler checks sections against them; what a
backend cannot do is refused by the verb that would have it done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NewType

from resnetc.bounds import Clash, Interval, Natural, Positive, Shaped, Within

NetworkName = NewType("NetworkName", str)
"""A complete network that the section's file knows, by name."""
RecipeName = NewType("RecipeName", str)
"""A recipe that the section's file knows, by name."""

OPSETS = (13, 28)
"""The first opset of ONNX in which every op that is written takes bfloat16 somewhere and axes as
inputs, and the newest that is tested."""

Narrow = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Wide = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Experiment:
    """A network trained by a recipe from a seed.

    Without `recipe` it is the one that training the network would take.
    """

    network: NetworkName
    recipe: RecipeName | None = None
    seed: Natural = 0


# ---------------------------------------------------------------------------------- calibration


@dataclass(frozen=True)
class Entropy:
    """Ranges that lose least by the Kullback-Leibler divergence, over this many images."""

    word: ClassVar[str] = "entropy"
    images: Positive = 512


@dataclass(frozen=True)
class Percentile:
    """Ranges that hold this share of the values."""

    word: ClassVar[str] = "percentile"
    share: Annotated[float, Within(0.5, 1, low_open=True)] = 0.9999
    images: Positive = 512


@dataclass(frozen=True)
class MinMax:
    """Ranges that hold every value."""

    word: ClassVar[str] = "min_max"
    images: Positive = 512


CALIBRATIONS: dict[str, type] = {record.word: record for record in (Entropy, Percentile, MinMax)}


# ----------------------------------------------------------------------------------- deployment


@dataclass(frozen=True)
class Precision:
    """What layers compute in: `layers`, but for those under the labels of `keep`, which compute in
    `kept`, as beside eight bits all the rest does. `inputs` is the type of the network's inputs and
    outputs. Without `weight_bits` int8 weights have what suits the processor that exports."""

    layers: Narrow = "fp32"
    keep: tuple[str, ...] = ()
    kept: Wide = "fp32"
    inputs: Wide = "fp32"
    calibrate: Entropy | Percentile | MinMax | None = None
    weight_bits: Literal[7, 8] | None = None

    def clashes(self) -> Iterator[Clash]:
        eight_bits = self.layers in ("int8", "fp8")
        if not self.keep and not eight_bits:
            yield Clash("kept", "`keep` names no layer", idle=True)
        if self.keep and self.layers == self.kept:
            yield Clash("keep", f'all layers compute in "{self.kept}"', idle=True)
        if self.calibrate is not None and not eight_bits:
            yield Clash("calibrate", "only int8 and fp8 need it", idle=True)
        if self.weight_bits is not None and self.layers != "int8":
            yield Clash("weight_bits", "only int8 has them", idle=True)


@dataclass(frozen=True)
class Engine:
    """What TensorRT's builder is told; each means what the flag of `resnetc export` of its name
    means, and `workspace` is in bytes."""

    timing_cache: str | None = None
    hardware_compatible: Literal["ampere+", "same"] | None = None
    version_compatible: bool = False
    refit: bool = False
    strip_weights: bool = False
    optimization_level: Literal[0, 1, 2, 3, 4, 5] | None = None
    workspace: Positive | None = None
    capability: tuple[Annotated[str, Shaped(r"\d+\.\d+", "8.9")], ...] = ()
    tf32: bool = False


def differing(record: Precision | Engine) -> dict[str, Any]:
    """Fields that are not left at their defaults."""
    held = ((field, getattr(record, field.name)) for field in dataclasses.fields(record))
    return {field.name: value for field, value in held if value != field.default}


@dataclass(frozen=True)
class Deploy:
    """What a network is exported to.

    `batch` is fixed where both bounds are equal, and without any is left open. `outputs` are
    labels, for the values behind them in the place of the network's outputs.
    """

    network: NetworkName
    target: Literal["onnx", "tensorrt", "tensorrt_rtx", "torch"] = "onnx"
    batch: Interval | None = None
    opset: Annotated[int, Within(*OPSETS)] | None = None
    outputs: tuple[str, ...] = ()
    precision: Precision = Precision()
    engine: Engine = Engine()

    @property
    def is_engine(self) -> bool:
        """Whether TensorRT builds it."""
        return self.target in ("tensorrt", "tensorrt_rtx")

    def clashes(self) -> Iterator[Clash]:
        if not self.is_engine:
            why = f'"{self.target}" has no builder as TensorRT has'
            yield from (Clash(key, why, idle=True) for key in differing(self.engine))
        if self.target == "torch":
            yield Clash("opset", '"torch" is no ONNX', idle=True)
