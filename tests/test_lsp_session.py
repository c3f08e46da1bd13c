"""The language server as an editor meets it: a process, messages, a document that changes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lsp_session import Refused, Session, apply, position

ROOT = Path(__file__).parent.parent
LIBRARY = """rnet 1

## A convolution and its activation.
block unit(width: int, stride: int = 1) {
  conv(3x3, width, stride=stride) -> act
}
"""
NET = """rnet 1

use .lib { unit }

network small(classes: int = 10) {
  input 3x32x32
  stem: unit(8, stride=2)
  gap -> flatten -> fc: linear(classes)
}
"""
WHOLE = {"start": {"line": 0, "character": 0}, "end": {"line": 99, "character": 0}}
FORMAT = {"tabSize": 2, "insertSpaces": True}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    root = tmp_path_factory.mktemp("project")
    (root / "lib.rnet").write_text(LIBRARY)
    session = Session(root)
    yield session
    assert session.close() == 0
    assert session.logged == []


@pytest.fixture
def session(running: Session) -> Iterator[Session]:
    """The session with net.rnet open and checked."""
    running.open("net.rnet", NET)
    assert running.diagnostics("net.rnet") == []
    yield running
    running.shut("net.rnet")
    assert running.diagnostics("net.rnet") == []


def test_the_server_says_what_it_can(running: Session) -> None:
    offered = {name for name, value in running.capabilities.items() if value}
    assert {
        "codeActionProvider",
        "completionProvider",
        "definitionProvider",
        "documentFormattingProvider",
        "documentRangeFormattingProvider",
        "documentSymbolProvider",
        "foldingRangeProvider",
        "hoverProvider",
        "inlayHintProvider",
        "referencesProvider",
        "renameProvider",
        "semanticTokensProvider",
        "signatureHelpProvider",
    } <= offered
    assert running.capabilities["positionEncoding"] == "utf-16"


def test_diagnostics_come_and_go_with_the_text(session: Session) -> None:
    session.change("net.rnet", NET.replace("gap", "gapp"))
    (found,) = session.diagnostics("net.rnet")
    assert found["code"] == "E0201"
    assert found["range"]["start"] == position(NET, "gap")
    session.change("net.rnet", NET)
    assert session.diagnostics("net.rnet") == []


def test_typing_is_checked_once_when_it_pauses(session: Session) -> None:
    for end in range(3):
        session.change("net.rnet", NET + "x" * (end + 1))
        time.sleep(0.02)
    (found,) = session.diagnostics("net.rnet")
    assert found["range"]["end"]["character"] == 3
    time.sleep(0.4)
    assert session.silent()


def test_a_file_is_checked_when_what_it_imports_changes(session: Session) -> None:
    session.open("lib.rnet", LIBRARY)
    assert session.diagnostics("lib.rnet") == []
    session.change("lib.rnet", LIBRARY.replace("width: int", "wide: int"))
    (own,) = session.diagnostics("lib.rnet")
    assert own["code"] == "E0201"
    session.diagnostics("net.rnet")
    session.shut("lib.rnet")
    assert session.diagnostics("lib.rnet") == []


def test_inlay_hints_show_the_shapes(session: Session) -> None:
    found = session.ask("inlayHint", "net.rnet", range=WHOLE)
    assert {h["position"]["line"]: h["label"] for h in found} == {6: "8x16x16", 7: "10"}
    assert "in small" in found[0]["tooltip"]


def test_hints_are_those_of_the_text_as_it_is_now(session: Session) -> None:
    session.change("net.rnet", NET.replace("stride=2", "stride=4"))
    found = session.ask("inlayHint", "net.rnet", range=WHOLE)
    assert found[0]["label"] == "8x8x8"
    session.diagnostics("net.rnet")


def test_a_large_family_is_checked_in_two_steps(running: Session) -> None:
    text = "rnet 1\nnetwork n0(k: int = 4) {\n  input 3x8x8\n  a: conv(1x1, k)\n}\n"
    text += "".join(f"network n{i} = n{i - 1} with k = {i}\n" for i in range(1, 19))
    running.open("many.rnet", text + "network last = n0 with k = 0\n")
    assert running.diagnostics("many.rnet") == []
    (found,) = running.diagnostics("many.rnet")
    assert found["severity"] == 1
    assert running.asked() == "workspace/inlayHint/refresh"
    running.shut("many.rnet")
    assert running.diagnostics("many.rnet") == []


def test_hover(session: Session) -> None:
    found = session.ask("hover", "net.rnet", position=position(NET, "unit(8"))
    text = found["contents"]["value"]
    assert "block unit(width: int, stride: int = 1)" in text
    assert "A convolution and its activation." in text
    assert "**8x16x16** · 216 parameters · 55,296 MACs" in text


def test_definition_in_another_file(session: Session) -> None:
    found = session.ask("definition", "net.rnet", position=position(NET, "unit(8"))
    assert found["uri"] == session.uri("lib.rnet")
    assert found["range"]["start"] == position(LIBRARY, "unit")


def test_references(session: Session) -> None:
    where = position(NET, "classes")
    context = {"includeDeclaration": True}
    found = session.ask("references", "net.rnet", position=where, context=context)
    assert [f["range"]["start"]["line"] for f in found] == [4, 7]


def test_rename_across_files(session: Session) -> None:
    where = position(NET, "unit(8")
    offered = session.ask("prepareRename", "net.rnet", position=where)
    assert offered["end"]["character"] - offered["start"]["character"] == len("unit")
    edit = session.ask("rename", "net.rnet", position=where, newName="piece")
    after = edit["changes"]
    assert "block piece(" in apply(LIBRARY, after[session.uri("lib.rnet")])
    text = apply(NET, after[session.uri("net.rnet")])
    assert "use .lib { piece }" in text
    assert "stem: piece(8, stride=2)" in text


def test_a_rename_that_clashes_is_refused_with_the_reason(session: Session) -> None:
    where = position(NET, "small")
    with pytest.raises(Refused, match="`unit` has another meaning at"):
        session.ask("rename", "net.rnet", position=where, newName="unit")
    with pytest.raises(Refused, match="belongs to the language"):
        session.ask("prepareRename", "net.rnet", position=position(NET, "flatten"))


def test_a_refusal_is_no_failure_of_the_server(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.open("net.rnet", "network n { input 3x8x8  relu }\n")
    for _ in range(2):
        with pytest.raises(Refused, match="belongs to the language"):
            session.ask("prepareRename", "net.rnet", position={"line": 0, "character": 26})
    with pytest.raises(Refused):
        session.request("workspace/executeCommand", {"command": "nothing"})
    session.request("shutdown", None)
    session.notify("exit", None)
    assert session.process.stderr is not None
    said = session.process.stderr.read().decode()
    assert session.process.wait(timeout=30) == 0
    assert "belongs to the language" not in said
    assert "nothing" in said, "what did fail is still logged"
    for pipe in (session.process.stdin, session.process.stdout, session.process.stderr):
        assert pipe is not None
        pipe.close()


def test_completion_inside_a_call(session: Session) -> None:
    text = NET.replace("unit(8, stride=2)", "unit(8, ")
    session.change("net.rnet", text)
    where = position(text, "unit(8, ")
    where["character"] += len("unit(8, ")
    found = session.ask("completion", "net.rnet", position=where)
    labels = [item["label"] for item in found]
    assert "stride=" in labels
    assert "width=" not in labels
    assert session.diagnostics("net.rnet") != []


def test_signature_help(session: Session) -> None:
    where = position(NET, "stride=2")
    found = session.ask("signatureHelp", "net.rnet", position=where)
    assert found["signatures"][0]["label"] == "unit(width: int, stride: int = 1)"
    assert found["activeParameter"] == 1


def test_document_symbols(session: Session) -> None:
    (found,) = session.ask("documentSymbol", "net.rnet")
    assert found["name"] == "small"
    assert [child["name"] for child in found["children"]] == ["stem", "fc"]


def test_a_code_action_mends_the_mistake(session: Session) -> None:
    wrong = NET.replace("flatten", "flaten")
    session.change("net.rnet", wrong)
    (shown,) = session.diagnostics("net.rnet")
    context = {"diagnostics": [shown]}
    (action,) = session.ask("codeAction", "net.rnet", range=shown["range"], context=context)
    assert action["kind"] == "quickfix"
    assert action["diagnostics"] == [shown]
    assert apply(wrong, action["edit"]["changes"][session.uri("net.rnet")]) == NET


def test_formatting_of_the_whole_and_of_a_part(session: Session) -> None:
    messy = NET.replace("  input", "      input").replace("gap -> ", "gap->")
    session.change("net.rnet", messy)
    assert session.diagnostics("net.rnet") == []
    edits = session.ask("formatting", "net.rnet", options=FORMAT)
    assert apply(messy, edits) == NET
    part = {"start": {"line": 5, "character": 0}, "end": {"line": 5, "character": 1}}
    edits = session.ask("rangeFormatting", "net.rnet", range=part, options=FORMAT)
    assert apply(messy, edits) == NET.replace("gap -> ", "gap->")


def test_semantic_tokens_and_folds(session: Session) -> None:
    data = session.ask("semanticTokens/full", "net.rnet")["data"]
    assert len(data) % 5 == 0
    assert len(data) // 5 > 20
    folds = session.ask("foldingRange", "net.rnet")
    assert [(fold["startLine"], fold["endLine"]) for fold in folds] == [(4, 7)]


def test_a_document_that_was_never_saved_is_served(running: Session) -> None:
    uri = "untitled:Untitled-1"
    text = "network n { input 3x8x8 gapp }\n"
    about = {"uri": uri, "languageId": "rnet", "version": 1, "text": text}
    running.notify("textDocument/didOpen", {"textDocument": about})
    (found,) = running.published(uri)
    assert found["code"] == "E0201"
    running.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    assert running.published(uri) == []


def test_what_no_text_should_do_leaves_the_session_alive(session: Session) -> None:
    for text in ("-" * 1_000_000, "{" * 5_000, "\0", '"', "rnet 99", "\ud800"[:0] + "é" * 50, ""):
        session.change("net.rnet", text)
        session.diagnostics("net.rnet")
        session.ask("inlayHint", "net.rnet", range=WHOLE)
        session.ask("completion", "net.rnet", position={"line": 0, "character": 0})
        session.ask("semanticTokens/full", "net.rnet")
    session.change("net.rnet", NET)
    assert session.diagnostics("net.rnet") == []


def test_a_client_that_counts_bytes_is_answered_in_bytes(tmp_path: Path) -> None:
    session = Session(tmp_path, encoding="utf-8")
    session.open("x.rnet", 'network n {\n  require true, "宽" $\n}\n')
    (found, *_) = session.diagnostics("x.rnet")
    assert session.capabilities["positionEncoding"] == "utf-8"
    before = '  require true, "宽" '
    assert found["range"]["start"] == {"line": 1, "character": len(before.encode())}
    assert session.close() == 0


def test_a_session_that_just_ends_leaves_no_process(tmp_path: Path) -> None:
    session = Session(tmp_path)
    assert session.process.stdin is not None
    session.process.stdin.close()
    session.process.wait(timeout=30)
    for pipe in (session.process.stdout, session.process.stderr):
        assert pipe is not None
        pipe.close()


WITHOUT = """
import sys
class No:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, No())
from resnetc.cli.main import run
sys.exit(run(["lsp"]))
"""


@pytest.mark.parametrize("missing", ["pygls", "lsprotocol"])
def test_without_its_library_the_server_says_what_to_install(missing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(missing=missing)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert done.returncode == 4
    assert "pip install 'resnetc[lsp]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_server_imports_no_framework() -> None:
    code = "import json, sys, resnetc.lsp.server\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded: set[Any] = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded & {"torch", "onnx", "numpy", "tensorrt", "networkx"} == set()
