"""Experiments and deployments as data: what `experiment` and `deploy` sections of a spec may say.

These records are the schema, as `resnetc.recipes` is for `recipe` sections: a key is a field, a
section inside a section is a record of its own. The compiler checks sections against them; what a
backend cannot do is refused by the verb that would have it done.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NewType

NetworkName = NewType("NetworkName", str)
"""A complete network that the section's file knows, by name."""
RecipeName = NewType("RecipeName", str)
"""A recipe that the section's file knows, by name."""

Narrow = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Wide = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Experiment:
    """A network trained by a recipe from a seed.

    Without `recipe` it is the one that training the network would take.
    """

    network: NetworkName
    recipe: RecipeName | None = None
    seed: int = 0


# ---------------------------------------------------------------------------------- calibration


@dataclass(frozen=True)
class Entropy:
    """Ranges that lose least by the Kullback-Leibler divergence, over this many images."""

    word: ClassVar[str] = "entropy"
    images: int = 512


@dataclass(frozen=True)
class Percentile:
    """Ranges that hold this share of the values."""

    word: ClassVar[str] = "percentile"
    share: float = 0.9999
    images: int = 512


@dataclass(frozen=True)
class MinMax:
    """Ranges that hold every value."""

    word: ClassVar[str] = "min_max"
    images: int = 512


CALIBRATIONS: dict[str, type] = {record.word: record for record in (Entropy, Percentile, MinMax)}


# ----------------------------------------------------------------------------------- deployment


@dataclass(frozen=True)
class Precision:
    """What layers compute in: `layers`, but for those under the labels of `keep`, which compute in
    `kept`. `inputs` is the type of the network's inputs and outputs."""

    layers: Narrow = "fp32"
    keep: tuple[str, ...] = ()
    kept: Wide = "fp32"
    inputs: Wide = "fp32"
    calibrate: Entropy | Percentile | MinMax | None = None


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
    workspace: int | None = None
    capability: tuple[str, ...] = ()
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
    batch: tuple[int, int] | None = None
    opset: int | None = None
    outputs: tuple[str, ...] = ()
    precision: Precision = Precision()
    engine: Engine = Engine()

    @property
    def is_engine(self) -> bool:
        """Whether TensorRT builds it."""
        return self.target in ("tensorrt", "tensorrt_rtx")
