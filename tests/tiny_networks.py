"""Networks small enough to train in a test."""

from __future__ import annotations

from pathlib import Path

from resnetc.driver import Network, load

SPEC = """rnet 1

## Four channels on 8x8 images; `normed` decides whether there is a batch norm.
network tiny(normed: bool = true, classes: int = 10, rate: ratio = 0%) {
  input 1x8x8
  conv1: conv(3x3, 4, bias=not normed)
  if normed { bn1: norm }
  act
  if rate > 0% { dropout(rate) }
  maxpool(2x2, stride=2)
  gap -> flatten -> fc: linear(classes)
}

network plain_tiny = tiny(normed=false)
network dropping = tiny(rate=20%)

## Tells ten classes apart and nothing else.
network fixed {
  input 1x8x8
  conv1: conv(3x3, 4) -> gap -> flatten -> fc: linear(7)
}

## Its batch norm sees one value per channel and image.
network pointed {
  input 1x8x8
  conv1: conv(8x8, 4, pad=0) -> bn1: norm -> act -> flatten -> fc: linear(10)
}

recipe short {
  data = digits
  augment = [subtract_mean, pad(1), random_crop(8)]
  batch = 32
  iterations = 40
  optimizer = sgd(lr=0.1)
  schedule = [step(at=[20, 30])]
  eval_every = 10
}
"""


def spec_file(folder: Path) -> Path:
    """The spec, in a folder."""
    path = folder / "tiny.rnet"
    path.write_text(SPEC)
    return path


def tiny(folder: Path, name: str = "tiny") -> Network:
    """One of the networks above."""
    return load(f"{spec_file(folder)}:{name}")
