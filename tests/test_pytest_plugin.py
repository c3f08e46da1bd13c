"""The pytest plugin: off until asked for, a test for every network, findings instead of traces."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import resnetc.driver  # here, since a run inside a test forgets what it imported itself

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parent.parent
SPEC = """rnet 1

network template(n: int) {
  input 3x8x8
  conv1: conv(3x3, n)
}
network good = template(4) { expect params = 108 }
network bad = template(4) { expect params = 180 }
network unmet {
  require 1 == 2, "one is two"
  input 3x8x8
  conv1: conv(3x3, 4)
}
recipe fine { data = cifar10  iterations = 100 }
recipe wrong { data = cifar10  iteratons = 100 }
"""


@pytest.fixture(autouse=True)
def spec(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makefile(".rnet", nets=SPEC)
    pytester.makefile(".rnet", other="network alone { input 3x8x8  conv1: conv(3x3, 4) }\n")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """In this process, with the plugin by name: an editable install may be older than it."""
    assert resnetc.driver is sys.modules["resnetc.driver"]
    return pytester.runpytest_inprocess("-p", "resnetc.pytest_plugin", *arguments)


def test_nothing_is_collected_until_asked_for(pytester: pytest.Pytester) -> None:
    result = run(pytester)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_every_network_and_section_is_a_test(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--rnet", "--collect-only", "-q")
    ids = [line for line in result.outlines if "::" in line]
    names = ["(file)", "fine", "wrong", "good", "bad", "unmet"]
    assert ids == [
        *(f"nets.rnet::{name}" for name in names),
        "other.rnet::(file)",
        "other.rnet::alone",
    ]


def test_a_failure_shows_the_finding_and_no_traceback(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--rnet")
    result.assert_outcomes(passed=5, failed=3)
    result.stdout.fnmatch_lines_random(
        [
            "error[[]E0501[]]: bad has 108 parameters; the file expects 180",
            " --> nets.rnet:8:45",
            "error[[]E0407[]]: one is two",
            "error[[]E0203[]]: *iteratons*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*MistakesError*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


@pytest.mark.parametrize(
    ("arguments", "passed", "failed"),
    [
        (["nets.rnet::good"], 1, 0),
        (["nets.rnet::bad", "other.rnet"], 2, 1),
        (["-k", "good or alone"], 2, 0),
        (["-m", "rnet and not rnet"], 0, 0),
        (["--strict-markers", "-m", "rnet"], 5, 3),
    ],
)
def test_tests_are_chosen_as_any_others(
    pytester: pytest.Pytester, arguments: list[str], passed: int, failed: int
) -> None:
    run(pytester, "--rnet", *arguments).assert_outcomes(
        passed=passed, failed=failed, deselected=None if arguments[0] != "-k" else 6
    )


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("*.rnet", 2), ("other.rnet", 2), ("deep/*.rnet", 1), ("*/other.rnet", 0), ("x.*", 0)],
)
def test_files_are_chosen_in_the_configuration(
    pytester: pytest.Pytester, pattern: str, count: int
) -> None:
    (pytester.path / "nets.rnet").unlink()
    deep = pytester.mkdir("deep")
    (deep / "empty.rnet").write_text("const a = 1\n")
    pytester.makepyprojecttoml(f'[tool.pytest.ini_options]\nrnet_files = ["{pattern}"]\n')
    expected = count + 1 if pattern == "*.rnet" else count
    run(pytester).assert_outcomes(passed=expected)


def test_a_mistake_of_syntax_fails_one_test_and_stops_nothing(pytester: pytest.Pytester) -> None:
    pytester.makefile(".rnet", broken="network n {\n")
    result = run(pytester, "--rnet", "broken.rnet", "other.rnet")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["error[[]E0101[]]: this `{` is never closed"])


def test_what_other_declarations_say_wrong_is_reported_once(pytester: pytest.Pytester) -> None:
    text = SPEC.replace("180", "108").replace("iteratons", "iterations").replace("1 == 2", "true")
    pytester.makefile(".rnet", nets=f"{text}\nblock b() {{ c: nothing_like_it() }}\n")
    result = run(pytester, "--rnet", "nets.rnet")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["FAILED nets.rnet::(file)*"])


def test_warnings_fail_when_that_is_asked_for(pytester: pytest.Pytester) -> None:
    text = "rnet 1\nnetwork n { let unused = 3  input 3x8x8  conv1: conv(3x3, 4) }\n"
    pytester.makefile(".rnet", doubtful=text)
    run(pytester, "--rnet", "doubtful.rnet").assert_outcomes(passed=2)
    result = run(pytester, "--rnet", "--rnet-strict", "doubtful.rnet")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["warning[[]W*[]]: *unused*"])


def test_a_bug_of_ours_keeps_its_traceback(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("resnetc.checking.lower", broken)
    result = run(pytester, "--rnet", "other.rnet")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*RuntimeError: a bug"])


def test_junit_knows_the_tests(pytester: pytest.Pytester) -> None:
    run(pytester, "--rnet", "--junit-xml=report.xml")
    cases = list(ET.parse(pytester.path / "report.xml").iter("testcase"))
    failed = {case.get("name") for case in cases if case.find("failure") is not None}
    assert failed == {"bad", "unmet", "wrong"}
    assert {case.get("classname") for case in cases} == {"nets.rnet", "other.rnet"}


def test_a_plugin_that_is_off_imports_nothing_of_the_compiler() -> None:
    script = (
        "import sys, pytest\n"
        "import resnetc.pytest_plugin\n"
        "heavy = ['lark', 'networkx', 'numpy', 'torch', 'onnx']\n"
        "heavy += ['resnetc.driver', 'resnetc.checking', 'resnetc.lang']\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_plugin_is_installed_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"resnetc.pytest_plugin": "resnetc.pytest_plugin"}
