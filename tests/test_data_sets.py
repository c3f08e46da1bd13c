"""Data sets: what is read, and what is said of what cannot be."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnetc import recipes
from resnetc.cli.main import run
from resnetc.diagnostics import RunError, UsageError
from resnetc.train.datasets import DATA_SETS, TensorImages, Wanted, open_data

WANTED = Wanted((3, 32, 32), 10)
RNG = np.random.default_rng(0)


def test_the_table_has_the_names_of_the_language() -> None:
    assert tuple(DATA_SETS) == recipes.DATA_SETS


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("digts", r"no data set `digts`; did you mean `digits`\? Known are digits, "),
        ("birds", r"no data set `birds`\. Known are digits, .*synthetic\.$"),
        ("cifar10:", "a path is missing"),
        ("digits:here", "take no path"),
        ("synthetic:x", "take no path"),
    ],
)
def test_references_that_make_no_sense(reference: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_data(reference, WANTED)


@pytest.mark.parametrize(
    ("reference", "remedy"),
    [
        ("fashion_mnist:{}", "apt-get install dataset-fashion-mnist"),
        ("cifar10:{}", "cifar-10-binary.tar.gz"),
        ("cifar100:{}", "cifar-100-binary.tar.gz"),
        ("imagenet:{}", "PATH/train/CLASS/IMAGE"),
        ("folder:{}", "PATH/val/CLASS/IMAGE"),
        ("imagenet", "image-net.org"),
        ("folder", "--data folder:PATH"),
    ],
)
def test_a_missing_set_ends_with_the_steps_to_get_it(
    reference: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = reference.format(tmp_path / "nothing")
    assert run(["train", "digits_resnet14", "--data", where, "--out", str(tmp_path / "run")]) == 4
    said = capsys.readouterr().err
    assert remedy in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------- digits


def test_digits_are_split_as_documented() -> None:
    data = open_data("digits", WANTED)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.test.labels.tolist() == bunch.target[::5].tolist()
    assert data.train.labels[:4].tolist() == bunch.target[1:5].tolist()
    first = data.test.image(0)[0].numpy()
    assert np.array_equal(first, np.rint(bunch.images[0] / 16 * 255).astype(np.uint8))
    assert data.train.shape == (1, 8, 8)
    assert sorted(set(data.test.labels.tolist())) == list(range(10))


def test_synthetic_images_say_what_they_are() -> None:
    data = open_data("synthetic", Wanted((3, 16, 24), 7))
    assert not data.real
    assert data.train.shape == (3, 16, 24)
    assert len(data.classes) == 7
    assert int(data.train.labels.max()) == 6


def test_a_fingerprint_tells_sets_apart() -> None:
    pixels, labels = torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.tensor([0, 1])
    one = TensorImages(pixels, labels)
    assert one.fingerprint == TensorImages(pixels.clone(), labels.clone()).fingerprint
    assert one.fingerprint != TensorImages(pixels, labels.flip(0)).fingerprint
    assert one.fingerprint != TensorImages(pixels + 1, labels).fingerprint


# ------------------------------------------------------------------------------- Fashion-MNIST


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def _fashion(folder: Path, train: int = 6, test: int = 3) -> dict[str, np.ndarray]:
    """Four small IDX files, the training ones gzipped."""
    folder.mkdir()
    held = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = RNG.integers(0, 10, count, dtype=np.uint8)
        held |= {f"{prefix}-images-idx3-ubyte": images, f"{prefix}-labels-idx1-ubyte": labels}
    for name, array in held.items():
        if name.startswith("train"):
            (folder / f"{name}.gz").write_bytes(gzip.compress(_idx(array)))
        else:
            (folder / name).write_bytes(_idx(array))
    return held


def test_idx_files_are_read_gzipped_or_not(tmp_path: Path) -> None:
    held = _fashion(tmp_path / "f")
    data = open_data(f"fashion_mnist:{tmp_path / 'f'}", WANTED)
    assert isinstance(data.train, TensorImages)
    assert isinstance(data.test, TensorImages)
    assert np.array_equal(data.train.pixels[:, 0].numpy(), held["train-images-idx3-ubyte"])
    assert data.test.labels.tolist() == held["t10k-labels-idx1-ubyte"].tolist()
    assert data.classes[9] == "Ankle boot"


_TEST_IMAGES, _TRAIN_IMAGES = "t10k-images-idx3-ubyte", "train-images-idx3-ubyte.gz"
_TEST_LABELS = "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (_TEST_IMAGES, lambda b: b[:-1], "promises 2,352 bytes, the file holds 2,351"),
        (_TEST_IMAGES, lambda b: b + b"x", "the file holds 2,353"),
        (_TEST_IMAGES, lambda b: b[:7], "only 7 bytes"),
        (_TEST_IMAGES, lambda b: b"\x89PNG" + b[4:], "begins with 89504e47"),
        (_TEST_LABELS, lambda b: _idx(np.zeros(2, np.uint8)), "2 labels for 3 images"),
        (_TEST_LABELS, lambda b: _idx(np.full(3, 10, np.uint8)), "label 10"),
        (_TEST_IMAGES, lambda b: _idx(np.zeros((3, 14, 56), np.uint8)), "images of 14x56"),
        (_TRAIN_IMAGES, lambda b: b[:-20], "truncated or damaged"),
        (_TRAIN_IMAGES, lambda b: b"not gzip", "truncated or damaged"),
    ],
)
def test_damaged_idx_files_are_refused(
    name: str, damage: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "f"
    _fashion(folder)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(RunError, match=message) as error:
        open_data(f"fashion_mnist:{folder}", WANTED)
    assert name in str(error.value)


# -------------------------------------------------------------------------------------- folders


def _photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(path)


def test_folders_of_classes_are_read_in_order(tmp_path: Path) -> None:
    for place in ("train/cat/b.png", "train/cat/a.JPEG", "train/ant/deep/c.png", "val/cat/d.png"):
        _photo(tmp_path / place)
    (tmp_path / "train/cat/notes.txt").write_text("no image")
    data = open_data(f"folder:{tmp_path}", WANTED)
    assert data.classes == ("ant", "cat")
    assert data.train.labels.tolist() == [0, 1, 1]
    assert [p.name for p in data.train.paths] == ["c.png", "a.JPEG", "b.png"]
    assert data.test.labels.tolist() == [1]
    assert data.train.image(0).shape == (3, 12, 10)


def test_a_class_only_in_val_is_refused(tmp_path: Path) -> None:
    _photo(tmp_path / "train/cat/a.png")
    _photo(tmp_path / "val/dog/a.png")
    with pytest.raises(RunError, match="dog is no class"):
        open_data(f"imagenet:{tmp_path}", WANTED)


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    _photo(tmp_path / "val/cat/a.png")
    with pytest.raises(RunError, match="no folders of classes"):
        open_data(f"folder:{tmp_path}", WANTED)
    (tmp_path / "train/cat").mkdir()
    with pytest.raises(RunError, match="holds no images"):
        open_data(f"folder:{tmp_path}", WANTED)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0 cut"])
def test_a_file_that_is_no_image_is_named(content: bytes, tmp_path: Path) -> None:
    _photo(tmp_path / "train/cat/a.png")
    _photo(tmp_path / "val/cat/a.png")
    (tmp_path / "train/cat/a.png").write_bytes(content)
    data = open_data(f"folder:{tmp_path}", WANTED)
    with pytest.raises(RunError, match=r"train/cat/a\.png: this image cannot be read"):
        data.train.image(0)


def test_grey_and_transparent_images_become_colour(tmp_path: Path) -> None:
    _photo(tmp_path / "val/cat/a.png")
    for number, mode in enumerate(("L", "RGBA", "P", "CMYK")):
        name = f"{number}.{'jpg' if mode == 'CMYK' else 'png'}"
        (tmp_path / "train/cat").mkdir(parents=True, exist_ok=True)
        Image.new(mode, (5, 4)).save(tmp_path / "train/cat" / name)
    data = open_data(f"folder:{tmp_path}", WANTED)
    assert all(data.train.image(i).shape == (3, 4, 5) for i in range(4))
