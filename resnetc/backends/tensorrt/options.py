"""What a user may choose about an engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from resnetc.backends.onnx import OnnxOptions
from resnetc.backends.tensorrt.library import REMEDIES
from resnetc.backends.tensorrt.settings import EngineSettings
from resnetc.diagnostics import UsageError
from resnetc.passes import Plan

Profile = tuple[int, int, int]
"""Smallest, usual and largest batch of a dynamic engine."""


@dataclass(frozen=True)
class TensorRtOptions:
    """How an engine is built.

    `batch`: a fixed batch, or (min, opt, max) for one optimization profile.
    `library`: None for what is installed. `capabilities`: compute capabilities such as "8.6";
    none for the GPU here, or, without one, all that tensorrt_rtx builds for.
    `tf32`: let fp32 convolutions round their operands to 10 bits. Off, though TensorRT has it on:
    who asks for fp32 gets the numbers of fp32. `plan` says more of the precision, and sets it.
    `settings` are for the builder: caches, compatibility, refit, effort, memory.

    Raises UsageError for what makes no sense.
    """

    precision: str = "fp32"
    batch: int | Profile = (1, 8, 32)
    library: str | None = None
    capabilities: tuple[str, ...] = ()
    tf32: bool = False
    plan: Plan | None = None
    settings: EngineSettings = field(default_factory=EngineSettings)

    def __post_init__(self) -> None:
        if self.plan is not None:
            object.__setattr__(self, "precision", self.plan.layers)
        if self.library is not None and self.library not in REMEDIES:
            raise UsageError(
                f"there is no library {self.library!r}; choose {' or '.join(REMEDIES)}"
            )
        low, usual, high = (self.batch,) * 3 if isinstance(self.batch, int) else self.batch
        if not 1 <= low <= usual <= high:
            raise UsageError(
                f"a batch profile wants 1 <= min <= opt <= max, not {low}, {usual}, {high}"
            )
        if self.tf32 and self.precision != "fp32":
            raise UsageError(f"tf32 is a way to compute in fp32, not in {self.precision}")
        self.onnx  # noqa: B018  (checks precision and batch)

    @property
    def profile(self) -> Profile | None:
        """The profile of a dynamic batch; None for a fixed one."""
        return None if isinstance(self.batch, int) else self.batch

    @property
    def onnx(self) -> OnnxOptions:
        """The ONNX form the engine is built from."""
        fixed = self.batch if isinstance(self.batch, int) else None
        plan = self.plan or Plan(self.precision)
        return OnnxOptions(plan=plan, batch=fixed, external=False)
