"""The command line as a user meets it: exit codes, plain messages, never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resnetc.cli.main import VERBS, run
from resnetc.diagnostics import (
    CheckError,
    CompileError,
    MissingError,
    ResnetcError,
    RunError,
    UsageError,
)

ROOT = Path(__file__).parent.parent


def test_exit_codes_are_the_documented_ones() -> None:
    kinds: list[type[ResnetcError]] = [RunError, UsageError, CompileError, MissingError, CheckError]
    assert [kind.exit_code for kind in kinds] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"resnetc {verb}" in shown
    assert len(shown.splitlines()) > 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["check", "specs/resnet152.rnet"], 0, ""),
        (["nonsense"], 2, "nonsense"),
        (["chekc", "resnet50"], 2, "There is no command `chekc`; did you mean `check`?"),
        (["explain", "botleneck"], 2, "did you mean `bottleneck`?"),
        (["explain", "convv"], 2, "did you mean `conv`?"),
        (["check"], 2, "SPEC"),
        (["check", "missing.rnet"], 2, "missing.rnet: there is no such file"),
        (["info", "resnet5"], 2, "did you mean `resnet50`?"),
        (["info", "specs/resnet.rnet"], 2, "networks; name one"),
        (["info", "specs/resnet.rnet:resnt50"], 2, "did you mean `resnet50`?"),
        (["info", "resnet50", "--set", "classes"], 2, "--set takes KEY=VALUE"),
        (["info", "resnet50", "--set", "clases=10"], 3, "did you mean `classes`?"),
        (["info", "resnet50", "--set", "classes=[1"], 3, "never closed"),
        (["info", "cifar_resnet"], 3, "needs `depth`"),
        (["info", "cifar_resnet", "--set", "depth=21"], 3, "6n + 2 layers"),
        (["new", "specs/resnet.rnet"], 2, "exists already"),
        (["new", "mine.txt"], 2, "ends in .rnet"),
    ],
)
def test_mistakes_are_said_plainly(
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert run(arguments) == code
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors


def test_a_file_that_is_not_utf8_is_located(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "latin.rnet"
    spec.write_bytes("rnet 1\n# größe\n".encode("latin-1"))
    assert run(["check", str(spec)]) == 3
    errors = capsys.readouterr().err
    assert "E0109" in errors
    assert "latin.rnet:2:5" in errors


def test_all_semantic_mistakes_of_a_file_come_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "bad.rnet"
    spec.write_text(
        "rnet 1\nuse resnet { botleneck }\n"
        "block unused() { nosuch }\n"
        "network a() {\n  input 3x8x8\n  conv1: conv(3x3, 8) => 9x9\n  dropout(20)\n}\n"
        "network b = a with clases = 3\n"
        "recipe r { batchs = 3  optimizer = sgd(lrr=1) }\n"
    )
    assert run(["check", str(spec), "--json"]) == 3
    (report,) = json.loads(capsys.readouterr().out)
    codes = [finding["code"] for finding in report["findings"]]
    assert codes == ["E0208", "E0201", "E0403", "E0301", "E0203", "E0203", "E0203"]


def test_colour_only_on_a_terminal(tmp_path: Path) -> None:
    spec = tmp_path / "bad.rnet"
    spec.write_text("rnet 1\nnetwork a() { nosuch }\n")
    done = subprocess.run(
        [sys.executable, "-m", "resnetc", "check", spec], capture_output=True, check=False
    )
    assert done.returncode == 3
    assert b"\x1b[" not in done.stderr


def test_ctrl_c_is_130_and_quiet() -> None:
    code = (
        "import sys, time\n"
        "from resnetc.cli.main import run\n"
        "import resnetc.cli.check as c\n"
        "c.check.callback = lambda **_: (print('ready', flush=True), time.sleep(30))\n"
        "sys.exit(run(['check', 'resnet50']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip() == "interrupted"


def test_a_closed_pipe_is_not_a_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "resnetc", "list", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", [".", "inner/..", "{}"])
def test_a_folder_is_checked_file_by_file(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "a.rnet").write_text("rnet 1\n\nconst a = 1\n")
    (tmp_path / "other.txt").write_text("const a = nosuch\n")
    (inner / "b.rnet").write_text("rnet 1\n\nconst b = nosuch\n")
    given = name.format(tmp_path)
    assert run(["check", given, "--json"]) == 3
    reports = json.loads(capsys.readouterr().out)
    assert [Path(report["spec"]).name for report in reports] == ["a.rnet", "b.rnet"]
    assert [len(report["findings"]) for report in reports] == [0, 1]
    assert run(["check", given, "--fix"]) == 3
    (inner / "b.rnet").unlink()
    assert run(["check", given]) == 0
    (tmp_path / "a.rnet").unlink()
    capsys.readouterr()
    assert run(["check", given]) == 2
    assert "there is no .rnet file in this folder" in capsys.readouterr().err


def test_a_name_of_the_zoo_is_not_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet18").mkdir()
    assert run(["check", "resnet18"]) == 0
    assert "resnet18: fine" in capsys.readouterr().out


def test_new_starts_a_spec_that_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["new", "mine.rnet"]) == 0
    assert run(["check", "mine.rnet"]) == 0
    assert run(["new", "mine.rnet"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_doctor_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    findings = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert not findings["torch"]["remedy"]


def test_list_names_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--json"]) == 0
    zoo = json.loads(capsys.readouterr().out)
    assert "resnet152" in zoo["specs/resnet.rnet"]
    assert run(["list", "cifar", "--costs"]) == 0
    shown = capsys.readouterr().out
    assert "269,722" in shown
    assert "template" in shown
    assert "alexnet" not in shown


def test_list_finds_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "v2_s"]) == 0
    assert capsys.readouterr().out == "specs/efficientnet.rnet\n  efficientnet_v2_s\n"
    assert run(["list"]) == 0
    everything = capsys.readouterr().out.splitlines()
    assert max(map(len, everything)) <= 100
    assert "efficientnet_v2_s" in " ".join(everything).split()
    assert run(["list", "vision_transformer"]) == 2
    assert "`vision_transformer`" in capsys.readouterr().err
