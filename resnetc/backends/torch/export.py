"""The PyTorch backend's side of `resnetc export`: stand-alone source."""

from __future__ import annotations

from resnetc.atomic import write_text
from resnetc.backends.base import Artefact, ExportRequest
from resnetc.backends.torch.source import emit_source


def export(request: ExportRequest) -> Artefact:
    """Write `<name>.py`; source has neither weights nor precision."""
    path = request.out / f"{request.name}.py"
    replaced = path.exists()
    write_text(path, emit_source(request.graph))
    return Artefact((path,), replaced, {}, "stand-alone source")
