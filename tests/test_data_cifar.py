"""CIFAR's archives in every version, and what is said of those that are damaged."""

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

from resnetc.diagnostics import RunError
from resnetc.train.datasets import ImageData, TensorImages, Wanted, cifar, open_data
from resnetc.train.datasets.cifar import unpickle_arrays

WANTED = Wanted((3, 32, 32), 10)
RNG = np.random.default_rng(0)


Members = dict[str, bytes]


@pytest.fixture(autouse=True)
def small_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives of a few images, as they are made below, are whole."""
    monkeypatch.setattr(cifar, "IMAGES", {"cifar10": (20, 4), "cifar100": (6, 6)})


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
    for kept in range(0, len(whole) - 64, len(whole) // 23):  # behind lies the padding alone
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


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (_binary10, "cifar10", "20 of 50,000 to train on and 4 of 10,000 to test"),
        (_python100, "cifar100", "6 of 50,000 to train on and 6 of 10,000 to test"),
    ],
)
def test_an_archive_of_fewer_images_says_so(
    make: Callable[[], Any], name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _pack(tmp_path / "a.tar.gz", make()[0])
    assert open_data(f"{name}:{path}", WANTED).where == str(path)
    monkeypatch.undo()
    assert open_data(f"{name}:{path}", WANTED).where == f"{path}, a part of the set: {said}"


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
