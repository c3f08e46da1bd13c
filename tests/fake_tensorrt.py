"""A stand-in for the `tensorrt` module, which installs and runs only where a GPU is.

It has the names the backend uses and no others, behaves like 10.x or 11.x by its version, and
records what it was asked. Its types and names are those of the real bindings: a test holds the
list of names against `tensorrt_rtx`.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
from enum import Enum, IntEnum
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from resnetc.backends.tensorrt import library


class _Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class _ILogger:
    Severity = _Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = _Severity


class _DataType(Enum):
    FLOAT = 1
    HALF = 2
    BF16 = 3
    INT64 = 4


_ELEMENTS = {
    onnx.TensorProto.FLOAT: _DataType.FLOAT,
    onnx.TensorProto.FLOAT16: _DataType.HALF,
    onnx.TensorProto.BFLOAT16: _DataType.BF16,
}
_LAYERS = {"Conv": "CONVOLUTION", "Relu": "ACTIVATION", "Cast": "CAST", "Gemm": "MATRIX_MULTIPLY"}


class FakeTensorrt(ModuleType):
    """The module. `asked` records calls; `inspector` is the engine's JSON, made from the network
    unless a test sets it."""

    def __init__(self, version: str, name: str = "tensorrt") -> None:
        super().__init__(name)
        self.__version__ = version
        self.asked: dict[str, Any] = {}
        self.inspector: str | None = None
        self.builds = True
        self.DataType = _DataType
        self.ILogger = _ILogger
        self.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
        self.BuilderFlag = SimpleNamespace(
            TF32="tf32", REFIT="refit", STRIP_PLAN="strip", VERSION_COMPATIBLE="version"
        )
        self.HardwareCompatibilityLevel = SimpleNamespace(
            AMPERE_PLUS="ampere+", SAME_COMPUTE_CAPABILITY="same"
        )
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
        self.IProgressMonitor = _IProgressMonitor
        self.IProfiler = _IProfiler
        self.SerializationFlag = SimpleNamespace(EXCLUDE_WEIGHTS="exclude weights")
        if not version.startswith("10."):
            self.SerializationFlag.INCLUDE_REFIT = "include refit"
        self.TensorIOMode = SimpleNamespace(INPUT="input", OUTPUT="output")
        self.LayerInformationFormat = SimpleNamespace(JSON="json")
        self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
        self.ComputeCapability = SimpleNamespace(CURRENT="current", SM86="86", SM120="120")
        self.Builder = lambda logger: _Builder(self, logger)
        self.refits = True
        self.OnnxParserRefitter = lambda refitter, logger: _ParserRefitter(self)
        self.Refitter = lambda engine, logger: _Refitter(self)
        self.OnnxParser = lambda network, logger: _Parser(self, network)
        self.Runtime = lambda logger: _Runtime(self)

    @property
    def implicit_typing(self) -> bool:
        """10.x without the flag: the builder's flags decide, not the graph."""
        return self.__version__.startswith("10.") and not self.asked["network_flags"] & 2


class _IProgressMonitor:
    pass


class _IProfiler:
    pass


class _TimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b"+timed"


class _Builder:
    def __init__(self, module: FakeTensorrt, logger: Any) -> None:
        self.module, self.logger = module, logger

    def create_network(self, flags: int = 0) -> SimpleNamespace:
        self.module.asked["network_flags"] = flags
        return SimpleNamespace(num_layers=0, num_inputs=0, num_outputs=0)

    def create_builder_config(self) -> _Config:
        return _Config(self.module)

    def create_optimization_profile(self) -> SimpleNamespace:
        shapes = self.module.asked.setdefault("profile", {})
        return SimpleNamespace(set_shape=lambda name, *bounds: shapes.update({name: bounds}))

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        if not self.module.builds:
            self.logger.log(_Severity.ERROR, "out of memory")
            return None
        if (monitor := config.progress_monitor) is not None:
            monitor.phase_start("Building engine", None, 2)
            monitor.phase_start("Timing tactics", "Building engine", 3)
            for step in range(3):
                if not monitor.step_complete("Timing tactics", step):
                    return None
            monitor.phase_finish("Timing tactics")
            monitor.phase_finish("Building engine")
        self.module.asked["config"] = config
        return b"engine"


class _Config:
    def __init__(self, module: FakeTensorrt) -> None:
        self._module = module
        self.profiling_verbosity: object = None
        self.num_compute_capabilities = 0
        self.progress_monitor: Any = None
        self.hardware_compatibility_level: str | None = None
        self.builder_optimization_level = 3
        self.flags: list[str] = []
        self.pools: dict[str, int] = {}
        self.cache: _TimingCache | None = None

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.pools[pool] = size

    def create_timing_cache(self, data: bytes) -> _TimingCache:
        return _TimingCache(data)

    def set_timing_cache(self, cache: _TimingCache, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return ignore_mismatch or not cache.data.startswith(b"other")

    def get_timing_cache(self) -> _TimingCache | None:
        return self.cache

    def clear_flag(self, flag: str) -> None:
        self._module.asked.setdefault("cleared", []).append(flag)

    def set_compute_capability(self, capability: str, index: int) -> bool:
        self._module.asked.setdefault("capabilities", []).append(capability)
        return True

    def add_optimization_profile(self, profile: Any) -> int:
        return 0


class _Parser:
    def __init__(self, module: FakeTensorrt, network: SimpleNamespace) -> None:
        self._module, self._network = module, network
        self.num_errors = 0

    def parse(self, data: bytes) -> bool:
        graph = onnx.load_from_string(data).graph
        infos = {v.name: v for v in (*graph.input, *graph.output, *graph.value_info)}
        tensors = {name: self._tensor(info) for name, info in infos.items()}
        layers = [
            SimpleNamespace(
                name=node.name,
                metadata=f"[ONNX Layer: {node.name}]",
                type=SimpleNamespace(name=_LAYERS.get(node.op_type, "ELEMENTWISE")),
                num_inputs=1,
                num_outputs=1,
                get_input=lambda _, node=node: tensors[node.input[0]],
                get_output=lambda _, node=node: tensors[node.output[0]],
            )
            for node in graph.node
        ]
        network = self._network
        network.num_layers, network.get_layer = len(layers), layers.__getitem__
        for kind, values in (("input", graph.input), ("output", graph.output)):
            held = [tensors[value.name] for value in values]
            setattr(network, f"num_{kind}s", len(held))
            setattr(network, f"get_{kind}", held.__getitem__)
            ports = self._module.asked.setdefault("tensors", {})
            ports.update({t.name: SimpleNamespace(**vars(t), mode=kind) for t in held})
        self._module.asked["layers"] = layers
        return True

    def _tensor(self, info: onnx.ValueInfoProto) -> SimpleNamespace:
        type = info.type.tensor_type
        weak = self._module.implicit_typing
        shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in type.shape.dim]
        dtype = _DataType.FLOAT if weak else _ELEMENTS[type.elem_type]
        return SimpleNamespace(name=info.name, shape=shape, dtype=dtype)


class _Runtime:
    def __init__(self, module: FakeTensorrt) -> None:
        self._module = module

    def deserialize_cuda_engine(self, data: bytes) -> SimpleNamespace:
        words = {_DataType.FLOAT: "Float", _DataType.HALF: "Row major linear FP16 format"}
        layers = [
            {
                "Name": layer.name,
                "Metadata": layer.metadata,
                "LayerType": "CaskConvolution",
                "Outputs": [{"Format/Datatype": words.get(layer.get_output(0).dtype, "BF16")}],
            }
            for layer in self._module.asked.get("layers", [])
        ]
        text = self._module.inspector or json.dumps({"Layers": layers, "Bindings": []})
        inspector = SimpleNamespace(get_engine_information=lambda format: text)
        self._module.asked["opened"] = data
        ports = self._module.asked.get("tensors", {})
        names = list(ports)
        return SimpleNamespace(
            num_io_tensors=len(names),
            get_tensor_name=names.__getitem__,
            get_tensor_mode=lambda name: ports[name].mode,
            get_tensor_shape=lambda name: tuple(ports[name].shape),
            get_tensor_dtype=lambda name: ports[name].dtype,
            get_tensor_profile_shape=lambda name, _: self._module.asked["profile"][name],
            create_execution_context=lambda: _Context(self._module),
            create_engine_inspector=lambda: inspector,
            create_serialization_config=lambda: _SerializationConfig(self._module),
            serialize_with_config=lambda config: b"refitted " + self._module.asked["model"],
        )


class _Context:
    """Runs what a test says the engine computes, on tensors that lie in the host's memory."""

    def __init__(self, module: FakeTensorrt) -> None:
        self._module = module
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        (batch,) = {shape[0] for shape in self._shapes.values()}
        return (batch, *self._module.asked["tensors"][name].shape[1:])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        given = {name: self._array(name) for name in self._shapes}
        self._module.asked.setdefault("batches", []).append(len(next(iter(given.values()))))
        for name, array in self._module.asked["computes"](given).items():
            self._array(name)[...] = array
        return True

    def _array(self, name: str) -> np.ndarray:
        tensor = self._module.asked["tensors"][name]
        kind = {_DataType.FLOAT: ctypes.c_float, _DataType.HALF: ctypes.c_uint16}[tensor.dtype]
        shape = self._shapes.get(name) or self.get_tensor_shape(name)
        held = (kind * math.prod(shape)).from_address(self._addresses[name])
        array = np.ctypeslib.as_array(held).reshape(shape)
        return array.view(np.float16) if tensor.dtype is _DataType.HALF else array


class _SerializationConfig:
    def __init__(self, module: FakeTensorrt) -> None:
        self._told = module.asked.setdefault("serialization", [])

    def set_flag(self, flag: str) -> None:
        self._told.append(f"+{flag}")

    def clear_flag(self, flag: str) -> None:
        self._told.append(f"-{flag}")


class _Refitter:
    def __init__(self, module: FakeTensorrt) -> None:
        self._module = module

    def get_missing_weights(self) -> list[str]:
        return [] if self._module.refits else ["conv1.weight"]

    def refit_cuda_engine(self) -> bool:
        return True


class _ParserRefitter:
    num_errors = 0

    def __init__(self, module: FakeTensorrt) -> None:
        self._module = module

    def refit_from_bytes(self, model: bytes) -> bool:
        names = [each.name for each in onnx.load_from_string(model).graph.initializer]
        self._module.asked["model"] = repr(sorted(names)).encode()
        return True


def with_tensorrt(
    monkeypatch: pytest.MonkeyPatch, version: str, *, gpu: bool = True
) -> FakeTensorrt:
    """Let the stand-in be what `import tensorrt` gives, on a machine with a GPU or without."""
    fake = FakeTensorrt(version)
    fake.__spec__ = ModuleSpec("tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(library, "gpu_present", lambda: gpu)
    return fake
