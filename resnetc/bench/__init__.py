"""Measuring inference: one process per backend, rounds interleaved, medians with their confidence.

    request   what is measured, as data that can be sent to another process
    worker    a backend's process: prepares, checks, measures; speaks JSON, a line at a time
    process   the other end of that line; failure, how what goes wrong crosses it
    backends  name -> contestant; torch_contestants, onnx_contestant,
              openvino_contestant, tensorrt_contestant
    session   starts the processes, interleaves the rounds, gathers the report
    report    figures, failures, ranking

Only workers import frameworks.
"""

from resnetc.bench.report import Report
from resnetc.bench.request import Request
from resnetc.bench.session import run_bench

__all__ = ["Report", "Request", "run_bench"]
