"""The hooks for pre-commit: as they are offered to others, and as they run here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pre_commit.clientlib import load_config, load_manifest

ROOT = Path(__file__).parent.parent
OFFERED: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())

NEAT = "rnet 1\n\nnetwork n {\n  input 3x8x8\n  conv1: conv(3x3, 4)\n}\n"
MESSY = NEAT.replace("conv(3x3, 4)", "conv( 3x3,4 )")
WRONG = NEAT.replace("conv(3x3", "konv(3x3")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's repository with the offered hooks, run from this environment."""
    hooks = [
        {
            **hook,
            "entry": f"{sys.executable} -m {hook['entry']}",
            "language": "system",
        }
        for hook in OFFERED
    ]
    config = {"repos": [{"repo": "local", "hooks": hooks}]}
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    return folder


def hook(repository: Path, name: str) -> tuple[int, str]:
    """Run one hook on everything that git knows."""
    git(repository, "add", "-A")
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", name, "--all-files", "--color=never"],
        cwd=repository,
        env={**os.environ, "PRE_COMMIT_HOME": str(repository.parent / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_pre_commit_takes_the_files() -> None:
    offered = load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))
    assert [hook["id"] for hook in offered] == ["rnet-check", "rnet-fmt"]
    (local,) = load_config(str(ROOT / ".pre-commit-config.yaml"))["repos"]
    used = {hook["id"]: hook["entry"] for hook in local["hooks"]}
    assert used == {hook["id"]: f"python -m {hook['entry']}" for hook in offered}


def test_a_mistake_stops_a_commit(repository: Path) -> None:
    (repository / "n.rnet").write_text(NEAT)
    assert hook(repository, "rnet-check")[0] == 0
    (repository / "n.rnet").write_text(WRONG)
    code, said = hook(repository, "rnet-check")
    assert code == 1
    assert "error[E0201]: there is nothing called `konv` here" in said
    assert "--> n.rnet:5:10" in said


def test_the_layout_is_mended(repository: Path) -> None:
    (repository / "n.rnet").write_text(MESSY)
    code, said = hook(repository, "rnet-fmt")
    assert code == 1
    assert "files were modified by this hook" in said
    assert (repository / "n.rnet").read_text() == NEAT
    assert hook(repository, "rnet-fmt")[0] == 0


def test_other_files_are_left_alone(repository: Path) -> None:
    (repository / "n.txt").write_text(WRONG)
    for hook_id in ("rnet-check", "rnet-fmt"):
        code, said = hook(repository, hook_id)
        assert code == 0
        assert "(no files to check)Skipped" in said


def test_the_specs_pass_their_own_hooks() -> None:
    specs = [str(path) for path in sorted((ROOT / "specs").rglob("*.rnet"))]
    command = [sys.executable, "-m", "resnetc", "fmt", "--check", *specs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
