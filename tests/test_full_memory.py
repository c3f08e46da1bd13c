"""Networks larger than the machine: said plainly, before the memory is asked for or after."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resnetc.backends import capacity
from resnetc.backends.capacity import in_words, memory_bytes, require_memory
from resnetc.backends.random_weights import random_weights
from resnetc.cli import zoo
from resnetc.cli.main import run
from resnetc.diagnostics import RunError
from resnetc.driver import load

SPEC = """\
rnet 1

network wide { input 3x8x8  conv1: conv(3x3, 9007199254740992) }
network large { input 3x99999999x99999999  conv1: conv(3x3, 4) }
network two { input 3x8x8  conv1: conv(1x1, 1000)  conv2: conv(1x1, 1000) }
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.rnet").write_text(SPEC)
    return tmp_path / "x.rnet"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["export", "x.rnet:wide"],
            r"wide: the largest weight takes 864.0 PiB, and there are [\d.]+ ",
        ),
        (["verify", "x.rnet:wide"], "wide: the largest weight takes 864.0 PiB"),
        (["verify", "x.rnet:large"], r"the memory is full: 426 PiB more were wanted"),
    ],
)
def test_a_network_larger_than_any_memory(
    arguments: list[str], said: str, spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 1
    assert re.search(f"^error: {said}", capsys.readouterr().err, re.M)


@pytest.mark.parametrize(
    ("limit", "one", "both"),
    [(4_012_000, True, True), (4_011_999, True, False), (3_999_999, False, False)],
)
def test_weights_are_counted_before_they_are_made(
    limit: int, one: bool, both: bool, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = load("x.rnet:two")
    monkeypatch.setattr(capacity, "memory_bytes", lambda: limit)
    said = r"^two: the (largest weight takes|weights take) 3\.8 MiB, and there are 3\.8 MiB"
    with contextlib.nullcontext() if one else pytest.raises(RunError, match=said):
        random_weights(net.graph)
    with contextlib.nullcontext() if both else pytest.raises(RunError, match=said):
        net.to_torch()


def test_where_the_memory_is_not_known_nothing_is_refused(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "memory_bytes", lambda: None)
    require_memory(load("x.rnet:wide").graph, at_once=True)


def test_a_limit_of_the_shell_counts() -> None:
    pytest.importorskip("resource")
    limit = 2**34
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}));"
        "from resnetc.backends.capacity import memory_bytes; print(memory_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    known = memory_bytes()
    assert known is not None
    assert int(done.stdout) == min(limit, known)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1024, "1.0 KiB"), (3 * 2**29, "1.5 GiB")],
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert in_words(count) == words
    assert in_words(2**100) == "1,048,576.0 YiB"


TORCH = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you"
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "the memory is full"),
        (MemoryError("Unable to allocate 144. GiB for an array with shape (2,)"), "144 GiB"),
        (MemoryError("Unable to allocate 1.5 GiB for an array with shape (2,)"), "1.5 GiB"),
        (RuntimeError(f"{TORCH} tried to allocate 154618822656 bytes. Error code 12"), "144.0 GiB"),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"), "20.00 GiB"),
        (
            RuntimeError("Storage size calculation overflowed with sizes=[9]"),
            "than any machine has",
        ),
        (ValueError("Maximum allowed dimension exceeded"), "than any machine has"),
    ],
)
def test_what_libraries_raise_for_a_full_memory(
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(zoo.list_networks, "callback", fail)
    assert run(["list"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: the memory is full")
    assert said in shown


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a bug")])
def test_other_errors_are_not_taken_for_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(zoo.list_networks, "callback", fail)
    with pytest.raises(type(error), match="a bug"):
        run(["list"])


def test_figures_too_long_for_a_column_have_units(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", "x.rnet:wide"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "conv1" in line)
    cells = "conv1 9007199254740992x8x8 243.19 P 15.56 E 31.13 E 3 576.46 P 2.0 EiB 4.0 EiB"
    assert " ".join(row.split()) == cells
    # The largest that is written out, and the first that is not.
    edge = "network e {{ input 1x1x1  conv1: conv(1x1, {}) }}\n"
    for width, shown in [(10**15 - 1, "999,999,999,999,999"), (10**15, "1.00 P")]:
        spec.write_text(edge.format(width))
        assert run(["info", "x.rnet:e"]) == 0
        assert shown in capsys.readouterr().out
