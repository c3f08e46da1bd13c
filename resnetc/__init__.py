"""resnetc: deep residual networks as source code.

    net = resnetc.load("resnet50")
    net.cost.params, net.cost.macs
    module = net.to_torch()
    net.to_onnx("resnet50.onnx", weights=module.state_dict())
"""

from resnetc.driver import Network, load

__version__ = "0.1.0"
__all__ = ["Network", "__version__", "load"]
