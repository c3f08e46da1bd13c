"""`resnetc info`: the figures it prints, and that it stays light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from resnetc.cli.info import info
from resnetc.diagnostics import UsageError
from resnetc.driver import load


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(info, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_table_reads_like_table_1() -> None:
    printed = _run("resnet50")
    lines = [line.split() for line in printed.splitlines() if line.strip()]
    rows = {line[0]: line[1:] for line in lines}
    assert printed.startswith("resnet50, of one input 3x224x224")
    assert rows["conv1"][:5] == ["64x112x112", "9,536", "0.1180", "0.2384", "7"]
    assert rows["layer4"][:5] == ["2048x7x7", "14,964,736", "0.8092", "1.6206", "427"]
    assert rows["total"][:3] == ["25,557,032", "4.0892", "8.2176"]
    order = [line[0] for line in lines[3:]]
    assert order[:7] == ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "head"]


def test_the_caption_names_the_conventions_and_the_exact_totals() -> None:
    printed = " ".join(_run("resnet50_v1").split())
    assert "3,857,973,248 in all" in printed
    assert "the paper's FLOPs" in printed
    assert "2 per multiply-accumulate" in printed
    assert "53,173 numbers kept but not trained" in printed


def test_small_networks_are_counted_in_millions() -> None:
    printed = _run("resnet20")
    assert "40.551" in printed
    assert "MMACs" in printed


def test_parameters_can_be_bound() -> None:
    printed = _run("resnet50", "--set", "depths=[3,8,36,3]", "--set", "classes=10")
    assert f"{load('resnet152', classes=10).cost.params:,}" in printed


def test_json_holds_exact_figures_that_add_up() -> None:
    document = json.loads(_run("resnet50", "--json"))
    assert document["inputs"] == {"input": [3, 224, 224]}
    assert document["outputs"] == {"logits": [1000]}
    assert document["total"]["macs"] == 4_089_184_256
    assert document["total"]["layers"] == 54
    for key in ("params", "buffers", "macs", "flops", "activations"):
        assert document["total"][key] == sum(row[key] for row in document["stages"])
    peaks = [row["peak_training_bytes"] for row in document["stages"]]
    assert document["total"]["peak_training_bytes"] == max(peaks)
    assert document["hash"] == load("resnet50").graph.hash
    assert set(document["conventions"]) <= {*document["total"], "receptive_field"}
    last = document["stages"][-2]
    assert (last["label"], last["receptive_field"], last["jump"]) == (
        "layer4",
        [427, 427],
        [32, 32],
    )


@pytest.mark.parametrize("flag", ["", "--json"])
def test_info_imports_no_framework(flag: str) -> None:
    program = (
        "import sys; from resnetc.cli.main import run\n"
        f"code = run(['info', 'resnet18', *{[flag] if flag else []}])\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_wrong_name_is_a_usage_error() -> None:
    command = "from resnetc.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "info", "resnet51"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "resnet51" in done.stderr


def test_the_memory_of_a_training_step_is_shown_by_stage() -> None:
    found = json.loads(_run("resnet20", "--training", "--batch", "32", "--json"))
    assert found["batch"] == 32
    assert found["least_bytes"] == found["recomputing"]["peak_bytes"] < found["peak_bytes"]
    stages = {row["label"]: row for row in found["stages"]}
    assert stages["layer1"]["held"] > stages["layer2"]["held"] > stages["layer3"]["held"]
    assert stages["layer1"]["recomputing"] < stages["layer1"]["held"]
    assert stages["conv1"]["share"] == 0
    larger = json.loads(_run("resnet20", "--training", "--batch", "64", "--json"))
    assert larger["stages"][1]["held"] > 1.9 * found["stages"][1]["held"]


def test_a_step_under_a_limit_is_shown_and_told_of_in_words() -> None:
    printed = _run("resnet20", "--training", "--batch", "128", "--memory-limit", "150MiB")
    assert "recomputing for 150 MiB" in printed
    limited = json.loads(
        _run("resnet20", "--training", "--batch", "128", "--memory-limit", "150MiB", "--json")
    )
    assert limited["recomputing"]["peak_bytes"] <= 150 * 2**20 < limited["peak_bytes"]
    assert 0 < limited["recomputing"]["share_of_forward"] < 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--training", "--batch", "128", "--memory-limit", "9MiB"], "takes at least"),
        (["--batch", "128"], "go with --training"),
    ],
)
def test_a_step_that_cannot_be_shown_is_a_mistake(arguments: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CliRunner().invoke(info, ["resnet20", *arguments], catch_exceptions=False)
