"""The zoo beside the modules it re-states: references by network, and how they are compared.

One file per source of references, each with a table REFERENCES; `references()` joins them.
"""

from __future__ import annotations

import importlib

from zoo.reference import Reference

SOURCES = ("torchvision", "timm_resnet", "timm_resnetv2", "timm_others", "by_hand")


def references() -> dict[str, Reference]:
    """All references by name. Raises ValueError when two tables have one name."""
    joined: dict[str, Reference] = {}
    for source in SOURCES:
        table: dict[str, Reference] = importlib.import_module(f"zoo.{source}").REFERENCES
        twice = joined.keys() & table.keys()
        if twice:
            raise ValueError(f"{source} repeats {', '.join(sorted(twice))}")
        joined |= table
    return joined
