"""Writes what highlights the language elsewhere, from the grammar itself.

    python tools/highlighting.py          write the word lists and the TextMate grammar
    python tools/highlighting.py --check  change nothing; exit code 1 where a file is out of date

Which words declare, which begin a statement, which are operators or values: the grammar's rules
tell. Types, functions and structures are read from the compiler's tables.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lark

from resnetc.atomic import write_text
from resnetc.lang.builtins import FUNCTIONS
from resnetc.lang.parser import grammar
from resnetc.lang.structures import STRUCTURES
from resnetc.lang.values import TYPES

ROOT = Path(__file__).parent.parent
WORDS = ROOT / "resnetc" / "highlighting" / "words.py"
TEXTMATE = ROOT / "tools" / "vscode" / "syntaxes" / "rnet.tmLanguage.json"
LITERALS = ("COMMENT", "STRING", "SIZE", "PERCENT", "FLOAT", "INT", "NAME")
"""Terminals that are more than a fixed text, in the order in which a lexer has to try them."""
IMPLICIT = ("here", "stride", "changed", "index", "first", "last")
"""Names that are values in a body, a policy or a repeat without being words of the grammar."""


# ------------------------------------------------------------------------- reading the grammar


class Grammar:
    """The grammar's terminals and rules, asked for what highlighting has to know."""

    def __init__(self, made: lark.Lark) -> None:
        self.patterns = {t.name: t.pattern for t in made.terminals}
        self._rules: dict[str, list[Any]] = {}
        for rule in made.rules:
            self._rules.setdefault(str(rule.origin.name), []).append(rule)

    def word(self, terminal: str) -> str | None:
        """The word that a terminal is, if it is one."""
        text = str(self.patterns[terminal].value) if terminal in self.patterns else ""
        return text if text.isalpha() else None

    def begins(self, rule: str) -> set[str]:
        """Words that a rule may begin with; as a label any word might, which says nothing."""
        return {word for name in self._first(rule, {"label"}) if (word := self.word(name))}

    def _first(self, rule: str, seen: set[str]) -> Iterator[str]:
        if rule in seen:
            return
        seen.add(rule)
        for expansion in self._rules.get(rule, ()):
            for symbol in expansion.expansion[:1]:
                if symbol.is_term:
                    yield symbol.name
                else:
                    yield from self._first(str(symbol.name), seen)

    def inside(self, *rules: str) -> set[str]:
        """Words that stand in these rules themselves."""
        symbols = (s for rule in rules for r in self._rules.get(rule, ()) for s in r.expansion)
        return {w for symbol in symbols if symbol.is_term and (w := self.word(symbol.name))}

    def atoms(self, *aliases: str) -> set[str]:
        """Words that are whole expressions, by what the tree calls them."""
        rules = [r for r in self._rules["atom"] if r.alias in aliases and len(r.expansion) == 1]
        return {w for r in rules if (w := self.word(r.expansion[0].name))}

    @property
    def words(self) -> set[str]:
        """All words of the grammar."""
        return {word for name in self.patterns if (word := self.word(name))}

    @property
    def signs(self) -> tuple[str, ...]:
        """All operators and brackets, longest first."""
        texts = set()
        for name, pattern in self.patterns.items():
            text = str(pattern.value)
            if pattern.type == "str":
                texts.add(text)
            elif name not in LITERALS and not name.startswith("__IGNORE"):
                choices = text.removeprefix("(?:").removesuffix(")")
                texts |= {choice.replace("\\", "") for choice in choices.split("|")}
        signs = {text for text in texts if text and not text[0].isalpha()}
        return tuple(sorted(signs, key=lambda sign: (-len(sign), sign)))


def tables() -> dict[str, tuple[str, ...]]:
    """Every word of the language by what it is, and the grammar's signs."""
    known = Grammar(grammar())
    found = {
        "DECLARATIONS": known.begins("start") | known.begins("decl"),
        "CONSTANTS": known.atoms("true", "false", "none"),
        "OPERATORS": known.inside("or_", "and_", "not_", "cmp", "sum", "product", "power"),
        "VALUES": known.atoms("name"),
    }
    found["STATEMENTS"] = known.begins("stmt") - found["VALUES"]
    found["CONNECTIVES"] = known.words - set().union(*found.values())
    found |= {"TYPES": set(TYPES), "FUNCTIONS": set(FUNCTIONS), "STRUCTURES": set(STRUCTURES)}
    found["IMPLICIT"] = set(IMPLICIT)
    return {name: tuple(sorted(words)) for name, words in found.items()}


def patterns() -> dict[str, str]:
    """The regular expressions of the terminals that are more than a fixed text."""
    known = Grammar(grammar()).patterns
    return {name: str(known[name].value) for name in LITERALS}


# --------------------------------------------------------------------------------- the files


def words_file() -> str:
    """The module that Python's highlighters and the language server read."""
    parts = [
        '"""The words and signs of the language: written by tools/highlighting.py, not by hand."""',
        "",
    ]
    for name, words in {**tables(), "SIGNS": Grammar(grammar()).signs}.items():
        parts += [f"{name} = (", *(f"    {json.dumps(word)}," for word in words), ")"]
    parts.append("PATTERNS = {")
    parts += [f"    {json.dumps(name)}: {_literal(text)}," for name, text in patterns().items()]
    return "\n".join([*parts, "}", '"""Terminals in the order in which to try them."""', ""])


def _literal(pattern: str) -> str:
    """A regular expression as the formatter writes its literal."""
    quote = "'" if '"' in pattern else '"'
    return f"r{quote}{pattern.replace(chr(10), chr(92) + 'n')}{quote}"


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


def textmate() -> dict[str, Any]:
    """The TextMate grammar. What a word is depends on what stands around it, since architectures
    use some of the declaring words as names."""
    words = tables()
    name = patterns()["NAME"]
    declaring = _any(set(words["DECLARATIONS"]) - {"use", "rnet"})
    whole = r"(?<![\w.])(?:{})(?!\w)"
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "comment": "Written by tools/highlighting.py from grammars/rnet.lark, not by hand.",
        "name": "rnet",
        "scopeName": "source.rnet",
        "fileTypes": ["rnet"],
        "patterns": [{"include": f"#{part}"} for part in ("declaration", "label", "expression")],
        "repository": {
            "declaration": {
                "patterns": [
                    _rule(
                        rf"(?<!\w)(rnet)\s+({patterns()['INT']})",
                        captures=("storage.type.rnet", "constant.numeric.integer.rnet"),
                    ),
                    _rule(
                        rf"(?<!\w)({declaring})\s+({name})",
                        captures=("storage.type.rnet", "entity.name.function.rnet"),
                    ),
                    _rule(
                        r"(?<!\w)(use)\s+([.\w]+)",
                        captures=("keyword.control.import.rnet", "entity.name.namespace.rnet"),
                    ),
                    _rule(
                        rf"(?<![\w.])({_any(words['STATEMENTS'])})(?=\s+[^\s:=,)])",
                        captures=("keyword.control.rnet",),
                    ),
                ]
            },
            "label": _rule(
                rf"(?<![\w.])({name}|[0-9]+)\s*(:)",
                captures=("entity.name.tag.label.rnet", "punctuation.separator.label.rnet"),
            ),
            "parameter": {
                "patterns": [
                    _rule(
                        rf"(?<!\w)({name})\s*(:)\s*({_any(words['TYPES'])})?(?!\w)",
                        captures=(
                            "variable.parameter.rnet",
                            "punctuation.separator.rnet",
                            "support.type.rnet",
                        ),
                    ),
                    _rule(rf"(?<![\w.]){name}(?=\s*=(?!=|>))", "variable.parameter.rnet"),
                ]
            },
            "brackets": {
                "patterns": [
                    {
                        "begin": begin,
                        "end": end,
                        "captures": {"0": {"name": "punctuation.section.brackets.rnet"}},
                        "patterns": [{"include": f"#{part}"} for part in (*inside, "expression")],
                    }
                    for begin, end, inside in (
                        (r"\(", r"\)", ("parameter",)),
                        (r"\[", r"\]", ()),
                    )
                ]
            },
            "string": {
                "name": "string.quoted.double.rnet",
                "begin": '"',
                "end": '"|$',
                "patterns": [
                    _rule(r'\\[nt"\\{}]', "constant.character.escape.rnet"),
                    _rule(r"\\.", "invalid.illegal.escape.rnet"),
                    {
                        "name": "meta.template.expression.rnet",
                        "begin": r"\{",
                        "end": r'\}|(?=")|$',
                        "beginCaptures": {"0": {"name": "punctuation.section.embedded.rnet"}},
                        "endCaptures": {"0": {"name": "punctuation.section.embedded.rnet"}},
                        "patterns": [{"include": "#expression"}],
                    },
                ],
            },
            "expression": {
                "patterns": [
                    _rule(r"##.*$", "comment.line.documentation.rnet"),
                    _rule(r"#.*$", "comment.line.number-sign.rnet"),
                    {"include": "#string"},
                    {"include": "#brackets"},
                    *(
                        _rule(patterns()[terminal], f"constant.numeric.{kind}.rnet")
                        for terminal, kind in (
                            ("SIZE", "size"),
                            ("PERCENT", "ratio"),
                            ("FLOAT", "float"),
                            ("INT", "integer"),
                        )
                    ),
                    _rule(whole.format(_any(words["CONSTANTS"])), "constant.language.rnet"),
                    _rule(whole.format(_any(words["OPERATORS"])), "keyword.operator.word.rnet"),
                    _rule(
                        whole.format(_any({*words["CONNECTIVES"], "if", "for"})),
                        "keyword.control.rnet",
                    ),
                    _rule(
                        whole.format(_any(words["STRUCTURES"])) + r"(?=\s*[({])",
                        "support.function.structure.rnet",
                    ),
                    _rule(
                        whole.format(_any({*words["VALUES"], *words["IMPLICIT"]})),
                        "variable.language.rnet",
                    ),
                    _rule(
                        whole.format(_any(words["FUNCTIONS"])) + r"(?=\s*\()",
                        "support.function.builtin.rnet",
                    ),
                    _rule(rf"{name}(?=\s*\()", "entity.name.function.call.rnet"),
                    _rule(name, "variable.other.rnet"),
                    _rule(
                        "|".join(re.escape(s) for s in Grammar(grammar()).signs if s not in "()[]"),
                        "keyword.operator.rnet",
                    ),
                ]
            },
        },
    }


def _rule(match: str, name: str | None = None, captures: tuple[str, ...] = ()) -> dict[str, Any]:
    rule: dict[str, Any] = {"match": match}
    if name is not None:
        rule = {"name": name, **rule}
    if captures:
        rule["captures"] = {str(i): {"name": c} for i, c in enumerate(captures, start=1)}
    return rule


def files() -> dict[Path, str]:
    """Every generated file and what it has to hold."""
    return {WORDS: words_file(), TEXTMATE: json.dumps(textmate(), indent=2) + "\n"}


def main(arguments: list[str]) -> int:
    """Write the files, or say which are out of date."""
    stale = [p for p, text in files().items() if not p.is_file() or p.read_text() != text]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is out of date: run tools/highlighting.py")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, files()[path])
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
