"""What a network reference means: which file, and which network in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from resnetc import resources
from resnetc.diagnostics import UsageError, suggest

_NETWORK = re.compile(r"^network\s+([A-Za-z_]\w*)", re.MULTILINE)


@dataclass(frozen=True)
class Reference:
    """A file and, when named, a network in it. `shown` is the path as messages give it."""

    path: Path
    shown: str
    network: str | None

    def choose(self, networks: list[str], whole: list[str]) -> str:
        """The network that is meant, of those in the file; `whole` are not templates."""
        if self.network is not None:
            if self.network in networks:
                return self.network
            raise UsageError(
                f"{self.shown} has no network `{self.network}`{_hint(self.network, networks)}"
            )
        candidates = whole or networks
        if len(candidates) == 1:
            return candidates[0]
        if not candidates:
            raise UsageError(f"{self.shown} declares no network")
        some = ", ".join(candidates[:6]) + (", ..." if len(candidates) > 6 else "")
        raise UsageError(
            f"{self.shown} has {len(candidates)} networks; name one, such as "
            f"{self.shown}:{candidates[0]} (there are {some})"
        )


def find(reference: str) -> Reference:
    """The file and network of `file.rnet:network`, `file.rnet` or a bare name of the zoo.

    A path that does not exist here but does in the shipped zoo, such as `specs/resnet152.rnet`,
    means the shipped file. Raises UsageError when nothing is found.
    """
    file, separator, network = reference.partition(".rnet:")
    if separator or reference.endswith(".rnet"):
        shown = file + ".rnet" if separator else reference
        return Reference(_locate(shown), shown, network or None)
    zoo = networks()
    if reference in zoo:
        return Reference(zoo[reference], _shown(zoo[reference]), reference)
    here = Path(reference + ".rnet")
    advice = f"; did you mean {here}?" if here.is_file() else _hint(reference, list(zoo))
    raise UsageError(f"there is no network `{reference}` in the zoo{advice}")


def networks() -> dict[str, Path]:
    """The shipped networks and templates by name, with their files. Files are not parsed."""
    found: dict[str, Path] = {}
    for path in sorted(resources.specs().glob("*.rnet")):
        for name in _NETWORK.findall(path.read_text(encoding="utf-8")):
            found[name] = path
    return found


def _locate(shown: str) -> Path:
    path = Path(shown)
    if path.exists():
        return path
    parts = path.parts
    shipped = resources.specs().joinpath(*parts[1:] if parts[0] == "specs" else parts)
    if not path.is_absolute() and ".." not in parts and shipped.is_file():
        return shipped
    raise UsageError(f"{shown}: there is no such file")


def _shown(path: Path) -> str:
    return f"specs/{path.name}"


def _hint(name: str, known: list[str]) -> str:
    close = suggest(name, known)
    return f"; did you mean `{close}`?" if close else ""
