"""Images per second of the loader alone, beside torchvision's ImageFolder and DataLoader.

    python benchmarks/loader.py                 # writes benchmarks/results/loader.json
    python benchmarks/loader.py --images 16 --batch 8 --rounds 1 --workers 0 1 --dry-run

The images are made up, of ImageNet's usual size and weight (500x375, about 110 kB), and larger ones
as a camera makes them, which are read as they are and packed to a shorter side of 480. Both loaders
give float32 batches, ready for the network, and end to end: a pass includes the start of the worker
processes. Beside them stands what decoding alone takes, in one process: a loader can do no more
than that for each process, and resizes besides.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import harness
from resnetc.recipes import (
    DivideStd,
    HorizontalFlip,
    RandomCrop,
    RandomResizedCrop,
    ResizeShorter,
    SubtractPixelMean,
    Transform,
)
from resnetc.train.datasets import Wanted, open_data
from resnetc.train.datasets.packed import PackSettings
from resnetc.train.datasets.packing import pack
from resnetc.train.draws import Order
from resnetc.train.feed import Workers, batches, view
from resnetc.train.transforms import Statistics

SIZE, CLASSES = 224, 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Pass = Callable[[], None]

TRANSFORMS: dict[str, tuple[tuple[Transform, ...], tuple[Any, ...]]] = {
    "scale": (
        (ResizeShorter((256, 480)), RandomCrop(SIZE)),
        (v2.RandomResize(256, 481, antialias=True), v2.RandomCrop(SIZE)),
    ),
    "resized_crop": (
        (RandomResizedCrop(SIZE),),
        (v2.RandomResizedCrop(SIZE, antialias=True),),
    ),
}
"""The paper's augmentation and today's: our words, and torchvision's."""


# --------------------------------------------------------------------------------------- images


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Noise of every scale, fading towards the fine ones as in photographs."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(3, height, width)
    for scale in (1, 2, 4, 8, 16, 32, 64, 128):
        rough = torch.randn(1, 3, height // scale + 2, width // scale + 2, generator=generator)
        total += F.interpolate(rough, (height, width), mode="bilinear")[0] * scale**0.5
    spread = total.std() * 6
    pixels = ((total / spread + 0.5) * 255).clamp(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 0).numpy()


def make_folder(root: Path, images: int, height: int, width: int) -> Path:
    """Class folders with so many images to train on, of which every few are alike."""
    made: list[bytes] = []
    for number in range(min(images, 64)):
        path = root / "one.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(height, width, number)).save(path, quality=95)
        made.append(path.read_bytes())
        path.unlink()
    for part, count in (("train", images), ("val", CLASSES)):
        for number in range(count):
            path = root / part / f"class{number % CLASSES}" / f"{number:06}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made[number % len(made)])
    return root


# ----------------------------------------------------------------------------------- contestants


def ours(root: Path, transforms: str, workers: int, batch: int) -> Pass:
    images = open_data(f"folder:{root}", Wanted((3, SIZE, SIZE), CLASSES)).train
    statistics = Statistics(torch.zeros(3, SIZE, SIZE), torch.tensor(MEAN), torch.tensor(STD))
    moves = (*TRANSFORMS[transforms][0], HorizontalFlip(), SubtractPixelMean(), DivideStd())
    seen = view(images, (3, SIZE, SIZE), moves, statistics)
    steps = Order(len(images), batch, seed=0).steps(0, len(images) // batch)

    def once() -> None:
        for pixels, _ in batches(seen, steps, torch.device("cpu"), Workers(workers)):
            assert pixels.shape == (batch, 3, SIZE, SIZE)
            assert pixels.dtype is torch.float32

    return once


def torchvisions(root: Path, transforms: str, workers: int, batch: int, *, tensors: bool) -> Pass:
    """Its loader with the same transforms; on Pillow's images, or on tensors from the start."""
    moves = (*TRANSFORMS[transforms][1], v2.RandomHorizontalFlip())
    values = (v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD))
    made = (v2.PILToTensor(), *moves) if tensors else (*moves, v2.PILToTensor())
    images = ImageFolder(str(root / "train"), v2.Compose([*made, *values]))
    loader = DataLoader(
        images,
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )

    def once() -> None:
        for pixels, _ in loader:
            assert pixels.shape == (batch, 3, SIZE, SIZE)

    return once


def decoders(root: Path) -> dict[str, Pass]:
    """Every image decoded, by us, by Pillow, and by torchvision alone; and only read."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    images = open_data(f"folder:{root}", Wanted((3, SIZE, SIZE), CLASSES)).train

    def by_pillow(path: Path) -> None:
        with Image.open(path) as file:
            np.asarray(file.convert("RGB"))

    def each(call: Callable[[Path], object]) -> Pass:
        return lambda: [call(path) for path in images.paths] and None

    return {
        "resnetc": lambda: [images.image(i) for i in range(len(images))] and None,
        "pillow": each(by_pillow),
        "torchvision": each(lambda p: decode_jpeg(read_file(str(p)), mode=ImageReadMode.RGB)),
        "reading alone": each(lambda p: p.read_bytes()),
    }


# -------------------------------------------------------------------------------------- measuring


def rates(passes: dict[str, Pass], images: int, rounds: int) -> dict[str, Any]:
    """Images per second, and the others' seconds over ours, round by round."""
    times = harness.interleave(passes, rounds)
    found: dict[str, Any] = {
        name: {
            "images_per_second": images / harness.median(seconds),
            "seconds": harness.summary(seconds),
        }
        for name, seconds in times.items()
    }
    for name in times.keys() - {"resnetc"}:
        found[name]["seconds_over_resnetc"] = harness.ratio(times[name], times["resnetc"])
    return found


def measure(root: Path, name: str, asked: argparse.Namespace) -> dict[str, Any]:
    files = sorted((root / "train").rglob("*.jpg"))
    whole = len(files) // asked.batch * asked.batch
    print(f"{name}: decoding", file=sys.stderr)
    results: dict[str, Any] = {
        "bytes_of_an_image": sum(file.stat().st_size for file in files) // len(files),
        "decode": rates(decoders(root), len(files), asked.rounds),
    }
    for transforms in TRANSFORMS:
        for workers in asked.workers:
            print(f"{name}: {transforms}, {workers} workers", file=sys.stderr)
            passes = {
                "resnetc": ours(root, transforms, workers, asked.batch),
                "torchvision": torchvisions(root, transforms, workers, asked.batch, tensors=True),
                "torchvision_pillow": torchvisions(
                    root, transforms, workers, asked.batch, tensors=False
                ),
            }
            found = rates(passes, whole, asked.rounds)
            results.setdefault(transforms, {})[f"{workers} workers"] = found
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--images", type=int, default=512, help="in a folder; a fourth of large ones"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1, help="of the process that trains")
    parser.add_argument("--dry-run", action="store_true", help="print, and write nothing")
    asked = parser.parse_args()
    # What torchvision says of its decoders' future, which is no news for a benchmark.
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.set_num_threads(asked.threads)
    folder = Path(tempfile.mkdtemp())
    try:
        usual = make_folder(folder / "usual", asked.images, 375, 500)
        large = make_folder(folder / "large", max(asked.images // 4, asked.batch), 1200, 1600)
        began = time.perf_counter()
        manifest = pack(large, folder / "packed", PackSettings(480))
        seconds = time.perf_counter() - began
        results = {
            "set_up": {**vars(asked), "crop": SIZE},
            "500x375": measure(usual, "500x375", asked),
            "1600x1200": measure(large, "1600x1200", asked),
            "1600x1200 packed to 480": measure(folder / "packed", "packed", asked),
            "pack": {
                "images_per_second_of_one_process": sum(manifest.images.values()) / seconds,
                "bytes": manifest.bytes,
                "source_bytes": manifest.source_bytes,
            },
        }
    finally:
        shutil.rmtree(folder)
    for name in ("500x375", "1600x1200", "1600x1200 packed to 480"):
        show(name, results[name])
    if not asked.dry_run:
        print(harness.write("loader", results, packages=["torch", "torchvision", "pillow"]))


def show(name: str, found: dict[str, Any]) -> None:
    def line(title: str, rows: dict[str, Any]) -> None:
        told = (f"{who} {row['images_per_second']:.0f}" for who, row in rows.items())
        print(f"{name}, {title}: {', '.join(told)} images/s")

    line("decoding", found["decode"])
    for transforms in TRANSFORMS:
        for workers, rows in found[transforms].items():
            line(f"{transforms}, {workers}", rows)


if __name__ == "__main__":
    main()
