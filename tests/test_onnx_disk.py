"""ONNX files on the disk: weights outside, writes that break off, what refuses to be written."""

from __future__ import annotations

import errno
import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import net, outputs, weights
from oracle import evaluate, seeded_inputs
from small_graphs import some_weights

from resnetc import atomic
from resnetc.backends.onnx import OnnxOptions, files, model_bytes, stream, write_onnx
from resnetc.backends.onnx.model import build_skeleton
from resnetc.backends.onnx.stream import StreamedModel
from resnetc.diagnostics import RunError, UsageError
from resnetc.ir import Graph

__all__ = ["net", "weights"]


def test_external_weights(tmp_path: Path, net: Graph, weights: dict[str, np.ndarray]) -> None:
    inline, split = tmp_path / "one.onnx", tmp_path / "two.onnx"
    assert write_onnx(net, inline, weights) == (inline,)
    written = write_onnx(net, split, weights, options=OnnxOptions(external=True))
    assert written == (split, tmp_path / "two.onnx.data")
    onnx.checker.check_model(split, full_check=True)
    loaded, whole = onnx.load(split), onnx.load(inline)
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in loaded.graph.initializer}
    for tensor in whole.graph.initializer:
        np.testing.assert_array_equal(arrays[tensor.name], onnx.numpy_helper.to_array(tensor))
    inputs = seeded_inputs(net)
    np.testing.assert_array_equal(outputs(split, inputs), outputs(inline, inputs))
    bare = onnx.load(split, load_external_data=False)
    for tensor in bare.graph.initializer:
        small = math.prod(tensor.dims) * 4 < files.INLINE_BELOW
        assert (tensor.data_location == onnx.TensorProto.EXTERNAL) != small
        where = {entry.key: entry.value for entry in tensor.external_data}
        assert int(where.get("offset", 0)) % 4096 == 0


def test_weights_go_outside_by_themselves_above_the_limit(
    tmp_path: Path,
    net: Graph,
    weights: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "net.onnx"
    size = StreamedModel(build_skeleton(net, OnnxOptions())).size
    monkeypatch.setattr("resnetc.backends.onnx.MESSAGE_LIMIT", size)
    assert len(write_onnx(net, file, weights)) == 1
    monkeypatch.setattr("resnetc.backends.onnx.MESSAGE_LIMIT", size - 1)
    with pytest.raises(UsageError, match=r"an ONNX file ends at 2 GB"):
        write_onnx(net, file, weights, options=OnnxOptions(external=False))
    with pytest.raises(UsageError, match=r"an ONNX file ends at 2 GB"):
        model_bytes(net, weights)
    assert len(write_onnx(net, file, weights)) == 2


def folder(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


class _InterruptedError(Exception):
    pass


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("place", [(stream, "_computed"), (files, "_write_together")])
def test_a_write_that_breaks_off_leaves_the_old_files(
    tmp_path: Path,
    net: Graph,
    weights: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    external: bool,
    fault: BaseException,
    place: tuple[object, str],
) -> None:
    """Whether it breaks off where arrays are computed, or where they are written."""
    file, options = tmp_path / "net.onnx", OnnxOptions(external=external)
    write_onnx(net, file, weights, options=options)
    before = folder(tmp_path)
    genuine, calls = getattr(*place), []

    def break_off(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 3:
            raise fault
        return genuine(*arguments)

    monkeypatch.setattr(stream, "PORTION", 10_000)
    monkeypatch.setattr(*place, break_off)
    expected = RunError if isinstance(fault, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="the disk is full" if expected is RunError else None):
        write_onnx(net, file, some_weights(net, 9), options=options)
    assert folder(tmp_path) == before


@pytest.mark.parametrize("most", [0, 1, 5000])
def test_what_the_system_does_not_take_at_once_is_written_after(
    tmp_path: Path,
    net: Graph,
    weights: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    whole = tmp_path / "whole.onnx"
    write_onnx(net, whole, weights)
    monkeypatch.setattr(stream, "PORTION", 60_000)
    monkeypatch.setattr(files, "BEGIN_AT", 60_000)

    def writev(handle: int, pieces: list[bytes | memoryview]) -> int:
        return os.write(handle, b"".join(pieces)[:most])

    monkeypatch.setattr(os, "writev", writev)
    write_onnx(net, tmp_path / "parts.onnx", weights)
    assert (tmp_path / "parts.onnx").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("known", [False, True], ids=["no such call", "a call"])
def test_the_disk_begins_before_the_end(
    tmp_path: Path,
    net: Graph,
    weights: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
) -> None:
    """With all that has been written, part by part; and a system without the call does without."""
    begun = [(0, 0)]

    def call(handle: int, offset: int, length: int, flags: int) -> int:
        assert os.fstat(handle).st_size == offset + length
        begun.append((offset, length))
        return -1  # whatever it says, the sync at the end is what counts

    monkeypatch.setattr(atomic, "_sync_file_range", lambda: call if known else None)
    monkeypatch.setattr(stream, "PORTION", 60_000)
    monkeypatch.setattr(files, "BEGIN_AT", 60_000)
    write_onnx(net, tmp_path / "net.onnx", weights)
    assert len(begun) == (4 if known else 1)
    for (offset, length), (after, _) in pairwise(begun):
        assert offset + length == after


@pytest.mark.parametrize("exists", [False, True])
def test_data_that_no_model_came_to_refer_to_is_removed(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    file, options = tmp_path / "net.onnx", OnnxOptions(external=True)
    if exists:
        write_onnx(net, file, some_weights(net), options=options)
    before = folder(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_write_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_onnx(net, file, some_weights(net, 9), options=options)
    assert folder(tmp_path) == before


def test_the_model_always_has_its_own_weights(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Break off behind each single rename, link and removal, and look at what is there."""
    file, options = tmp_path / "net.onnx", OnnxOptions(external=True)
    inputs = seeded_inputs(net)
    old, new = some_weights(net, 1), some_weights(net, 2)
    write_onnx(net, file, new, options=options)
    expected_new = outputs(file, inputs)
    steps = 0
    while True:
        for leftover in tmp_path.iterdir():
            leftover.unlink()
        write_onnx(net, file, old, options=options)
        expected_old = outputs(file, inputs)
        with monkeypatch.context() as patch:
            _interrupt_after(patch, steps)
            try:
                write_onnx(net, file, new, options=options)
                finished = True
            except _InterruptedError:
                finished = False
        found = outputs(file, inputs)
        assert np.array_equal(found, expected_old) or np.array_equal(found, expected_new), steps
        write_onnx(net, file, new, options=options)
        assert np.array_equal(outputs(file, inputs), expected_new)
        assert sorted(folder(tmp_path)) == ["net.onnx", "net.onnx.data"]
        if finished:
            break
        steps += 1
    assert steps >= 5


def _interrupt_after(patch: pytest.MonkeyPatch, steps: int) -> None:
    """Let that many changes of the folder happen, then raise before the next returns."""
    count = 0

    def counted(genuine):  # type: ignore[no-untyped-def]
        def call(*arguments, **named):  # type: ignore[no-untyped-def]
            nonlocal count
            result = genuine(*arguments, **named)
            count += 1
            if count == steps + 1:
                raise _InterruptedError
            return result

        return call

    for owner, name in ((Path, "replace"), (files.os, "link")):
        patch.setattr(owner, name, counted(getattr(owner, name)))
    genuine_unlink = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        # Only removals of finished files count: the others tidy up behind an error.
        if path.suffix == ".data":
            counted(genuine_unlink)(path, missing_ok)
        else:
            genuine_unlink(path, missing_ok)

    patch.setattr(Path, "unlink", unlink)


def test_a_file_system_without_links(
    tmp_path: Path, net: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, options = tmp_path / "net.onnx", OnnxOptions(external=True)
    inputs = seeded_inputs(net)
    write_onnx(net, file, some_weights(net, 1), options=options)

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", refuse)
    for seed in (2, 3):
        written = write_onnx(net, file, some_weights(net, seed), options=options)
        found = outputs(file, inputs)
        assert set(folder(tmp_path)) == {path.name for path in written}
        expected = evaluate(net, some_weights(net, seed), inputs)["logits"]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_nothing_is_written_where_writing_is_not_allowed(net: Graph, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(RunError, match="cannot write here: File exists"):
        write_onnx(net, blocker / "net.onnx", some_weights(net))
