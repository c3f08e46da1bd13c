"""The layer table holds, and the light verbs stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "torchvision", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "numpy"}
HEAVY |= {"matplotlib", "sklearn", "scipy", "safetensors", "ml_dtypes"}


def imported(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running some code."""
    report = "\nprint(*sorted({name.partition('.')[0] for name in __import__('sys').modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_layer_table() -> None:
    """import-linter's contract in pyproject.toml: a file imports only from floors below."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_the_contract_is_about_every_package() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    contract = text[text.index("[tool.importlinter]") :]
    packages = {path.parent.name for path in (ROOT / "resnetc").glob("*/__init__.py")}
    packages |= {path.stem for path in (ROOT / "resnetc").glob("*.py") if path.stem[0] != "_"}
    missing = {name for name in packages if f"resnetc.{name}" not in contract}
    assert missing == set()


@pytest.mark.parametrize(
    "code",
    [
        "import resnetc",
        "import resnetc; resnetc.load('resnet50').cost",
        "import resnetc.cli.main",
        *(
            f"from resnetc.cli.main import run\nassert run({arguments}) == 0"
            for arguments in (
                ["check", "specs/resnet152.rnet"],
                ["check", "resnet1202", "--json"],
                ["check", "specs/resnet152.rnet", "--diff"],
                ["explain", "E0502"],
                ["explain", "resnet50", "layer3.0.conv2"],
                ["fmt", "--check", "specs"],
                ["info", "resnet50"],
                ["list"],
                ["--help"],
            )
        ),
    ],
)
def test_what_needs_no_tensor_imports_no_framework(code: str) -> None:
    assert imported(code) & HEAVY == set()


def test_the_measure_itself_sees_a_framework() -> None:
    assert "numpy" in imported("import numpy")


def test_lark_stays_in_lang_and_networkx_in_ir() -> None:
    for path in (ROOT / "resnetc").rglob("*.py"):
        text = path.read_text()
        where = path.relative_to(ROOT / "resnetc").parts[0]
        assert "import lark" not in text or where == "lang", path
        assert "import networkx" not in text or where == "ir", path
