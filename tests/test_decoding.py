"""Image files to pixels: whoever decodes them, they are the same."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from resnetc.train.datasets.decoding import decode


def _photograph(height: int, width: int) -> Image.Image:
    """Smooth colours, as a JPEG likes them."""
    small = np.random.default_rng(height).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def _file(image: Image.Image, kind: str, **how: object) -> np.ndarray:
    held = io.BytesIO()
    image.save(held, kind, **how)
    return np.frombuffer(bytearray(held.getvalue()), dtype=np.uint8)


def _by_pillow(data: np.ndarray) -> Tensor:
    with Image.open(io.BytesIO(data)) as file:
        return torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1)


@pytest.mark.parametrize("size", [(37, 50), (8, 8), (1, 3)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "how", [{}, {"quality": 40, "subsampling": 2}, {"subsampling": 0}, {"progressive": True}]
)
def test_a_jpeg_has_the_pixels_that_pillow_reads(
    size: tuple[int, int], mode: str, how: dict[str, object]
) -> None:
    data = _file(_photograph(*size).convert(mode), "JPEG", **how)
    assert torch.equal(decode(data), _by_pillow(data))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_other_files_are_read_too(kind: str, mode: str) -> None:
    data = _file(_photograph(9, 7).convert(mode), kind)
    assert torch.equal(decode(data), _by_pillow(data))


def test_without_torchvisions_decoders_pillow_reads_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = _file(_photograph(37, 50), "JPEG")
    before = decode(data)
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    assert torch.equal(decode(data), before)


@pytest.mark.parametrize("left", [0, 3, 100, 400])
def test_a_jpeg_that_is_cut_short_is_no_image(left: int) -> None:
    data = _file(_photograph(37, 50), "JPEG")
    with pytest.raises(OSError, match=r"cannot identify|[Tt]runcated"):
        decode(data[:left])
