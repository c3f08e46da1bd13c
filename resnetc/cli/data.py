"""`resnetc data pack|info`: class folders made quick to read, and what a data set is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetc.cli.arguments import json_option

if TYPE_CHECKING:
    from resnetc.train.datasets.packed import Manifest
    from resnetc.train.datasets.packing import Progress

_LINE_EVERY = 10.0
"""Seconds between two lines of progress."""


@click.group()
def data() -> None:
    """Pack class folders for fast reading, and say what a data set is."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option(
    "--to", type=click.Path(path_type=Path), required=True, metavar="PACKED", help="A new folder."
)
@click.option(
    "--short-side",
    type=click.IntRange(1),
    default=480,
    show_default=True,
    metavar="PIXELS",
    help="What the shorter side of an image has at most.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=90,
    show_default=True,
    help="Of the JPEG that an image becomes when it is resized.",
)
@click.option(
    "--workers", type=click.IntRange(0), help="Processes that resize images.  [one a core]"
)
@click.option("--skip-corrupt", is_flag=True, help="Leave out images that cannot be read.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@json_option
def pack(
    folder: Path,
    to: Path,
    short_side: int,
    quality: int,
    workers: int | None,
    skip_corrupt: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Resize the images of FOLDER (train/CLASS/IMAGE, val/CLASS/IMAGE) once, for --data
    folder:PACKED.

    Images whose shorter side is too long are resized and become JPEGs, others are kept byte for
    byte. PACKED is there when it is whole; a pack that was stopped goes on when it is started
    again. Every image that cannot be read is named, and none is left out without --skip-corrupt.
    """
    from resnetc.train.datasets.packed import PackSettings
    from resnetc.train.datasets.packing import pack as run

    manifest = run(
        folder,
        to,
        PackSettings(short_side, quality),
        workers=(os.cpu_count() or 1) if workers is None else workers,
        skip_corrupt=skip_corrupt,
        say=_Telling(quiet),
    )
    click.echo(json.dumps(manifest.to_json(), indent=2) if as_json else _summary(to, manifest))


class _Telling:
    """Says on stderr how far a pack is, now and then, and which images are corrupt."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._said = 0.0
        self._corrupt = 0

    def __call__(self, now: Progress) -> None:
        if now.corrupt is not None:
            self._corrupt += 1
            click.echo(f"warning: {now.corrupt}", err=True)
        if self._quiet or (now.seconds < self._said + _LINE_EVERY and now.done < now.total):
            return
        self._said = now.seconds
        rate = (now.done - now.before) / max(now.seconds, 1e-9)
        earlier = f", {now.before:,} from before" if now.before else ""
        corrupt = f" looked at, {self._corrupt:,} of them corrupt" if self._corrupt else ""
        seen = f"{now.done:,} of {now.total:,} images{corrupt}"
        click.echo(f"{seen}, {rate:.0f} images/s{earlier}", err=True)


def _summary(to: Path, manifest: Manifest) -> str:
    images = ", ".join(f"{count:,} in {part}" for part, count in manifest.images.items())
    skipped = f"  {len(manifest.skipped)} left out" if manifest.skipped else ""
    return (
        f"{to}  {images}, {manifest.classes:,} classes  {manifest.resized:,} resized, "
        f"{manifest.kept:,} kept{skipped}  {manifest.source_bytes / 1e6:,.1f} MB are "
        f"{manifest.bytes / 1e6:,.1f} MB now"
    )


@data.command()
@click.argument("reference", metavar="DATA")
@json_option
def info(reference: str, as_json: bool) -> None:
    """Say what DATA, as --data takes it (NAME or NAME:PATH), is: images, classes, sizes.

    The fingerprint is what a run that is resumed holds against its own. Of image files, it is of
    names; sizes are those of at most 1,000 files, evenly spread.
    """
    from resnetc.train.datasets.facts import facts

    found = facts(reference)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [(name, _told(value)) for name, value in found.items() if value is not None]
    width = max(len(name) for name, _ in rows)
    for name, told in rows:
        click.echo(f"{name.replace('_', ' '):<{width}}  {told}")


def _told(value: Any) -> str:
    """A value for a reader."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(each)}" for key, each in value.items())
    if isinstance(value, list):
        shown = ", ".join(map(str, value[:10]))
        return f"{len(value):,}: {shown}" + (", ..." if len(value) > 10 else "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
