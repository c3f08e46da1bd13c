"""Writes `specs/weights/*.json`: the names and shapes of published state_dicts, no numbers.

`expect weights = "torchvision/resnet50"` is proven against these files, so that the compiler
needs neither torch nor a download for it. Run it when torchvision or timm has a new release:

    python tools/published_weights.py torchvision timm

Modules that hold the same names and shapes are written once: `parts` are modules, each a map from
name to a shape ("64x3x7x7", "" for a scalar) or to the number of another part; `networks` says
which part each network is.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

SPECS = Path(__file__).parent.parent / "specs"
TIMM_MODULES = (
    "resnet",
    "resnetv2",
    "res2net",
    "resnest",
    "senet",
    "sknet",
    "inception_resnet_v2",
    "dpn",
    "cspnet",
    "hrnet",
)
NOT_CONVOLUTIONAL = ("vit", "swin", "maxvit")

Shapes = Mapping[str, tuple[int, ...]]
Part = dict[str, "int | str"]


def torchvision_networks(chosen: list[str] | None = None) -> Iterator[tuple[str, Shapes]]:
    """Every convolutional classifier of torchvision, with its auxiliary heads."""
    import torchvision

    for name in chosen or torchvision.models.list_models(module=torchvision.models):
        if not name.startswith(NOT_CONVOLUTIONAL):
            heads = {"aux_logits": True, "init_weights": False}
            arguments = heads if name in ("googlenet", "inception_v3") else {}
            with WithoutMemory():
                module = torchvision.models.get_model(name, weights=None, **arguments)
            yield name, shapes_of(module)


def timm_networks(chosen: list[str] | None = None) -> Iterator[tuple[str, Shapes]]:
    """The residual families of timm."""
    import timm

    names = [name for module in TIMM_MODULES for name in timm.list_models(module=module)]
    names += timm.list_models("repvgg*")
    for name in chosen or names:
        with WithoutMemory():
            yield name, shapes_of(timm.create_model(name))


class WithoutMemory(TorchFunctionMode):
    """Lets modules make their weights without memory; what they compute widths with is real."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.empty:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


SOURCES = {"torchvision": torchvision_networks, "timm": timm_networks}


def shapes_of(module: torch.nn.Module) -> Shapes:
    """The state_dict without its numbers."""
    return {path: tuple(array.shape) for path, array in module.state_dict().items()}


class Parts:
    """Modules by number, equal ones once."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._numbers: dict[str, int] = {}

    def add(self, shapes: Shapes) -> int:
        """The number of the module that has these names and shapes."""
        part: Part = {}
        children: dict[str, dict[str, tuple[int, ...]]] = {}
        for path, shape in shapes.items():
            name, dot, rest = path.partition(".")
            if dot:
                children.setdefault(name, {})[rest] = shape
                part.setdefault(name, -1)
            else:
                part[name] = "x".join(map(str, shape))
        part.update({name: self.add(inside) for name, inside in children.items()})
        text = json.dumps(part)
        if text not in self._numbers:
            self._numbers[text] = len(self.parts)
            self.parts.append(part)
        return self._numbers[text]


def document(source: str, networks: Iterator[tuple[str, Shapes]]) -> str:
    """The file's text, a part or network on each line."""
    module: Any = sys.modules.get(source) or __import__(source)
    parts = Parts()
    numbers = {name: parts.add(shapes) for name, shapes in networks}
    lines = ",\n".join(map(json.dumps, parts.parts))
    entries = ",\n".join(f"{json.dumps(name)}: {number}" for name, number in numbers.items())
    version = module.__version__.partition("+")[0]
    head = f'"source": "{source} {version}"'
    return f'{{\n{head},\n"parts": [\n{lines}\n],\n"networks": {{\n{entries}\n}}\n}}\n'


def main(sources: list[str]) -> None:
    """Write the files of these sources."""
    warnings.simplefilter("ignore")
    for source in sources or list(SOURCES):
        path = SPECS / "weights" / f"{source}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(document(source, SOURCES[source]()), encoding="utf-8")
        print(f"{path.relative_to(SPECS.parent)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
