"""resnetc: deep residual networks as source code.

net = resnetc.load("resnet50")
net.cost.params, net.cost.macs
module = net.to_torch()
net.to_onnx("resnet50.onnx", weights=module.state_dict())
"""

from resnetc.driver import Network, load
from resnetc.version import __version__

__all__ = ["Network", "__version__", "load"]
