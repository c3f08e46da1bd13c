"""resnetc: deep residual networks as source code."""

__version__ = "0.1.0"
