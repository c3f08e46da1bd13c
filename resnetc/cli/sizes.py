"""Sizes of memory on the command line."""

from __future__ import annotations

import re

import click

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def size(text: str) -> int:
    """Bytes, written as `4GiB`, `4G`, `512MiB` or a plain number: units are powers of 1,024.

    Raises click.BadParameter for anything else.
    """
    read = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(?:i?B)?", text.strip(), re.I)
    found = round(float(read[1]) * _UNITS.get(read[2].upper(), 1)) if read else 0
    if found < 1:
        raise click.BadParameter(f"`{text}` is no size; write 4GiB or 512MiB")
    return found
