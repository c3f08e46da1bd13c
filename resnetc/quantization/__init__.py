"""Eight bits that are worth having: ranges from real images, and what they cost.

found = calibrate(net.graph, weights, ENCODINGS["ort"], images, Entropy())
plan = Plan("int8", encoding=ENCODINGS["ort"], ranges=found.ranges)
write_onnx(net.graph, path, weights, options=OnnxOptions(plan=plan))
"""

from resnetc.quantization.calibrate import Calibrated, Images, calibrate

__all__ = ["Calibrated", "Images", "calibrate"]
