"""Eight bits that are worth having: ranges from real images, and what they cost.

found = calibrate(net.graph, weights, ENCODINGS["ort"], images, Entropy())
plan = Plan("int8", encoding=ENCODINGS["ort"], ranges=found.ranges)
write_onnx(net.graph, path, weights, options=OnnxOptions(plan=plan))
"""

from resnetc.quantization.calibration import Calibrated, Images, calibrate
from resnetc.quantization.running import Labelled
from resnetc.quantization.sensitivity import LayerCost, Sensitivity, choose_kept, rank_layers

__all__ = [
    "Calibrated",
    "Images",
    "Labelled",
    "LayerCost",
    "Sensitivity",
    "calibrate",
    "choose_kept",
    "rank_layers",
]
