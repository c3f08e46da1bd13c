"""Words of the grammar in other tools: in step with it, and told apart."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Error, Keyword, Name, Number, Operator, String, Token

from resnetc.highlighting import words
from resnetc.highlighting.pygments_lexer import RnetLexer
from resnetc.lang.parser import keywords

ROOT = Path(__file__).parent.parent
EXTENSION = ROOT / "tools" / "vscode"
TEXTMATE = EXTENSION / "syntaxes" / "rnet.tmLanguage.json"
SPECS = sorted((ROOT / "specs").rglob("*.rnet"))
SAMPLE = """rnet 1
use std.nn { eca as gate }

## A stage.
block stage(width: int, shortcut: shortcut = A, mode: "a" | "b" = "a") {
  let n = 3 mod 2  # odd
  "layer{n + 1}": residual(act=none) { block: conv(3x3, 64, stride=2) -> act  => 56x56 }
  if first { dropout(20%) } else { linear(classes, bias=false) }
}
"""


def lexed(text: str) -> list[tuple[Any, str]]:
    return list(RnetLexer(stripnl=False, ensurenl=False).get_tokens(text))


def kinds(text: str, of: str) -> list[Any]:
    """What the lexer calls every token with this text."""
    return [kind for kind, value in lexed(text) if value == of]


# ------------------------------------------------------------------------------------- in step


def test_generated_files_are_in_step_with_the_grammar() -> None:
    done = subprocess.run(
        [sys.executable, "tools/highlighting.py", "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_word_of_the_grammar_is_in_one_table() -> None:
    tables = (words.DECLARATIONS, words.STATEMENTS, words.CONSTANTS, words.OPERATORS)
    listed = [w for table in (*tables, words.VALUES, words.CONNECTIVES) for w in table]
    assert sorted(listed) == sorted(keywords())


def test_words_are_sorted_by_what_the_grammar_does_with_them() -> None:
    assert {"network", "block", "use", "rnet", "recipe"} <= set(words.DECLARATIONS)
    assert {"let", "set", "for", "if", "expect", "from"} <= set(words.STATEMENTS)
    assert words.CONSTANTS == ("false", "none", "true")
    assert words.OPERATORS == ("and", "mod", "not", "or")
    assert words.VALUES == ("input", "output")
    assert {"->", "=>", "**", "//", "{", ")", "|"} <= set(words.SIGNS)


# ------------------------------------------------------------------------------------- Pygments


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_lexer_reads_every_spec(path: Path) -> None:
    text = path.read_text()
    tokens = lexed(text)
    assert "".join(value for _, value in tokens) == text
    assert [value for kind, value in tokens if kind is Error] == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("network", Keyword.Declaration),
        ("stage", Name.Function),
        ("std.nn", Name.Namespace),
        ("let", Keyword.Reserved),
        ("mod", Operator.Word),
        ("none", Keyword.Constant),
        ("3x3", Number.Hex),
        ("64", Number.Integer),
        ("20%", Number.Float),
        ("width", Name.Attribute),
        ("int", Keyword.Type),
        ("residual", Name.Builtin),
        ("first", Name.Builtin.Pseudo),
        ("layer", Name.Tag),
        ("{", String.Interpol),
        ("conv", Name),
        ("# odd", Comment.Single),
        ("## A stage.", String.Doc),
        ("->", Operator),
    ],
)
def test_the_lexer_tells_tokens_apart(text: str, kind: Any) -> None:
    assert kind in kinds(SAMPLE + "network x = y\n", text)


def test_a_declaring_word_is_a_name_where_architectures_use_it_as_one() -> None:
    assert kinds(SAMPLE, "block") == [Keyword.Declaration, Name.Tag]
    assert kinds(SAMPLE, "shortcut") == [Name.Attribute, Keyword.Type]


def test_a_string_is_no_label() -> None:
    assert kinds('let a = "after"', "after") == [String.Double]
    assert kinds('"after": conv(1x1)', "after") == [Name.Tag]


def test_half_a_string_ends_with_its_line() -> None:
    tokens = lexed('let a = "half {i\nlet b = 2\n')
    assert (Keyword.Reserved, "let") in tokens[4:]


def test_a_foreign_sign_is_an_error() -> None:
    assert kinds("let a = 3 ; $", "$") == [Error]


def test_pygments_finds_the_lexer_by_name() -> None:
    assert isinstance(get_lexer_by_name("rnet"), RnetLexer)


def test_tokens_are_pygments_own() -> None:
    assert all(kind in Token for kind, _ in lexed(SAMPLE))


# ------------------------------------------------------------------------------------- TextMate


def regexes(rule: object) -> Iterator[str]:
    if isinstance(rule, dict):
        yield from (rule[key] for key in ("match", "begin", "end") if key in rule)
        for inside in rule.values():
            yield from regexes(inside)
    elif isinstance(rule, list):
        for inside in rule:
            yield from regexes(inside)


def test_textmate_expressions_are_sound_and_match_something() -> None:
    text = SAMPLE + "".join(path.read_text() for path in SPECS)
    text += r'"\n" "\x" 1.5e3 enumerate(xs)'
    found = list(regexes(json.loads(TEXTMATE.read_text())))
    assert len(found) > 20
    unmatched = [regex for regex in found if not re.search(regex, text, re.MULTILINE)]
    assert unmatched == []


def test_textmate_includes_what_there_is() -> None:
    grammar = json.loads(TEXTMATE.read_text())
    included = set(re.findall(r'"include": "#(\w+)"', TEXTMATE.read_text()))
    assert included == set(grammar["repository"])


ENGINE = """
const fs = require("fs"), path = require("path");
const { loadWASM, OnigScanner, OnigString } = require("vscode-oniguruma");
const { Registry, parseRawGrammar, INITIAL } = require("vscode-textmate");
const wasm = fs.readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm")).buffer;
const onigLib = loadWASM(wasm).then(() => ({
  createOnigScanner: (p) => new OnigScanner(p), createOnigString: (s) => new OnigString(s) }));
const file = "syntaxes/rnet.tmLanguage.json";
const registry = new Registry({ onigLib, loadGrammar: async () =>
  parseRawGrammar(fs.readFileSync(file, "utf8"), file) });
registry.loadGrammar("source.rnet").then((grammar) => {
  let stack = INITIAL; const out = [];
  for (const line of fs.readFileSync(0, "utf8").split("\\n")) {
    const done = grammar.tokenizeLine(line, stack); stack = done.ruleStack;
    for (const t of done.tokens) out.push([line.slice(t.startIndex, t.endIndex), t.scopes.at(-1)]);
  }
  console.log(JSON.stringify(out));
});
"""


def textmate_scopes(text: str) -> list[tuple[str, str]]:
    """What Visual Studio Code's own engine makes of a text."""
    if shutil.which("node") is None or not (EXTENSION / "node_modules/vscode-textmate").is_dir():
        pytest.skip("needs node, and `npm install` in tools/vscode")
    done = subprocess.run(
        ["node", "-e", ENGINE],
        input=text,
        capture_output=True,
        text=True,
        cwd=EXTENSION,
        check=True,
        timeout=60,
    )
    return [(token, scope.removesuffix(".rnet")) for token, scope in json.loads(done.stdout)]


def test_the_engine_of_the_editor_tells_tokens_apart() -> None:
    scopes = textmate_scopes(SAMPLE + "network x = y with norm = none\n")
    for token, scope in [
        ("network", "storage.type"),
        ("stage", "entity.name.function"),
        ("width", "variable.parameter"),
        ("int", "support.type"),
        ("let", "keyword.control"),
        ("mod", "keyword.operator.word"),
        ("3x3", "constant.numeric.size"),
        ("64", "constant.numeric.integer"),
        ("20%", "constant.numeric.ratio"),
        ("none", "constant.language"),
        ("residual", "support.function.structure"),
        ("conv", "entity.name.function.call"),
        ("first", "variable.language"),
        ("# odd", "comment.line.number-sign"),
        ("## A stage.", "comment.line.documentation"),
        ("=>", "keyword.operator"),
        ("layer", "string.quoted.double"),
    ]:
        assert (token, scope) in scopes
    assert [scope for token, scope in scopes if token == "block"] == [
        "storage.type",
        "entity.name.tag.label",
    ]


def test_the_engine_of_the_editor_reads_every_spec() -> None:
    scopes = textmate_scopes("\n".join(path.read_text() for path in SPECS))
    assert [token for token, scope in scopes if "invalid" in scope] == []
    # What no rule knows has the scope of the file: only white space may.
    assert {token.strip() for token, scope in scopes if scope == "source"} == {""}
