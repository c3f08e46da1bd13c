"""What processes that train one network together send each other in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resnetc.analysis.cost import cost
from resnetc.ir import Graph
from resnetc.ops import BatchNorm

FP32 = 4
"""Bytes of a gradient: weights stay float32 under autocast, and so do their gradients."""

CONVENTIONS = {
    "gradients": "numbers that every process has a gradient of: the parameters, auxiliary heads' "
    "too",
    "sent_bytes": "bytes that each process sends in a ring all-reduce of the gradients, and as "
    "many that it receives: 2 (n - 1) / n of them",
    "seconds": "sent_bytes over a link of so many bits per second in each direction; latencies "
    "left out, and what the backward pass hides not taken off",
    "norm_sync": "what norm_sync adds: two messages a batch norm, of two numbers a channel",
}
"""What each figure counts, in words."""


@dataclass(frozen=True, slots=True)
class Communication:
    """A step of data-parallel training by `processes`, over links of `link` bits per second.

    A ring all-reduce hands every process n - 1 parts of 1 / n of the gradients to add to, and n - 1
    that are complete; none can send less (Patarasuk and Yuan 2009). `norms` and `channels` are
    those of batch norms, for `norm_sync`.
    """

    processes: int
    gradients: int
    norms: int
    channels: int
    link: float

    @property
    def gradient_bytes(self) -> int:
        return FP32 * self.gradients

    @property
    def sent_bytes(self) -> float:
        """What each process sends, and as much receives, for the gradients."""
        return 2 * (self.processes - 1) * self.gradient_bytes / self.processes

    @property
    def seconds(self) -> float:
        return 8 * self.sent_bytes / self.link

    @property
    def norm_bytes(self) -> float:
        """What each process sends for `norm_sync`: moments to all others on the way forward, sums
        of gradients in a ring on the way back."""
        numbers = 2 * FP32 * self.channels
        return (self.processes - 1) * numbers * (1 + 2 / self.processes)

    def to_json(self) -> dict[str, Any]:
        return {
            "processes": self.processes,
            "gradients": self.gradients,
            "gradient_bytes": self.gradient_bytes,
            "sent_bytes": self.sent_bytes,
            "link_bits_per_second": self.link,
            "seconds": self.seconds,
            "norm_sync": {
                "norms": self.norms,
                "channels": self.channels,
                "messages": 2 * self.norms,
                "sent_bytes": self.norm_bytes,
            },
            "conventions": CONVENTIONS,
        }


def communication(graph: Graph, processes: int, link: float) -> Communication:
    """Of training a graph by `processes` of at least one, over links of `link` bits per second."""
    channels = [node.type.shape[0] for node in graph if isinstance(node.op, BatchNorm)]
    return Communication(processes, cost(graph).params, len(channels), sum(channels), link)
