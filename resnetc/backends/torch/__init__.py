"""PyTorch: a graph as readable stand-alone source, and as the live module that this source makes.

graph -> values, tree      which tensors are read where; which scopes are modules
      -> programs, terms   what each module does, in a form that can be compared
      -> variants, classes one class for all instances of a block
      -> constructors, sequences, forward, source, layout   the text
      -> live              the text, compiled
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnetc.backends.torch.source import emit_source

if TYPE_CHECKING:
    from resnetc.backends.torch.live import blank_module, build_module, initialise, is_emitted

__all__ = ["blank_module", "build_module", "emit_source", "initialise", "is_emitted"]


def __getattr__(name: str) -> Any:
    """All but writing source needs torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from resnetc.backends.torch import live

    return getattr(live, name)
