"""Names and shapes of published weights: torchvision's and timm's, as they ship in `specs/`.

`tools/published_weights.py` writes the files; nothing of a framework is needed to read them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache

from resnetc import resources
from resnetc.diagnostics import UsageError, suggest

Shape = tuple[int, ...]
_Part = Mapping[str, int | str]


def published_shapes(name: str) -> Mapping[str, Shape]:
    """Shapes by path, in state_dict order, of weights such as "torchvision/resnet50".

    Raises UsageError when no such weights are known.
    """
    source, _, network = name.partition("/")
    sources = {path.stem: path for path in resources.published_weights()}
    if source not in sources or not network:
        known = ", ".join(f"{name}/..." for name in sources)
        raise UsageError(f"weights are called {known}; `{name}` is not")
    parts, networks, release = _read(source)
    if network not in networks:
        close = suggest(network, networks)
        hint = f"; did you mean {source}/{close}?" if close else ""
        raise UsageError(f"{release} has no network `{network}`{hint}")
    return dict(_flatten(parts, networks[network]))


def published_names() -> list[str]:
    """All names that `published_shapes` takes."""
    sources = [path.stem for path in resources.published_weights()]
    return [f"{source}/{name}" for source in sources for name in _read(source)[1]]


@cache
def _read(source: str) -> tuple[list[_Part], dict[str, int], str]:
    (path,) = (path for path in resources.published_weights() if path.stem == source)
    document = json.loads(path.read_text(encoding="utf-8"))
    return document["parts"], document["networks"], document["source"]


def _flatten(parts: list[_Part], root: int) -> Iterator[tuple[str, Shape]]:
    """The leaves below a part, depth first."""
    waiting = [("", root)]
    while waiting:
        path, number = waiting.pop()
        below = []
        for name, content in parts[number].items():
            if isinstance(content, int):
                below.append((f"{path}{name}.", content))
            else:
                yield f"{path}{name}", tuple(map(int, content.split("x"))) if content else ()
        waiting += reversed(below)
