"""Weights of one network's names as another's: what fits, what does not, and what would help."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetc.analysis.matching import Mismatch, compare
from resnetc.analysis.published import Shape
from resnetc.atomic import replacing
from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import Arrays, write_weights
from resnetc.diagnostics import UsageError
from resnetc.ir import Graph
from resnetc.ops import Role

if TYPE_CHECKING:
    import numpy as np

_WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and trainers put before every path."""
_LISTED = 5
Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class Rename:
    """`old=new`: parts of paths, and what they become; a `*` is some of a part, and stays."""

    old: str
    new: str

    @classmethod
    def parse(cls, text: str) -> Rename:
        """From the command line. Raises UsageError for anything but OLD=NEW."""
        old, equals, new = text.partition("=")
        if not equals or not old or old.count("*") < new.count("*"):
            raise UsageError(f"--rename takes OLD=NEW, with no more `*` in NEW, not `{text}`")
        return cls(old, new)

    def apply(self, path: str) -> str:
        """A path with every place of `old` renamed; whole parts only."""
        pattern = re.escape(self.old).replace(r"\*", r"([^.]+)")
        stars = iter(range(1, 100))
        new = re.sub(r"\*", lambda _: f"\\g<{next(stars)}>", self.new.replace("\\", r"\\"))
        renamed = re.sub(rf"(?<![^.]){pattern}(?![^.])", new, path)
        return re.sub(r"\.{2,}", ".", renamed).strip(".")


@dataclass(frozen=True)
class Conversion:
    """Arrays for a network, by its own paths, and what keeps them from being all it needs.

    `sources` says which path of the weights each one comes from, `head` the paths of the last layer
    with parameters, which depend on the number of classes; `fresh` of these are made anew.
    `ordered` says that what no name fits would fit in the order in which it stands.
    """

    graph: Graph
    weights: Arrays
    sources: Mapping[str, str]
    mismatch: Mismatch
    head: tuple[str, ...]
    fresh: tuple[str, ...] = ()
    ordered: bool = False

    @property
    def fits(self) -> bool:
        return not self.mismatch

    def arrays(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Everything the network needs, in its own element types; a fresh head from the seed.

        Counters of batch norms that the weights do not have are 0.
        """
        import numpy as np

        drawn = random_weights(self.graph, seed)
        found = {}
        for path, parameter in self.graph.parameters.items():
            dtype = np.dtype(parameter.type.dtype.value)
            if path in self.sources:
                found[path] = np.asarray(self.weights[self.sources[path]]).astype(dtype)
            elif path in self.fresh:
                found[path] = drawn[path]
            else:
                found[path] = np.zeros(parameter.type.shape, dtype)
        return found

    def to_json(self) -> dict[str, Any]:
        """What fits and what does not, for machines."""
        return {
            "fits": self.fits,
            "arrays": len(self.sources),
            "renamed": {p: source for p, source in self.sources.items() if p != source},
            "missing": list(self.mismatch.only_here),
            "unexpected": list(self.mismatch.only_there),
            "shapes": {
                path: {"network": list(here), "weights": list(there)}
                for path, here, there in self.mismatch.reshaped
            },
            "rename": {new: old for old, new in self.mismatch.renames.items()},
            "fresh": list(self.fresh),
            "ordered": self.ordered,
        }


def convert(
    graph: Graph,
    weights: Arrays,
    renames: Iterable[Rename] = (),
    *,
    drop_head: bool = False,
    by_order: bool = False,
) -> Conversion:
    """Fit weights to a network by name. Raises UsageError where renames make two paths one.

    With `by_order`, what no name fits goes by the order in which it stands, and must have the last
    part of its path and its shape: two files of one architecture under names that have nothing in
    common. Raises UsageError for the first pair that does not match.

    Batch norm's counters need not be there, and those of others are passed over. With `drop_head`
    the weights' own head is left out, whatever its shape, and the network's is made anew.
    """
    renamed = _renamed(graph, weights, tuple(renames))
    head = _head(graph)
    fresh = head if drop_head else ()
    here = {
        path: parameter.type.shape
        for path, parameter in graph.parameters.items()
        if path not in fresh and (parameter.role is not Role.COUNTER or path in renamed)
    }
    left_out = {path for path in renamed if path in fresh or _is_idle_counter(path, here)}
    there = {p: weights.shape(source) for p, source in renamed.items() if p not in left_out}
    if by_order:
        pairs = _in_order(here, there)
        renamed = {pairs.get(path, path): source for path, source in renamed.items()}
        there = {pairs.get(path, path): shape for path, shape in there.items()}
    mismatch = compare(here, there)
    sources = {p: renamed[p] for p, shape in here.items() if there.get(p) == shape}
    ordered = bool(mismatch.only_here) and _first_unlike(here, there) is None
    return Conversion(graph, weights, sources, mismatch, head, fresh, ordered)


def _in_order(here: Shapes, there: Shapes) -> dict[str, str]:
    """The network's path by the weights' path, of those that only one of the two has."""
    if (unlike := _first_unlike(here, there)) is not None:
        told = [f"{path} ({_by(shape)})" if path else "nothing" for path, shape in unlike]
        raise UsageError("in order, {} would be made of {}".format(*told))
    return {b: a for a, b in zip(*_left(here, there), strict=True)}


def _left(here: Shapes, there: Shapes) -> tuple[list[str], list[str]]:
    """The paths that only one of the two has, in order."""
    return [p for p in here if p not in there], [p for p in there if p not in here]


def _first_unlike(here: Shapes, there: Shapes) -> tuple[tuple[str, Shape], ...] | None:
    """The first pair in order, here and there, whose shapes or last parts differ; "" where one of
    the two has come to its end."""
    for a, b in itertools.zip_longest(*_left(here, there), fillvalue=""):
        pair = ((a, here.get(a, ())), (b, there.get(b, ())))
        if pair[0][1] != pair[1][1] or a.split(".")[-1] != b.split(".")[-1]:
            return pair
    return None


def _renamed(graph: Graph, weights: Arrays, renames: tuple[Rename, ...]) -> dict[str, str]:
    """The path of the weights by the path that it becomes."""
    paths = {path: path for path in weights}
    own = [w for w in _WRAPPERS if all(path.startswith(w) for path in graph.parameters)]
    while wrapper := _wrapper(paths.values(), own):
        paths = {source: path.removeprefix(wrapper) for source, path in paths.items()}
    for rename in renames:
        changed = {source: rename.apply(path) for source, path in paths.items()}
        if changed == paths:
            raise UsageError(f"--rename {rename.old}={rename.new}: no path has `{rename.old}`")
        paths = changed
    by_new: dict[str, str] = {}
    for source, path in paths.items():
        if path in by_new:
            raise UsageError(f"--rename makes both {by_new[path]} and {source} `{path}`")
        by_new[path] = source
    return by_new


def _wrapper(paths: Collection[str], own: Collection[str]) -> str | None:
    """What all paths begin with that is no part of the network's."""
    found = (w for w in _WRAPPERS if w not in own and all(path.startswith(w) for path in paths))
    return next(found, None) if paths else None


def _is_idle_counter(path: str, here: Mapping[str, object]) -> bool:
    return path.endswith("num_batches_tracked") and path not in here


def _head(graph: Graph) -> tuple[str, ...]:
    """The parameters of the last layer that has some on the way to the first output."""
    last = next(iter(graph.outputs.values()))
    while not graph[last].parameters:
        if len(graph[last].inputs) != 1:
            return ()
        (last,) = graph[last].inputs
    return tuple(parameter.path for parameter in graph[last].parameters)


def describe(conversion: Conversion) -> str:
    """What does not fit, a line for each kind, and the option that would help."""
    mismatch = conversion.mismatch
    lines = [f"the weights do not fit {conversion.graph.name}:"]
    lines += _line("missing", mismatch.only_here)
    lines += _line("not in the network", mismatch.only_there)
    shapes = [f"{p} is {_by(b)} and should be {_by(a)}" for p, a, b in mismatch.reshaped]
    lines += _line("of another shape", shapes)
    return "\n".join([*lines, *_advice(conversion)])


def _advice(conversion: Conversion) -> Iterable[str]:
    mismatch = conversion.mismatch
    if mismatch.renames:
        options = [f"--rename {there}={here}" for here, there in mismatch.renames.items() if there]
        if options and len(options) == len(mismatch.renames):
            yield f"  they match one to one with {' '.join(options)}"
    elif conversion.ordered:
        yield "  in order they match one to one, by shape and last part: --by-order"
    reshaped = {path for path, _, _ in mismatch.reshaped}
    if reshaped and reshaped <= set(conversion.head):
        (_, here, there), *_ = mismatch.reshaped
        yield (
            f"  the head is for {there[0]} classes and the network has {here[0]}: --drop-head "
            "gives it a fresh one"
        )


def _line(what: str, items: Iterable[str]) -> list[str]:
    listed = list(items)
    more = f", and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return [f"  {what}: {', '.join(listed[:_LISTED])}{more}"] if listed else []


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if shape else "a scalar"


def write_converted(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as .safetensors, or as a state_dict of torch's, whole or not at all."""
    if path.suffix == ".safetensors":
        write_weights(path, arrays)
        return
    if path.suffix not in (".pth", ".pt"):
        raise UsageError(f"{path}: weights are written to .safetensors, .pth or .pt")
    import torch

    # Not straight into the file: torch makes an error of its own of what the disk says.
    made = io.BytesIO()
    torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, made)
    with replacing(path) as file:
        file.write(made.getbuffer())
