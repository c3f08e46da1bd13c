"""The built wheel, installed alone and used away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, and our dependencies by path only."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("resnetc-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # A path line makes our dependencies importable without running their .pth files, so the
    # editable install of the checkout does not come along.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [*pip, "--python", python, "install", "--no-deps", "--force-reinstall", wheel]
    subprocess.run(install, check=True)
    return python.parent


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command, in a folder that knows nothing of the checkout."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [installed / "resnetc", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    code = "import resnetc, resnetc.resources as r; print(resnetc.__file__, r.grammar(), r.specs())"
    shown = subprocess.run(
        [installed / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert all(str(installed.parent) in path for path in shown)


def test_the_zoo_works_anywhere(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "check", "specs/resnet152.rnet", "resnet50", "--json")
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert set(reports[0]["networks"]) == {"resnet152_imagenet"}
    assert set(reports[1]["networks"]) == {"resnet50"}


def test_a_users_spec_imports_from_the_zoo(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.rnet").write_text(
        "rnet 1\nuse cifar_resnet { cifar_resnet }\nnetwork mine = cifar_resnet(14)\n"
    )
    assert run(installed, tmp_path, "check", "mine.rnet").returncode == 0
    done = run(installed, tmp_path, "info", "mine.rnet", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"]["params"] == 172_506


def test_an_export_of_a_stand_alone_module_and_a_model(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "export", "resnet20", "--to", "onnx", "--out", "exported")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "exported").glob("*.onnx"))


def test_a_mistake_has_its_exit_code(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.rnet").write_text(
        "rnet 1\nnetwork bad() { input 3x8x8  conv(3x3, 8, strid=2) }\n"
    )
    done = run(installed, tmp_path, "check", "bad.rnet")
    assert done.returncode == 3
    assert "did you mean `stride`?" in done.stderr
    assert "Traceback" not in done.stderr


def test_pytest_finds_the_plugin(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.rnet").write_text("use resnet { resnet18 }\nnetwork mine = resnet18\n")
    command = [installed / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rnet"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
