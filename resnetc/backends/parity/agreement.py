"""How far what a runtime gives is from the reference, and how far it may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnetc.backends.parity.parting import Parting
from resnetc.diagnostics import CheckError

if TYPE_CHECKING:
    import numpy as np

    Tensors = Mapping[str, np.ndarray]

TOLERANCES: Mapping[str, float] = {
    "fp32": 2e-5,
    "fp16": 1e-2,
    "bf16": 8e-2,
    "int8": 0.15,
    "fp8": 0.3,
}
"""Largest error allowed, relative to the reference's largest magnitude, by precision.

Each is 20 or more times what rounding alone was measured to cost, in eight bits seven times;
docs/exports.md has the figures.
"""


def narrowest(precisions: Iterable[str]) -> str:
    """Of several precisions the one that is allowed most; what is none is passed over."""
    return max((each for each in precisions if each in TOLERANCES), key=TOLERANCES.__getitem__)


@dataclass(frozen=True)
class Agreement:
    """How far one output of one runtime is from the reference.

    `max_rel` is `max_abs` over the reference's largest magnitude; `top1` the share of samples
    whose largest logit is the same, None where the output is no vector. `parting` says where an
    output that is out of tolerance went astray, None where that was not or could not be found;
    `note` what else must be known of how the runtime was run.
    """

    backend: str
    output: str
    max_abs: float
    max_rel: float
    cosine: float
    top1: float | None
    tolerance: float
    parting: Parting | None = None
    note: str | None = None

    @property
    def passed(self) -> bool:
        return self.max_rel <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Numbers that are not finite become null, which JSON can say."""
        figures = {"max_abs": self.max_abs, "max_rel": self.max_rel, "cosine": self.cosine}
        return {
            "backend": self.backend,
            "output": self.output,
            **{key: value if math.isfinite(value) else None for key, value in figures.items()},
            "top1": self.top1,
            "tolerance": self.tolerance,
            "passed": self.passed,
            **({} if self.parting is None else {"parting": self.parting.to_json()}),
            **({} if self.note is None else {"note": self.note}),
        }


def differences(agreements: Iterable[Agreement]) -> list[str]:
    """What is beyond its tolerance, and where it went astray."""
    return [_said(each) for each in agreements if not each.passed]


def require_parity(agreements: Iterable[Agreement]) -> None:
    """Raise CheckError that names what is beyond its tolerance."""
    if told := differences(agreements):
        raise CheckError("; ".join(told))


def _said(each: Agreement) -> str:
    said = (
        f"{each.backend} differs by {each.max_rel:.2g} on {each.output}, "
        f"and {each.tolerance:.2g} is allowed"
    )
    return said if each.parting is None else f"{said}; {each.parting}"


def compare(
    backend: str,
    output: str,
    found: np.ndarray,
    reference: np.ndarray,
    tolerance: float,
    parting: Parting | None = None,
    note: str | None = None,
) -> Agreement:
    """One output [N, ...] beside the reference's, which is finite."""
    import numpy as np

    values = found.astype(np.float64)
    error = float(np.abs(values - reference).max())
    scale = float(np.abs(reference).max()) or 1.0
    norms = float(np.linalg.norm(values) * np.linalg.norm(reference))
    cosine = float(np.vdot(values, reference)) / norms if norms else 1.0
    top1 = None
    if reference.ndim == 2:
        top1 = float((values.argmax(1) == reference.argmax(1)).mean())
    return Agreement(backend, output, error, error / scale, cosine, top1, tolerance, parting, note)
