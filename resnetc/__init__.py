"""resnetc: deep residual networks as source code.

net = resnetc.load("resnet50")
net.cost.params, net.cost.macs
module = net.to_torch()
net.to_onnx("resnet50.onnx", weights=module.state_dict())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnetc.version import __version__

if TYPE_CHECKING:
    from resnetc.driver import Network, load

__all__ = ["Network", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """The compiler, imported when it is first asked for: pytest imports this package for its
    plugin in every run, also where no spec is near."""
    if name not in ("Network", "load"):
        raise AttributeError(f"module 'resnetc' has no attribute {name!r}")
    from resnetc import driver

    return getattr(driver, name)


def __dir__() -> list[str]:
    return [*globals(), "Network", "load"]
