"""From ONNX bytes to a serialized engine, with either library."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnetc.backends.tensorrt import precision
from resnetc.backends.tensorrt.library import Library, make_logger
from resnetc.backends.tensorrt.options import TensorRtOptions
from resnetc.backends.tensorrt.report import LayerRow, engine_rows, network_rows
from resnetc.backends.tensorrt.settings import configure, write_cache
from resnetc.diagnostics import RunError


@dataclass(frozen=True)
class Plan:
    """A serialized engine and what is known of it. `data` is a buffer."""

    data: Any
    layers: int
    precisions: dict[str, str]
    read_from: str
    targets: tuple[str, ...]
    tensors: tuple[dict[str, object], ...]
    seconds: float
    rows: tuple[LayerRow, ...] = ()


def build_plan(
    library: Library,
    onnx_model: bytes,
    options: TensorRtOptions,
    expected: Mapping[str, str],
    places: Mapping[str, str] | None = None,
) -> Plan:
    """Parse, check the precision of every layer, build; look into an engine for the GPU here.

    Raises RunError with the library's own words when it refuses, CheckError when the layers do
    not have the precision that `expected` gives them by node name. `places` says of a node where
    it stands in the spec.
    """
    trt = library.module
    started = time.perf_counter()
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network = _parse(library, builder, logger, onnx_model)
    found = precision.network_precisions(network)
    precision.require_network(options.precision, found, expected)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    targets = library.set_targets(config, options.capabilities, options.precision)
    _set_profile(builder, config, network, options)
    data = _build(library, builder, config, network, logger, options)
    seconds = time.perf_counter() - started
    layers, read_from = network.num_layers, "network"
    rows = network_rows(network, places or {})
    if targets == ("current",):
        information = _inspect(library, logger, data)
        if inspected := precision.engine_precisions(information):
            precision.require_engine(options.precision, inspected)
            layers, found, read_from = len(inspected), inspected, "engine"
            rows = engine_rows(information, places or {})
    return Plan(data, layers, found, read_from, targets, _ports(network), seconds, rows)


def _build(
    library: Library, builder: Any, config: Any, network: Any, logger: Any, options: TensorRtOptions
) -> Any:
    """The serialized engine. Raises what a listener to the progress has raised."""
    settings = options.settings
    monitor = configure(library, config, settings)
    data = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.interruption is not None:
        raise monitor.interruption
    if data is None:
        raise RunError(f"{library.name} built no engine{_reasons(logger)}")
    if settings.timing_cache is not None:
        write_cache(config, settings.timing_cache)
    return data


def _parse(library: Library, builder: Any, logger: Any, onnx_model: bytes) -> Any:
    network = library.create_network(builder)
    parser = library.module.OnnxParser(network, logger)
    if not parser.parse(onnx_model):
        said = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise RunError(f"{library.name} does not take this network: {'; '.join(said)}")
    return network


def _set_profile(builder: Any, config: Any, network: Any, options: TensorRtOptions) -> None:
    if options.profile is None:
        return
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sample = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, *((batch, *sample) for batch in options.profile))
    if config.add_optimization_profile(profile) < 0:
        raise RunError(f"TensorRT refuses the batch profile {options.profile}")


def _inspect(library: Library, logger: Any, data: Any) -> str:
    """What the engine tells of its layers, as JSON."""
    trt = library.module
    engine = trt.Runtime(logger).deserialize_cuda_engine(data)
    if engine is None:
        raise RunError(f"{library.name} cannot open the engine it built{_reasons(logger)}")
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _ports(network: Any) -> tuple[dict[str, object], ...]:
    inputs = [("input", network.get_input(i)) for i in range(network.num_inputs)]
    outputs = [("output", network.get_output(i)) for i in range(network.num_outputs)]
    return tuple(
        {
            "name": tensor.name,
            "mode": mode,
            "shape": [int(extent) for extent in tensor.shape],
            "dtype": tensor.dtype.name.lower(),
        }
        for mode, tensor in (*inputs, *outputs)
    )


def _reasons(logger: Any) -> str:
    return f": {'; '.join(logger.errors)}" if logger.errors else ""
