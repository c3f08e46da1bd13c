"""The contract: every name of TensorRT that the backend uses is in the real bindings.

`tensorrt_rtx` is installed and looked at as it is. `tensorrt` is known by tables of what its real
bindings hold, written by tools/tensorrt_bindings.py.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import tensorrt_rtx
from fake_tensorrt import FakeTensorrt

import resnetc
from resnetc.backends.tensorrt import precision, settings

Names = dict[str, set[str]]

TABLES = sorted((Path(__file__).parent / "golden" / "tensorrt").glob("*.json"))
SOURCES = sorted(
    [
        *(Path(resnetc.__file__).parent / "backends" / "tensorrt").glob("*.py"),
        Path(resnetc.__file__).parent / "bench" / "tensorrt_contestant.py",
        Path(resnetc.__file__).parent.parent / "benchmarks" / "gpu.py",
    ]
)
USED = {
    "Builder": "create_network create_builder_config create_optimization_profile "
    "build_serialized_network",
    "IBuilderConfig": "set_flag clear_flag profiling_verbosity add_optimization_profile "
    "hardware_compatibility_level builder_optimization_level set_memory_pool_limit "
    "create_timing_cache set_timing_cache get_timing_cache progress_monitor",
    "INetworkDefinition": "num_layers get_layer num_inputs get_input num_outputs get_output",
    "ILayer": "name type metadata num_inputs get_input num_outputs get_output",
    "ITensor": "name shape dtype",
    "IOptimizationProfile": "set_shape",
    "IProgressMonitor": "phase_start step_complete phase_finish",
    "IProfiler": "report_layer_time",
    "ITimingCache": "serialize",
    "OnnxParser": "parse num_errors get_error",
    "OnnxParserRefitter": "refit_from_bytes num_errors get_error",
    "ParserError": "desc",
    "Refitter": "get_missing_weights refit_cuda_engine",
    "Runtime": "deserialize_cuda_engine",
    "ICudaEngine": "create_engine_inspector create_execution_context create_serialization_config "
    "serialize_with_config num_io_tensors get_tensor_name get_tensor_mode get_tensor_shape "
    "get_tensor_profile_shape get_tensor_dtype",
    "IExecutionContext": "set_tensor_address set_input_shape get_tensor_shape execute_async_v3 "
    "profiler",
    "ISerializationConfig": "set_flag clear_flag",
    "EngineInspector": "get_engine_information",
    "ILogger": "log ERROR INTERNAL_ERROR WARNING",
    "DataType": "FLOAT HALF BF16 INT32 INT64 BOOL UINT8",
    "LayerType": " ".join([*precision._NO_ARITHMETIC, *precision._NUMBERS]),
    "BuilderFlag": "TF32 VERSION_COMPATIBLE STRIP_PLAN REFIT",
    "HardwareCompatibilityLevel": " ".join(settings.HARDWARE.values()),
    "MemoryPoolType": "WORKSPACE",
    "ProfilingVerbosity": "DETAILED",
    "LayerInformationFormat": "JSON",
    "SerializationFlag": "EXCLUDE_WEIGHTS",
    "TensorIOMode": "INPUT",
}
"""What is used of every library, by class."""
ONLY = {
    "tensorrt_rtx": {
        "ComputeCapability": "CURRENT SM80 SM86 SM89 SM120",
        "IBuilderConfig": "num_compute_capabilities set_compute_capability",
        "Runtime": "get_engine_validity",
        "SerializationFlag": "INCLUDE_REFIT",
    },
    "10": {"NetworkDefinitionCreationFlag": "STRONGLY_TYPED"},
    "11": {"SerializationFlag": "INCLUDE_REFIT"},
}
"""What is used of one library, or of one major version of `tensorrt`, alone."""


def table(path: Path) -> Names:
    classes = json.loads(path.read_text())["classes"]
    return {name: set(held) for name, held in classes.items()}


def rtx() -> Names:
    classes = {n: c for n, c in vars(tensorrt_rtx).items() if isinstance(c, type)}
    return {name: set(dir(held)) for name, held in classes.items()}


def missing(used: dict[str, str], held: Names) -> list[str]:
    return [
        f"{owner}.{name}"
        for owner, names in used.items()
        for name in names.split()
        if name not in held.get(owner, ())
    ]


@pytest.mark.parametrize("path", TABLES, ids=[path.stem for path in TABLES])
def test_the_bindings_of_tensorrt_have_what_is_used(path: Path) -> None:
    # `log` is what a logger of one's own adds.
    held = table(path)
    held["ILogger"] |= {"log"}
    assert not missing(USED, held)
    assert not missing(ONLY[path.stem.split(".")[0]], held)
    assert "set_compute_capability" not in held["IBuilderConfig"]


def test_there_is_a_table_of_every_major_version() -> None:
    assert {path.stem.split(".")[0] for path in TABLES} == {"10", "11"}


def test_tensorrt_rtx_has_what_is_used() -> None:
    held = rtx()
    held["ILogger"] |= {"log"}
    assert not missing(USED, held)
    assert not missing(ONLY["tensorrt_rtx"], held)


def test_a_name_that_is_gone_is_noticed() -> None:
    held = {**rtx(), "BuilderFlag": {"TF32"}}
    assert "BuilderFlag.REFIT" in missing(USED, held)
    gone = {name: names for name, names in rtx().items() if name != "Refitter"}
    assert "Refitter.get_missing_weights" in missing(USED, gone)


ORDINARY = {
    # Names that Python's own objects have too, or that only look like the library's.
    *("name", "shape", "dtype", "type", "get", "read", "value", "flags", "key", "version", "data"),
    *("append", "items", "engine", "log", "logger", "weights", "size", "path", "index", "device"),
    *("values", "keys", "stride", "start", "numpy", "count", "plugins", "reset", "copy", "query"),
    *("update", "serialize", "tactic", "precision", "layers", "profile", "input", "fill", "min"),
    *("nbytes", "write", "file", "kind", "line", "DEBUG"),
    *("max", "opt", "mode", "pop", "clear", "insert", "extend", "remove", "sort", "reverse"),
}


@pytest.mark.parametrize("path", SOURCES, ids=[path.name for path in SOURCES])
def test_no_name_of_the_bindings_is_used_beside_the_contract(path: Path) -> None:
    """Whatever attribute our source mentions that some class of the bindings has, is listed."""
    bound = {
        name for held in (rtx(), *map(table, TABLES)) for names in held.values() for name in names
    }
    bound = {name for name in bound if not name.startswith("_")}
    listed = {
        n for used in (USED, *ONLY.values()) for names in used.values() for n in names.split()
    }
    tree = ast.parse(path.read_text(encoding="utf-8"))
    mentioned = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not (mentioned & bound) - listed - ORDINARY


def test_the_fake_has_no_names_of_its_own() -> None:
    """What the fake can do that the library cannot would hide a mistake."""
    fake = FakeTensorrt("11.0.0")
    own = {"asked", "inspector", "builds", "refits", "__version__"}
    for name in set(vars(fake)) - own - set(vars(type(ast)("empty"))):
        assert hasattr(tensorrt_rtx, name), name
