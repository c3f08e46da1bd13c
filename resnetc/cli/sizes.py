"""Sizes of memory on the command line."""

from __future__ import annotations

import re

import click

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Bytes(click.ParamType):
    """A size as `4GiB`, `4G`, `512MiB` or plain bytes: units are powers of 1,024."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        read = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(?:i?B)?", str(value).strip(), re.I)
        size = round(float(read[1]) * _UNITS.get(read[2].upper(), 1)) if read else 0
        if size < 1:
            self.fail(f"`{value}` is no size; write 4GiB or 512MiB", param, ctx)
        return size
