"""Data sets: what is read, and what is said of what cannot be."""

from __future__ import annotations

import codecs
import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnetc import recipes
from resnetc.cli.main import run
from resnetc.diagnostics import RunError, UsageError
from resnetc.train.datasets import DATA_SETS, ImageData, TensorImages, Wanted, open_data
from resnetc.train.datasets.cifar import unpickle_arrays

WANTED = Wanted((3, 32, 32), 10)
RNG = np.random.default_rng(0)


def test_the_table_has_the_names_of_the_language() -> None:
    assert tuple(DATA_SETS) == recipes.DATA_SETS


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("digts", "did you mean `digits`"),
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


# --------------------------------------------------------------------------------------- CIFAR

Members = dict[str, bytes]


def _batch(count: int, classes: int) -> tuple[np.ndarray, list[int]]:
    pixels = RNG.integers(0, 256, (count, 3072), dtype=np.uint8)
    return pixels, [int(i) for i in RNG.integers(0, classes, count)]


def _binary10() -> tuple[Members, list[tuple[np.ndarray, list[int]]]]:
    batches = [_batch(4, 10) for _ in range(6)]
    folder = "cifar-10-batches-bin"
    names = [f"{folder}/data_batch_{i}.bin" for i in range(1, 6)] + [f"{folder}/test_batch.bin"]
    members = {
        name: b"".join(bytes([label]) + row.tobytes() for row, label in zip(*batch, strict=True))
        for name, batch in zip(names, batches, strict=True)
    }
    members[f"{folder}/batches.meta.txt"] = "\n".join(f"class{i}" for i in range(10)).encode()
    return members, batches


def _python2_pickle(content: dict[bytes, Any]) -> bytes:
    """As Python 2 wrote the archives: protocol 2, strings for keys and for the array's bytes."""
    out = b"\x80\x02}("
    for key, value in content.items():
        out += b"U" + bytes([len(key)]) + key
        if isinstance(value, np.ndarray):
            raw = value.tobytes()
            out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            out += b"(K\x01K" + bytes([value.shape[0]]) + b"M" + struct.pack("<H", value.shape[1])
            out += b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
            out += b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
        else:
            out += b"](" + b"".join(
                b"K" + bytes([i]) if isinstance(i, int) else b"U" + bytes([len(i)]) + i
                for i in value
            )
            out += b"e"
    return out + b"u."


def _python10() -> tuple[Members, list[tuple[np.ndarray, list[int]]]]:
    batches = [_batch(4, 10) for _ in range(6)]
    folder = "cifar-10-batches-py"
    names = [f"{folder}/data_batch_{i}" for i in range(1, 6)] + [f"{folder}/test_batch"]
    members = {
        name: _python2_pickle({b"data": pixels, b"labels": labels})
        for name, (pixels, labels) in zip(names, batches, strict=True)
    }
    classes = [f"class{i}".encode() for i in range(10)]
    members[f"{folder}/batches.meta"] = _python2_pickle({b"label_names": classes})
    return members, batches


def _binary100() -> tuple[Members, list[tuple[np.ndarray, list[int]]]]:
    batches = [_batch(6, 100) for _ in range(2)]
    members = {
        f"cifar-100-binary/{part}.bin": b"".join(
            bytes([19, label]) + row.tobytes() for row, label in zip(*batch, strict=True)
        )
        for part, batch in zip(("train", "test"), batches, strict=True)
    }
    names = "\n".join(f"fine{i}" for i in range(100))
    members["cifar-100-binary/fine_label_names.txt"] = names.encode()
    return members, batches


def _python100() -> tuple[Members, list[tuple[np.ndarray, list[int]]]]:
    """As Python 3 would write them, with its newest protocol."""
    batches = [_batch(6, 100) for _ in range(2)]
    members = {
        f"cifar-100-python/{part}": pickle.dumps(
            {"data": pixels, "fine_labels": labels, "coarse_labels": [0] * 6}, protocol=5
        )
        for part, (pixels, labels) in zip(("train", "test"), batches, strict=True)
    }
    names = [f"fine{i}" for i in range(100)]
    members["cifar-100-python/meta"] = pickle.dumps({"fine_label_names": names})
    return members, batches


def _pack(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _same(data: ImageData, batches: list[tuple[np.ndarray, list[int]]]) -> None:
    *train, test = batches
    for part, expected in ((data.train, train), (data.test, [test])):
        assert isinstance(part, TensorImages)
        pixels = np.concatenate([pixels for pixels, _ in expected]).reshape(-1, 3, 32, 32)
        assert np.array_equal(part.pixels.numpy(), pixels)
        assert part.labels.tolist() == [label for _, labels in expected for label in labels]


@pytest.mark.parametrize(
    ("name", "make", "archive"),
    [
        ("cifar10", _binary10, "cifar-10-binary.tar.gz"),
        ("cifar10", _python10, "cifar-10-python.tar.gz"),
        ("cifar100", _binary100, "cifar-100-binary.tar.gz"),
        ("cifar100", _python100, "cifar-100-python.tar.gz"),
    ],
)
@pytest.mark.parametrize("named", ["archive", "folder"])
def test_every_version_of_the_archives_is_read(
    name: str, make: Callable[[], Any], archive: str, named: str, tmp_path: Path
) -> None:
    members, batches = make()
    path = _pack(tmp_path / archive, members)
    data = open_data(f"{name}:{path if named == 'archive' else tmp_path}", WANTED)
    _same(data, batches)
    assert len(data.classes) == int(name.removeprefix("cifar"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [archive]


def test_old_pickles_written_by_python_3_are_read(tmp_path: Path) -> None:
    pixels, labels = _batch(3, 10)
    for protocol in range(2, 6):
        held = unpickle_arrays(pickle.dumps({b"data": pixels, b"labels": labels}, protocol), "x")
        assert np.array_equal(held["data"], pixels)
        assert held["labels"] == labels


def test_arrays_in_column_order_are_read() -> None:
    pixels = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    for protocol in (2, 5):
        held = unpickle_arrays(pickle.dumps({"data": pixels}, protocol), "x")
        assert np.array_equal(held["data"], pixels)


def test_truncated_archives_are_refused_wherever_they_are_cut(tmp_path: Path) -> None:
    members, _ = _binary10()
    whole = _pack(tmp_path / "whole.tar.gz", members).read_bytes()
    path = tmp_path / "cut.tar.gz"
    for kept in range(0, len(whole) - 10, len(whole) // 23):
        path.write_bytes(whole[:kept])
        with pytest.raises(RunError, match=r"cut\.tar\.gz"):
            open_data(f"cifar10:{path}", WANTED)
    plain = gzip.decompress(whole)
    for kept in range(0, 5 * 4 * 3073, 1 << 13):
        path.write_bytes(plain[:kept])
        with pytest.raises(RunError, match=r"cut\.tar\.gz"):
            open_data(f"cifar10:{path}", WANTED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cifar-10-batches-bin/data_batch_3.bin": None}, "data_batch_3.bin is missing"),
        ({"cifar-10-batches-bin/test_batch.bin": b"123"}, "no whole number of images"),
        ({"cifar-10-batches-bin/test_batch.bin": b"\x0a" + b"\0" * 3072}, "10 classes"),
        ({"cifar-10-batches-bin/batches.meta.txt": b"cat"}, "10 classes"),
    ],
)
def test_archives_with_other_contents_are_refused(
    change: dict[str, bytes | None], message: str, tmp_path: Path
) -> None:
    members = {**_binary10()[0], **change}
    whole = {name: content for name, content in members.items() if content is not None}
    path = _pack(tmp_path / "a.tar.gz", whole)
    with pytest.raises(RunError, match=message):
        open_data(f"cifar10:{path}", WANTED)


def test_another_archive_is_told_from_the_right_one(tmp_path: Path) -> None:
    path = _pack(tmp_path / "a.tar.gz", _binary100()[0])
    with pytest.raises(RunError, match="not an archive of cifar10"):
        open_data(f"cifar10:{path}", WANTED)


class _Evil:
    def __init__(self, call: Callable[..., Any], *arguments: object) -> None:
        self._call = call, arguments

    def __reduce__(self) -> Any:
        return self._call


def test_a_pickle_cannot_call_anything(tmp_path: Path) -> None:
    marker = tmp_path / "called"
    attacks: list[Any] = [
        _Evil(Path.touch, marker),
        _Evil(eval, f"open({str(marker)!r}, 'w')"),
        _Evil(np.fromfile, str(marker)),
        _Evil(codecs.decode, b"x", "hex"),
    ]
    for attack in attacks:
        for protocol in (2, 5):
            content = pickle.dumps({"data": attack, "labels": []}, protocol)
            with pytest.raises(RunError, match="it asks for"):
                unpickle_arrays(content, "batch")
    assert not marker.exists()


def test_a_pickle_of_other_arrays_is_refused() -> None:
    for array in (np.zeros((2, 3072), np.float32), np.array([{}], dtype=object)):
        with pytest.raises(RunError, match=r"batch: cannot be unpickled"):
            unpickle_arrays(pickle.dumps({"data": array}, protocol=2), "batch")


def test_a_damaged_pickle_is_refused_wherever_it_is_cut() -> None:
    pixels, labels = _batch(1, 10)
    whole = pickle.dumps({"data": pixels, "labels": labels}, protocol=2)
    for kept in range(len(whole)):
        with pytest.raises(RunError, match="batch"):
            unpickle_arrays(whole[:kept], "batch")


def test_labels_that_do_not_fit_the_images_are_refused(tmp_path: Path) -> None:
    members, _ = _python100()
    pixels, _ = _batch(6, 100)
    wrong = {"data": pixels, "fine_labels": [1, 2]}
    members["cifar-100-python/test"] = pickle.dumps(wrong)
    path = _pack(tmp_path / "a.tar.gz", members)
    with pytest.raises(RunError, match="not the images and labels"):
        open_data(f"cifar100:{path}", WANTED)


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
