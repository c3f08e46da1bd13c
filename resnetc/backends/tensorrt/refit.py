"""Other weights for an engine that was built to take them: the kernels stay, nothing is timed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.atomic import replacing, write_text
from resnetc.backends.onnx import OnnxOptions, model_bytes
from resnetc.backends.tensorrt import sidecar_path
from resnetc.backends.tensorrt.library import Library, find_library, gpu_present, make_logger
from resnetc.backends.weights import fit_weights, weights_hash
from resnetc.diagnostics import MissingError, RunError, UsageError
from resnetc.ir import Graph

if TYPE_CHECKING:
    import numpy as np

_EIGHT_BITS = ("int8", "fp8")
_LISTED = 5


def refit_engine(
    graph: Graph, engine: Path, weights: Mapping[str, np.ndarray], out: Path | None = None
) -> Path:
    """Write an engine of the same network with these weights, over the old one unless `out` says
    otherwise; its sidecar too. Returns where it is.

    Raises UsageError for an engine of another network, or one that takes no weights; MissingError
    without a GPU, where alone it can be opened; RunError when the library refuses.
    """
    facts = _facts(graph, engine)
    library = find_library(facts["library"]["name"])
    if not gpu_present():
        raise MissingError(
            "an engine takes weights on an NVIDIA GPU, and there is none here",
            "run this on a machine with one",
        )
    held = fit_weights(graph, weights)
    fixed = None if facts["profile"] else int(facts["tensors"][0]["shape"][0])
    options = OnnxOptions(precision=facts["precision"]["asked"], batch=fixed, external=False)
    data = _refitted(library, engine.read_bytes(), model_bytes(graph, held, options))
    path = out or engine
    with replacing(path) as file:
        file.write(data)
    new = {
        **facts,
        "engine_sha256": hashlib.sha256(data).hexdigest(),
        "weights_hash": weights_hash(graph, held),
        "library": {"name": library.name, "version": library.version},
    }
    write_text(sidecar_path(path), json.dumps(new, indent=2) + "\n")
    return path


def _facts(graph: Graph, engine: Path) -> dict[str, Any]:
    """What the sidecar says, once the engine can be refitted from this network."""
    if not engine.is_file():
        raise UsageError(f"{engine}: there is no such file")
    sidecar = sidecar_path(engine)
    try:
        facts: dict[str, Any] = json.loads(sidecar.read_text(encoding="utf-8"))
        built, asked = facts["settings"], facts["precision"]["asked"]
        same = facts["graph_hash"] == graph.hash
        name, plan = facts["network"], facts["plan"]
        plain = "kept" not in plan and plan["inputs"] == "fp32"
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(
            f"{sidecar}: not an engine's sidecar, which says how it was built"
        ) from error
    if not same:
        raise UsageError(f"{engine} was built from another network, {name}; this is {graph.name}")
    if not (built.get("refit") or built.get("strip")):
        raise UsageError(
            f"{engine} was built with its weights fixed: export it with --refit or --strip-weights"
        )
    if asked in _EIGHT_BITS:
        raise UsageError(
            f"{engine} computes in {asked}, whose ranges belong to the weights it was calibrated "
            "with: export it anew"
        )
    if not plain:
        raise UsageError(
            f"{engine} keeps some layers, or its inputs, in another type than {asked}, and which "
            "is not known here: export it anew"
        )
    return facts


def _refitted(library: Library, data: bytes, model: bytes) -> memoryview:
    """The engine with the weights of an ONNX model, serialized with them."""
    trt = library.module
    logger = make_logger(trt)
    engine = trt.Runtime(logger).deserialize_cuda_engine(data)
    if engine is None:
        raise _refusal(library, "cannot open the engine", logger.errors)
    refitter = trt.Refitter(engine, logger)
    parser = trt.OnnxParserRefitter(refitter, logger)
    if not parser.refit_from_bytes(model):
        said = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise _refusal(library, "does not take these weights", said)
    if missing := refitter.get_missing_weights():
        names = f"{', '.join(missing[:_LISTED])}{' ...' if len(missing) > _LISTED else ''}"
        raise _refusal(library, f"misses {len(missing)} weights", [names])
    if not refitter.refit_cuda_engine():
        raise _refusal(library, "did not refit the engine", logger.errors)
    config = engine.create_serialization_config()
    config.clear_flag(trt.SerializationFlag.EXCLUDE_WEIGHTS)
    if library.keeps_refit_by_flag:
        config.set_flag(trt.SerializationFlag.INCLUDE_REFIT)
    return memoryview(engine.serialize_with_config(config))


def _refusal(library: Library, what: str, said: list[str]) -> RunError:
    reasons = f": {'; '.join(said)}" if said else ""
    return RunError(f"{library.name} {library.version} {what}{reasons}")
