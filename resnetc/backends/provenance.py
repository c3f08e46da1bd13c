"""What an artefact says of where it comes from, held against the network that is here.

ONNX          `metadata_props`, each key behind "resnetc."
engine        the sidecar `<engine>.json`
safetensors   the file's `__metadata__`, keys as in ONNX
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.backends.weights import METADATA, weights_hash
from resnetc.diagnostics import CheckError, RunError, UsageError
from resnetc.ir import Graph
from resnetc.passes import LAYERS
from resnetc.version import __version__

if TYPE_CHECKING:
    import numpy as np
    import onnx

PREFIX = "resnetc."
_SHOWN = 12
"""Digits of a hash that are shown."""


@dataclass(frozen=True)
class Claim:
    """One thing an artefact says of itself. `holds` is None for what was not or cannot be checked;
    `told` says in words what was found."""

    artefact: str
    what: str
    holds: bool | None
    told: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        verdict = {True: "", False: "STALE: ", None: ""}[self.holds]
        return f"{self.artefact}  {self.what:<9} {verdict}{self.told}"


@dataclass(frozen=True)
class OnnxFacts:
    """An ONNX file without its arrays: what it says, the shape of its first input (None for what
    is dynamic), and its layers counted by the precision of their weights."""

    said: Mapping[str, str]
    input_shape: tuple[int | None, ...]
    precisions: Mapping[str, int]


def staleness(claims: Iterable[Claim]) -> list[str]:
    """The artefacts that are stale, and in what."""
    return [f"{claim.artefact} is stale: {claim.told}" for claim in claims if claim.holds is False]


def require_same_network(graph: Graph, said: Mapping[str, str], file: Path) -> None:
    """Raise UsageError for a file that says it is of another network, CheckError for one of another
    state of this one; either way there is nothing to compare."""
    written_from = said.get("graph_hash")
    if written_from is None or written_from == graph.hash:
        return
    name = said.get("network")
    told = (
        f"was written from {name}, graph {_short(written_from)}; "
        f"this is {graph.name}, graph {_short(graph.hash)}"
    )
    if name == graph.name:
        raise CheckError(f"{file} is stale: it {told}. The spec or its settings have changed since")
    raise UsageError(f"the ONNX file {told}")


def check_onnx(
    graph: Graph, weights: Mapping[str, np.ndarray], file: Path, spec_hash: str | None = None
) -> list[Claim]:
    """What an ONNX file says, checked. Raises RunError for a file that is none."""
    facts = onnx_facts(file)
    said = facts.said
    return [
        *_common(file.name, graph, weights, said, spec_hash),
        _precision(file.name, said.get("precision"), facts.precisions, "layers by their weights"),
        _version(file.name, "resnetc", said.get("version"), __version__),
    ]


def check_engine(
    graph: Graph, weights: Mapping[str, np.ndarray], file: Path, spec_hash: str | None = None
) -> list[Claim]:
    """What an engine's sidecar says, checked; the sidecar must belong to this very file.

    Raises UsageError where a file is missing, RunError for a sidecar that cannot be read.
    """
    facts = engine_facts(file)
    said = facts.said
    with file.open("rb") as opened:
        same = hashlib.file_digest(opened, "sha256").hexdigest() == said["engine_sha256"]
    told = "the file the sidecar speaks of" if same else f"not the file {file.name}.json speaks of"
    return [
        Claim(file.name, "file", same, told),
        *_common(file.name, graph, weights, said, spec_hash),
        _precision(file.name, facts.asked, facts.found, "layers as read back"),
        _version(file.name, "resnetc", said.get("resnetc"), __version__),
        _library(file.name, facts.library, facts.version),
    ]


@dataclass(frozen=True)
class EngineFacts:
    """What an engine's sidecar says: all of it, the precision that was asked for, layers counted by
    what they have, and the library that built it."""

    said: Mapping[str, Any]
    asked: str
    found: Mapping[str, int]
    library: str
    version: str


def engine_facts(file: Path) -> EngineFacts:
    """Read the sidecar of an engine.

    Raises UsageError where a file is missing, RunError for a sidecar that cannot be read.
    """
    sidecar = file.with_name(f"{file.name}.json")
    for each in (file, sidecar):
        _require_file(each)
    try:
        said = json.loads(sidecar.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{sidecar}: not an engine's sidecar: {error}") from error
    asked, found, library, version, _ = (_told(sidecar, said, *path) for path in _SIDECAR)
    if not isinstance(found, dict) or not all(isinstance(n, int) for n in found.values()):
        raise RunError(f"{sidecar}: not an engine's sidecar: it counts no layers by precision")
    return EngineFacts(said, str(asked), found, str(library), str(version))


_SIDECAR = (
    ("precision", "asked"),
    ("precision", "found"),
    ("library", "name"),
    ("library", "version"),
    ("engine_sha256",),
)
"""Where in a sidecar what must be there stands."""


def _told(sidecar: Path, said: Any, *path: str) -> Any:
    """What a sidecar says under some keys. Raises RunError where it does not."""
    for key in path:
        if not isinstance(said, dict) or key not in said:
            raise RunError(f"{sidecar}: not an engine's sidecar: there is no {'.'.join(path)}")
        said = said[key]
    return said


def _require_file(path: Path) -> None:
    """Raise UsageError for what is no file, and say which of both: a folder, or nothing."""
    if path.is_dir():
        raise UsageError(f"{path}: this is a folder, and a file is wanted")
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")


def check_weights(graph: Graph, file: Path) -> list[Claim]:
    """What a .safetensors file says of the network it is of; nothing for one that says nothing."""
    said = weights_facts(file)
    return [_graph(file.name, graph, said)] if "graph_hash" in said else []


def weights_facts(file: Path) -> dict[str, str]:
    """The metadata of a .safetensors file; none of another kind of file."""
    import safetensors

    if not file.is_file() or file.suffix in (".pth", ".pt"):
        return {}
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            return dict(json.loads((opened.metadata() or {}).get(METADATA, "{}")))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{file}: not a whole .safetensors file: {error}") from error


def text_hash(text: str) -> str:
    """Identity of a spec's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _without_prefix(said: Mapping[str, str]) -> dict[str, str]:
    return {
        key.removeprefix(PREFIX): value for key, value in said.items() if key.startswith(PREFIX)
    }


# --------------------------------------------------------------------------------------- claims


def _common(
    artefact: str,
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    said: Mapping[str, str],
    spec_hash: str | None,
) -> Iterator[Claim]:
    yield _graph(artefact, graph, said)
    yield _weights(artefact, said.get("weights_hash"), weights_hash(graph, weights))
    written = said.get("spec_hash")
    if written is not None and spec_hash is not None:
        same = written == spec_hash
        told = "the text is the same" if same else "the text has changed since, the network has not"
        yield Claim(artefact, "spec", True if same else None, told)


def _graph(artefact: str, graph: Graph, said: Mapping[str, str]) -> Claim:
    written = said.get("graph_hash")
    if written is None:
        return Claim(artefact, "graph", None, "it does not say which graph it was written from")
    if written == graph.hash:
        return Claim(artefact, "graph", True, f"{graph.name}, {_short(written)}")
    told = (
        f"written from {said.get('network')}, graph {_short(written)}; "
        f"this is {graph.name}, graph {_short(graph.hash)}"
    )
    return Claim(artefact, "graph", False, told)


def _weights(artefact: str, written: str | None, here: str) -> Claim:
    if written is None:
        return Claim(artefact, "weights", None, "it does not say which weights it holds")
    if written == here:
        return Claim(artefact, "weights", True, _short(here))
    return Claim(
        artefact, "weights", False, f"it holds weights {_short(written)}; these are {_short(here)}"
    )


def _precision(artefact: str, said: str | None, found: Mapping[str, int], counting: str) -> Claim:
    """The precision that was asked for must be there, beside others in a layer too: a layer of
    eight bits reads numbers that are wider. Of fp32 all must be."""
    counted = ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "no layers"
    if said is None:
        return Claim(artefact, "precision", None, counted)
    if said not in LAYERS:  # a damaged file, whose other words may be right
        told = f"it says {said!r}, which is none; {counting}: {counted}"
        return Claim(artefact, "precision", None, told)
    present = {word for name in found for word in name.split("+")}
    holds = said in present and (said != "fp32" or present == {"fp32"})
    told = f"{said}; {counting}: {counted}"
    return Claim(artefact, "precision", holds, told if holds else f"it says {told}")


def _version(artefact: str, package: str, written: str | None, here: str) -> Claim:
    """Another version is no mistake: what matters is compared by itself."""
    if written is None:
        return Claim(artefact, "version", None, f"it does not say which {package} wrote it")
    same = written == here
    told = f"{package} {written}" + ("" if same else f", and {here} is here")
    return Claim(artefact, "version", True if same else None, told)


def _library(artefact: str, name: str, built_with: str) -> Claim:
    """An engine is opened by the version that built it, unless it was built to be compatible."""
    try:
        here = metadata.version(name.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return Claim(artefact, "library", None, f"{name} {built_with}, which is not installed here")
    holds = here == built_with
    told = f"{name} {built_with}" + ("" if holds else f", and {here} is here")
    return Claim(artefact, "library", holds, told)


def _short(digest: str) -> str:
    return digest[:_SHOWN]


# ----------------------------------------------------------------------------------------- ONNX


def onnx_facts(file: Path) -> OnnxFacts:
    """Read an ONNX file without external arrays.

    Raises UsageError where there is none, RunError for another kind of file.
    """
    import onnx

    _require_file(file)
    try:
        model = onnx.load(file, load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # protobuf's own, which onnx does not name
        raise RunError(f"{file}: this is no whole ONNX model: {error}") from error
    if not model.graph.input:
        raise RunError(f"{file}: this is no whole ONNX model: it reads nothing")
    dims = model.graph.input[0].type.tensor_type.shape.dim
    shape = tuple(each.dim_value if each.HasField("dim_value") else None for each in dims)
    said = _without_prefix({each.key: each.value for each in model.metadata_props})
    return OnnxFacts(said, shape or (None,), layer_precisions(model))


def layer_precisions(model: onnx.ModelProto) -> Counter[str]:
    """Layers with weights, counted by what the weights are stored in: a file may say "int8" and
    hold floats."""
    stored = {each.name: each.data_type for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("DequantizeLinear", "Cast"):
            kept = [stored[name] for name in node.input[:1] if name in stored]
            stored.update(zip(node.output, kept, strict=False))
    names = _precision_names()
    return Counter(
        names.get(stored[weight], "of another type")
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
        for weight in node.input[1:2]
        if weight in stored
    )


def _precision_names() -> dict[int, str]:
    from onnx import TensorProto

    kinds = {
        "FLOAT": "fp32",
        "FLOAT16": "fp16",
        "BFLOAT16": "bf16",
        "DOUBLE": "fp64",
        "INT8": "int8",
        "UINT8": "int8",
        "FLOAT8E4M3FN": "fp8",
    }
    return {TensorProto.DataType.Value(kind): name for kind, name in kinds.items()}
