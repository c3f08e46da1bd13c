"""Weights by parameter path: from files, to files, and fitted to a network.

Weights are a mapping from parameter path to array, read lazily where a file allows it, so that
writing an artefact never needs more than one array in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from resnetc.atomic import replacing
from resnetc.diagnostics import RunError, UsageError, suggest
from resnetc.ir import Graph
from resnetc.ops import Role

if TYPE_CHECKING:
    import numpy as np

CHECKPOINT_WEIGHTS = "weights.safetensors"
"""The weights' file in a checkpoint's folder."""
CHECKPOINT_AVERAGE = "ema.safetensors"
"""Their average's, where the recipe keeps one: it is what is judged."""
METADATA = "resnetc"
"""The key in a .safetensors file's metadata under which JSON says where the weights are from."""
_LISTED = 5
_GROUP = 4 << 20
"""Bytes of arrays that are hashed in one go, at least; it is a part of what the hash is."""
_LARGE = 1 << 20
"""Bytes from which on an array is not copied to be hashed."""


class Arrays(Mapping[str, "np.ndarray"]):
    """Arrays by parameter path that may not exist until they are read.

    `__contains__` must be given beside what a mapping needs: the inherited one reads the array.
    """

    @property
    def held(self) -> Mapping[str, np.ndarray]:
        """Those of the arrays that lie in memory whether they are read or not."""
        return {}

    @abstractmethod
    def __contains__(self, path: object) -> bool: ...

    def shape(self, path: str) -> tuple[int, ...]:
        """The array's shape, had without making the array where that can be."""
        return self[path].shape


class _SafetensorsFile(Arrays):
    """A .safetensors file; each access reads one array."""

    def __init__(self, path: Path) -> None:
        import safetensors

        self._file: Any
        try:
            self._file = safetensors.safe_open(path, framework="numpy")
        except FileNotFoundError as error:
            raise UsageError(f"{path}: there is no such file") from error
        except (safetensors.SafetensorError, OSError) as error:
            if path.suffix != ".safetensors":
                raise UsageError(
                    f"{path}: these are no weights; give the folder of a run or a checkpoint, or a "
                    ".safetensors or .pth file"
                ) from error
            raise RunError(f"{path}: not a whole .safetensors file: {error}") from error
        self._paths = dict.fromkeys(self._file.keys())

    def shape(self, path: str) -> tuple[int, ...]:
        return tuple(self._file.get_slice(path).get_shape())

    def __contains__(self, path: object) -> bool:
        return path in self._paths

    def __getitem__(self, path: str) -> np.ndarray:
        if path not in self._paths:
            raise KeyError(path)
        return cast("np.ndarray", self._file.get_tensor(path))

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class _Tensors(Arrays):
    """Torch tensors seen as numpy arrays; arrays pass through. What has to be copied for that,
    from a GPU or out of a type that numpy does not have, is copied when it is read."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self._tensors = tensors
        here = tensors.items() if isinstance(tensors, dict) else ()
        self._held = {path: _as_array(tensor) for path, tensor in here if _is_array(tensor)}

    @property
    def held(self) -> Mapping[str, np.ndarray]:
        return self._held

    def shape(self, path: str) -> tuple[int, ...]:
        return tuple(self._held.get(path, self._tensors[path]).shape)

    def __contains__(self, path: object) -> bool:
        return path in self._tensors

    def __getitem__(self, path: str) -> np.ndarray:
        known = self._held.get(path)
        return _as_array(self._tensors[path]) if known is None else known

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _is_array(tensor: Any) -> bool:
    """Whether numpy can see it where it is."""
    if not hasattr(tensor, "detach"):
        return True
    return bool(tensor.is_cpu) and not _is_narrow(tensor)


def _is_narrow(tensor: Any) -> bool:
    """Whether it becomes float32: numpy has no bfloat16."""
    return bool(tensor.is_floating_point()) and tensor.element_size() < 4


def _as_array(tensor: Any) -> np.ndarray:
    if not hasattr(tensor, "detach"):
        return cast("np.ndarray", tensor)
    if tensor.requires_grad or not tensor.is_cpu:
        tensor = tensor.detach().cpu()
    if _is_narrow(tensor):
        tensor = tensor.float()
    return cast("np.ndarray", tensor.numpy())


def as_arrays(weights: Mapping[str, Any]) -> Arrays:
    """A state_dict, or any mapping of arrays, as arrays."""
    return weights if isinstance(weights, Arrays) else _Tensors(weights)


def read_weights(path: Path) -> Arrays:
    """Weights from a .safetensors file, a run's or checkpoint's folder, or a .pth/.pt of torch's.

    A foreign .pth is read with `weights_only`: it cannot run code. Raises UsageError where there
    is nothing to read, RunError for a file that is damaged or of another kind.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.suffix in (".pth", ".pt"):
        return _read_torch(path)
    return _SafetensorsFile(path)


def write_weights(
    path: Path, weights: Mapping[str, Any], facts: Mapping[str, str] | None = None
) -> None:
    """Write weights as a .safetensors file, whole or not at all."""
    with replacing(path) as file:
        file.write(weights_bytes(weights, facts))


def weights_bytes(weights: Mapping[str, Any], facts: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a .safetensors file.

    `facts`, such as the graph's hash, go into its metadata: as one value, for the library writes
    several in an order that changes from run to run.
    """
    from safetensors.numpy import save

    arrays = {name: array.copy(order="C") for name, array in as_arrays(weights).items()}
    return bytes(save(arrays, {METADATA: json.dumps(dict(facts))} if facts else None))


def _read_folder(folder: Path) -> Arrays:
    """The weights of a run or checkpoint; a checkpoint's own digest must hold."""
    average = folder / CHECKPOINT_AVERAGE
    file = average if average.is_file() else folder / CHECKPOINT_WEIGHTS
    if not file.is_file():
        raise UsageError(f"{folder}: this folder holds no {CHECKPOINT_WEIGHTS}{_instead(folder)}")
    state = folder / "state.json"
    if state.is_file():
        try:
            expected = json.loads(state.read_bytes())["files"][file.name]
        except (ValueError, LookupError, TypeError) as error:
            raise RunError(f"{state}: not the state of a checkpoint: {error}") from error
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != expected:
                raise RunError(f"{file}: damaged: its digest is not the one in {state.name}")
    return _SafetensorsFile(file)


def _instead(folder: Path) -> str:
    """Of a run that has not ended: the checkpoints that may be given in its place, in words."""
    newest = sorted(folder.glob("checkpoints/step-*"), reverse=True)
    if not newest:
        return ""
    judged = [(error, path) for path in newest if (error := _judged(path)) is not None]
    best = min(judged, key=lambda each: each[0])[1] if judged else newest[0]
    which = " and the best" if best == newest[0] else f", or {best}, the best"
    return f", for the run has not ended; give one of its checkpoints: {newest[0]}, the last{which}"


def _judged(checkpoint: Path) -> float | None:
    """The error that a checkpoint was judged with, None where it was not, or is damaged."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        error = json.loads((checkpoint / "state.json").read_bytes()).get("error")
        return None if error is None else float(error)
    return None


def _read_torch(path: Path) -> Arrays:
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # its readers of three formats fail in many ways
        raise RunError(f"{path}: torch cannot read this as plain weights: {_why(error)}") from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(hasattr(v, "shape") for v in found.values()):
        raise RunError(f"{path}: this holds no state_dict")
    return _Tensors(found)


def _why(error: Exception) -> str:
    """What torch says, without its advice to run what is in the file."""
    said = str(error)
    if found := _GLOBAL.search(said):
        return (
            f"it holds {found[1]}, which only code can make, and no file's code is run; write the "
            "arrays alone, with torch.save(model.state_dict(), PATH)"
        )
    if "weights_only" in said:
        return (
            "it holds more than arrays; write them alone, with torch.save(model.state_dict(), PATH)"
        )
    return said.strip().partition("\n")[0]


_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def require_numbers(graph: Graph, weights: Mapping[str, np.ndarray]) -> None:
    """Raise RunError that names the first array with which nothing can be computed: one that is of
    integers, that holds what is no finite number, or a variance below zero."""
    import numpy as np

    for path, parameter in graph.parameters.items():
        if parameter.role is Role.COUNTER:
            continue
        array = weights[path]
        if array.dtype.kind != "f":
            raise RunError(f"{path} is of {array.dtype}, and floats are wanted")
        if not np.isfinite(array.sum(dtype=np.float64)) and not np.isfinite(array).all():
            what = "NaN" if np.isnan(array).any() else "infinity"
            raise RunError(f"{path} holds {what}: with these weights there is nothing to compute")
        if parameter.role is Role.VARIANCE and array.size and array.min() < 0:
            raise RunError(f"{path} holds {array.min():.3g}, and a variance is at least 0")


def fit_weights(graph: Graph, weights: Mapping[str, Any]) -> Arrays:
    """The same weights as arrays, once every parameter of the graph has one of its shape.

    Batch norm's counters may be missing, for nothing that infers reads them; where the graph is a
    part of a network, weights of the rest are passed over. Raises UsageError that names what is
    missing, what has another shape and what the network does not have.
    """
    held = as_arrays(weights)
    here = held.held
    parameters = graph.parameters
    if here.keys() == parameters.keys() and all(
        here[path].shape == parameter.type.shape for path, parameter in parameters.items()
    ):
        return held
    missing: list[str] = []
    other: list[str] = []
    for path, parameter in parameters.items():
        if parameter.role is Role.COUNTER:
            continue
        if path not in held:
            missing.append(path)
        elif (shape := held.shape(path)) != parameter.type.shape:
            other.append(f"{path} is {_by(shape)} and should be {_by(parameter.type.shape)}")
    left_out = graph.left_out
    unknown = [path for path in held if path not in parameters and path not in left_out]
    complaints = [
        *_complaint("missing", [_with_hint(path, unknown) for path in missing]),
        *_complaint("of another shape", other),
        *_complaint("not in the network", unknown),
    ]
    if complaints:
        raise UsageError(f"the weights do not fit {graph.name}:\n" + "\n".join(complaints))
    return held


def weights_hash(graph: Graph, weights: Mapping[str, np.ndarray]) -> str:
    """Identity of the arrays a graph uses: names, shapes, element types and bytes."""
    return combine_digests(
        group_digest((path, weights[path]) for path in group) for group in hashed_groups(graph)
    )


def hashed_groups(graph: Graph) -> list[list[str]]:
    """The parameters that make up the identity of a graph's weights, in its order: all that
    inference reads. A group of them, of some megabytes, is hashed in one go."""
    groups: list[list[str]] = []
    sizes: dict[int, int] = {}  # by the type's identity: types are few
    room = 0
    counter = Role.COUNTER
    group: list[str] = []
    for path, parameter in graph.parameters.items():
        if parameter.role is counter:
            continue
        if room <= 0:
            groups.append(group := [])
            room = _GROUP
        type_ = parameter.type
        room -= sizes.get(id(type_)) or sizes.setdefault(id(type_), type_.bytes)
        group.append(path)
    return groups


def group_digest(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """Identity of some arrays under their names: what they are, then their bytes, in this order.

    Small ones are joined first: hashing is quick and leaves Python's lock, calling it is not.
    """
    import numpy as np

    heads: list[str] = []
    held: list[np.ndarray] = []
    kinds: dict[tuple[object, object], str] = {}  # few are different, and slow to spell
    for path, array in arrays:
        kind = array.shape, array.dtype
        told = kinds.get(kind) or kinds.setdefault(kind, f"{array.shape} {array.dtype.str}")
        heads.append(f"{path} {told}")
        held.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
    digest = hashlib.sha256("\n".join(heads).encode())
    small: list[memoryview] = []
    for array in held:
        if array.nbytes < _LARGE:
            small.append(array.data)
        else:
            digest.update(b"".join(small))
            small.clear()
            digest.update(array.reshape(-1).view(np.uint8).data)
    digest.update(b"".join(small))
    return digest.hexdigest()


def combine_digests(digests: Iterable[str]) -> str:
    """Identity of several groups of arrays in a row."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _complaint(what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = f", and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return [f"  {what}: {', '.join(items[:_LISTED])}{more}"]


def _with_hint(path: str, unknown: list[str]) -> str:
    meant = suggest(path, unknown) if len(unknown) <= _LISTED else None
    return f"{path} (is it {meant}?)" if meant else path


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if shape else "a scalar"
