"""Weights: files of every kind, damage, fitting, and the made-up ones."""

from __future__ import annotations

import errno
import hashlib
import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from oracle import evaluate, seeded_inputs
from safetensors.torch import save_file
from small_graphs import cifar_resnet, random_graphs, some_weights

from resnetc.backends import weights as module
from resnetc.backends.random_weights import random_weights
from resnetc.backends.weights import (
    as_arrays,
    fit_weights,
    read_weights,
    weights_hash,
    write_weights,
)
from resnetc.diagnostics import RunError, UsageError
from resnetc.ir import Graph
from resnetc.ops import Role


@pytest.fixture(scope="module")
def net() -> Graph:
    return cifar_resnet(8)


@pytest.fixture
def file(tmp_path: Path, net: Graph) -> Path:
    path = tmp_path / "w.safetensors"
    write_weights(path, some_weights(net))
    return path


# ---------------------------------------------------------------------------------------- files


def test_written_weights_are_read_back(net: Graph, file: Path) -> None:
    found, expected = read_weights(file), some_weights(net)
    assert set(found) == set(expected)
    assert len(found) == len(expected)
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path], array)
        assert found[path].dtype == array.dtype
        assert found.shape(path) == array.shape
    with pytest.raises(KeyError):
        found["nothing"]


def test_half_precision_files(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({"b": torch.tensor([1.5, -2]).bfloat16(), "h": torch.tensor([0.5]).half()}, path)
    found = read_weights(path)
    assert found["b"].dtype == ml_dtypes.bfloat16
    assert found["b"].tolist() == [1.5, -2]
    assert found["h"].dtype == np.float16


@pytest.mark.parametrize("damage", ["cut", "header", "empty", "text"])
def test_damaged_files(file: Path, damage: str) -> None:
    whole = file.read_bytes()
    content = {"cut": whole[:-9], "header": whole[:40], "empty": b"", "text": b"<html>404</html>"}
    file.write_bytes(content[damage])
    with pytest.raises(RunError, match=r"w\.safetensors: not a whole \.safetensors file"):
        read_weights(file)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.safetensors: there is no such file"):
        read_weights(tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match=r"a\.pth: there is no such file"):
        read_weights(tmp_path / "a.pth")
    with pytest.raises(UsageError, match=r"this folder holds no weights\.safetensors"):
        read_weights(tmp_path)


def test_a_checkpoints_folder(tmp_path: Path, net: Graph, file: Path) -> None:
    folder = tmp_path / "step-00000400"
    folder.mkdir()
    data = file.read_bytes()
    (folder / "weights.safetensors").write_bytes(data)
    assert set(read_weights(folder)) == set(net.parameters)  # a run's folder has no state
    state = {"files": {"weights.safetensors": hashlib.sha256(data).hexdigest()}}
    (folder / "state.json").write_text(json.dumps(state))
    assert set(read_weights(folder)) == set(net.parameters)
    (folder / "weights.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(RunError, match=r"weights\.safetensors: damaged"):
        read_weights(folder)
    (folder / "state.json").write_text("{")
    with pytest.raises(RunError, match="not the state of a checkpoint"):
        read_weights(folder)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s}])
def test_torch_files(tmp_path: Path, net: Graph, wrap: object) -> None:
    path = tmp_path / "net.pth"
    state = {name: torch.from_numpy(a.copy()) for name, a in some_weights(net).items()}
    torch.save(wrap(state), path)  # type: ignore[operator]
    found = fit_weights(net, read_weights(path))
    np.testing.assert_array_equal(found["conv1.weight"], some_weights(net)["conv1.weight"])


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code has run",)


@pytest.mark.parametrize("content", ["code", "junk", "number", "cut"])
def test_torch_files_that_are_no_weights(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.pth"
    torch.save({"code": _Malicious(), "number": 7}.get(content, {"w": torch.zeros(99)}), path)
    if content == "junk":
        path.write_bytes(b"junk")
    if content == "cut":
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match=r"net\.pth: (torch cannot read this|this holds no state_d)"):
        read_weights(path)
    assert capsys.readouterr().out == ""


def test_torch_tensors_are_arrays(net: Graph) -> None:
    tensors = {
        "p": torch.nn.Parameter(torch.ones(2, 3)),
        "half": torch.tensor([0.5]).bfloat16(),
        "strided": torch.arange(6.0).reshape(2, 3).T,
        "array": np.ones(2),
    }
    arrays = as_arrays(tensors)
    assert arrays["p"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert arrays["half"].tolist() == [0.5]
    assert arrays["strided"].shape == arrays.shape("strided") == (3, 2)
    assert arrays["array"] is tensors["array"]
    assert as_arrays(arrays) is arrays


def test_a_full_disk_leaves_the_old_file(
    net: Graph, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="the disk is full"):
        write_weights(file, some_weights(net, 5))
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


# -------------------------------------------------------------------------------------- fitting


def test_missing_weights_are_named(net: Graph) -> None:
    weights = some_weights(net)
    for path in ("conv1.weight", "fc.bias"):
        del weights[path]
    with pytest.raises(UsageError) as caught:
        fit_weights(net, weights)
    assert str(caught.value) == (
        "the weights do not fit resnet8:\n  missing: conv1.weight, fc.bias"
    )


def test_all_complaints_come_at_once_and_long_lists_are_cut(net: Graph) -> None:
    weights = {f"module.{path}": array for path, array in some_weights(net).items()}
    weights["fc.weight"] = np.zeros((3, 64), np.float32)
    with pytest.raises(UsageError) as caught:
        fit_weights(net, weights)
    missing, other, unknown = str(caught.value).splitlines()[1:]
    assert missing.startswith("  missing: conv1.weight, bn1.weight, ")
    assert missing.endswith(" more")
    assert other == "  of another shape: fc.weight is 3x64 and should be 10x64"
    assert unknown.startswith("  not in the network: module.conv1.weight")


def test_a_misspelt_path_is_suggested(net: Graph) -> None:
    weights = some_weights(net)
    weights["conv.weight"] = weights.pop("conv1.weight")
    with pytest.raises(UsageError, match=r"missing: conv1\.weight \(is it conv\.weight\?\)"):
        fit_weights(net, weights)


def test_counters_may_be_missing(net: Graph) -> None:
    weights = {p: a for p, a in some_weights(net).items() if not p.endswith("num_batches_tracked")}
    assert fit_weights(net, weights)["fc.bias"].shape == (10,)


def test_fitting_reads_no_array(net: Graph, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("an array was read")

    monkeypatch.setattr(module._SafetensorsFile, "__getitem__", forbidden)
    fit_weights(net, read_weights(file))


def test_the_hash_tells_weights_apart(net: Graph, file: Path) -> None:
    weights = some_weights(net)
    known = weights_hash(net, weights)
    assert weights_hash(net, read_weights(file)) == known
    assert weights_hash(net, dict(reversed(weights.items()))) == known
    laid_otherwise = {path: np.asfortranarray(array) for path, array in weights.items()}
    assert weights_hash(net, laid_otherwise) == known
    weights["bn1.num_batches_tracked"] += 1
    assert weights_hash(net, weights) == known
    weights["bn1.running_mean"][3] += 1e-6
    assert weights_hash(net, weights) != known


# --------------------------------------------------------------------------------------- random


def test_random_weights_depend_on_seed_and_path_alone(net: Graph) -> None:
    first, again, other = random_weights(net), random_weights(net), random_weights(net, 1)
    assert set(first) == set(net.parameters)
    for path, parameter in net.parameters.items():
        assert first[path].shape == first.shape(path) == parameter.type.shape
        assert first[path].dtype == parameter.type.dtype.value
        np.testing.assert_array_equal(first[path], again[path])
        if parameter.role is not Role.COUNTER:
            assert not np.array_equal(first[path], other[path])
    bigger = random_weights(cifar_resnet(14))
    np.testing.assert_array_equal(bigger["conv1.weight"], first["conv1.weight"])
    variances = [first[p] for p in net.parameters if p.endswith("running_var")]
    assert all((v > 0).all() for v in variances)
    assert np.std([v.mean() for v in variances]) > 0.1


def test_random_weights_keep_the_signal_of_deep_networks() -> None:
    graph = cifar_resnet(110, side=8)
    logits = evaluate(graph, random_weights(graph), seeded_inputs(graph, batch=4))["logits"]
    assert 0.1 < np.abs(logits).max() < 100
    assert np.abs(logits[0] - logits[1]).max() > 0.01


@settings(max_examples=50, deadline=None)
@given(random_graphs())
def test_random_weights_fit_any_graph(graph: Graph) -> None:
    weights = fit_weights(graph, random_weights(graph))
    for array in evaluate(graph, weights, seeded_inputs(graph)).values():
        assert math.isfinite(float(np.abs(array).max()))
