"""Programs that nobody would write, for `tools/fuzz.py`.

They are drawn from the grammar's own rules, or are files of the zoo with parts exchanged, words
changed, or bytes changed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import lark

from resnetc import resources
from resnetc.lang.scan import tokens

TERMINALS = {
    "INT": ["0", "1", "2", "3", "8", "64", "1_000", "9007199254740993", "99999999999999999999"],
    "FLOAT": ["0.5", "1e-4", "1.0", "1e308", "0.0"],
    "PERCENT": ["0%", "20%", "100%", "250%"],
    "SIZE": ["3x3", "1x1", "3x32x32", "0x0", "1x7", "3x1000000x1000000", "7x7"],
    "STRING": ['"a"', '""', '"layer{index}"', '"{x}"', '"1x1"', '"{1 + }"', '"a.b"', '"\\{"'],
    "CMP": ["==", "!=", "<=", ">=", "<", ">"],
    "DIV": ["/", "//"],
}
SIGNS = [*"(){}[]=:,|+-*.?;", "->", "=>", "**", "//", "..", "==", "<", "\n", "# c\n", "\x00", "é"]


@dataclass
class Corpus:
    """The zoo, cut up: what inputs are made of."""

    texts: list[str] = field(default_factory=lambda: _zoo())

    @cached_property
    def parser(self) -> lark.Lark:
        text = resources.grammar().read_text(encoding="utf-8")
        return lark.Lark(text, parser="lalr", lexer="basic", propagate_positions=True)

    @cached_property
    def trees(self) -> list[lark.Tree[Any]]:
        return [self.parser.parse(text) for text in self.texts]

    @cached_property
    def parts(self) -> dict[str, list[str]]:
        """Texts of parts by their kind, each text once."""
        found: dict[str, dict[str, None]] = {}
        for text, tree in zip(self.texts, self.trees, strict=True):
            for kind, start, end in parts_of(tree):
                if end - start < 400:
                    found.setdefault(kind, {})[text[start:end]] = None
        return {kind: list(texts) for kind, texts in found.items()}

    @cached_property
    def vocabulary(self) -> list[str]:
        return [*sorted({match[0] for text in self.texts for match in tokens(text)}), *SIGNS]

    @cached_property
    def names(self) -> list[str]:
        return [word for word in self.vocabulary if word.isidentifier()] + ["x", "y"]

    @cached_property
    def grammar(self) -> Grammar:
        return Grammar(self.parser, self.names)

    def excerpt(self, rng: random.Random) -> str:
        """A file of the zoo with one network and what it derives from: what is quick to check."""
        number = rng.randrange(len(self.texts))
        text, declarations = self.texts[number], self.trees[number].children
        named = {
            str(decl.children[0]): decl
            for decl in declarations
            if isinstance(decl, lark.Tree) and decl.data in ("network", "variant")
        }
        kept, wanted = set(), rng.choice([*named, ""])
        while wanted in named and wanted not in kept:
            kept.add(wanted)
            meta = named[wanted].meta
            derived = re.match(
                r"\s*network\s+\w+[^{=]*=\s*(\w+)", text[meta.start_pos : meta.end_pos]
            )
            wanted = derived[1] if derived else ""
        for name in reversed(named):
            if name not in kept:
                meta = named[name].meta
                text = text[: meta.start_pos] + text[meta.end_pos :]
        return text


def parts_of(tree: lark.Tree[Any]) -> list[tuple[str, int, int]]:
    """The parts of a text: kind, start, end."""
    return [
        (str(part.data), part.meta.start_pos, part.meta.end_pos)
        for part in tree.iter_subtrees()
        if not part.meta.empty
    ]


def _zoo() -> list[str]:
    """The shipped specs, the prelude too."""
    return [path.read_text() for path in sorted(resources.specs().rglob("*.rnet"))]


class Grammar:
    """Draws programs from the rules of the grammar."""

    def __init__(self, parser: lark.Lark, names: list[str]) -> None:
        self.terminals = {terminal.name: terminal.pattern for terminal in parser.terminals}
        self.names = names
        self.rules: dict[str, list[list[tuple[str, bool]]]] = {}
        for rule in parser.rules:
            symbols = [(symbol.name, symbol.is_term) for symbol in rule.expansion]
            self.rules.setdefault(rule.origin.name, []).append(symbols)
        self.depth = self._depths()

    def _depths(self) -> dict[str, int]:
        """How many levels the shallowest text of each rule has."""
        depth = dict.fromkeys(self.rules, 1_000)
        changed = True
        while changed:
            changed = False
            for name, expansions in self.rules.items():
                least = min(1 + self._deepest(expansion, depth) for expansion in expansions)
                changed, depth[name] = changed or least < depth[name], least
        return depth

    @staticmethod
    def _deepest(expansion: list[tuple[str, bool]], depth: dict[str, int]) -> int:
        return max((0 if term else depth[name] for name, term in expansion), default=0)

    def draw(self, rng: random.Random, rule: str, room: int) -> Iterator[str]:
        """Tokens of a random text of the rule, `room` levels deep where that is possible."""
        fit = [e for e in self.rules[rule] if self._deepest(e, self.depth) < room]
        least = min(self._deepest(e, self.depth) for e in self.rules[rule])
        fit = fit or [e for e in self.rules[rule] if self._deepest(e, self.depth) == least]
        for name, term in rng.choice(fit):
            if term:
                yield self._terminal(rng, name)
            else:
                yield from self.draw(rng, name, room - 1)

    def _terminal(self, rng: random.Random, name: str) -> str:
        if name == "NAME":
            return rng.choice(self.names)
        if name in TERMINALS:
            return rng.choice(TERMINALS[name])
        return str(self.terminals[name].value).replace("\\", "")


def grown(corpus: Corpus, rng: random.Random) -> str:
    """A program from the rules: a file, or the body of a network behind an input."""
    if rng.random() < 0.5:
        return " ".join(corpus.grammar.draw(rng, "start", rng.randint(6, 26)))
    rows = (" ".join(corpus.grammar.draw(rng, "chain", rng.randint(4, 18))) for _ in range(4))
    return "network n {\n  input 3x32x32\n  " + "\n  ".join(rows) + "\n}\n"


def exchanged(corpus: Corpus, rng: random.Random) -> str:
    """A file of the zoo, a few parts of it exchanged for others of the same kind."""
    text = corpus.excerpt(rng)
    parts = parts_of(corpus.parser.parse(text))
    chosen = sorted(rng.sample(parts, min(len(parts), rng.randint(1, 3))), key=lambda p: -p[1])
    before = len(text)
    for kind, start, end in chosen:
        if end <= before and kind != "start":
            text = text[:start] + rng.choice(corpus.parts.get(kind, [""])) + text[end:]
            before = start
    return text


def reworded(corpus: Corpus, rng: random.Random) -> str:
    """A file of the zoo with words deleted, doubled, exchanged or replaced."""
    words = [match[0] for match in tokens(corpus.excerpt(rng))]
    for _ in range(rng.randint(1, 4)):
        i, j = rng.randrange(len(words)), rng.randrange(len(words))
        kind = rng.randrange(4)
        if kind == 0 and len(words) > 1:
            del words[i]
        elif kind == 1:
            words.insert(i, words[i])
        elif kind == 2:
            words[i], words[j] = words[j], words[i]
        else:
            words[i] = rng.choice(corpus.vocabulary)
    return " ".join(words)


def spoiled(corpus: Corpus, rng: random.Random) -> bytes:
    """A piece of a file of the zoo with bytes changed, inserted or cut."""
    data = bytearray(rng.choice(corpus.texts).encode())
    start = rng.randrange(len(data))
    data = data[start : start + rng.randint(1, 2_000)]
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randint(0, 3)] = bytes(
            rng.choice([rng.randrange(256), rng.randrange(32, 127)])
            for _ in range(rng.randint(0, 3))
        )
    return bytes(data)


KINDS: dict[str, Callable[[Corpus, random.Random], str | bytes]] = {
    "grown": grown,
    "exchanged": exchanged,
    "reworded": reworded,
    "spoiled": spoiled,
}
TURNS = (
    *("grown", "spoiled", "spoiled", "reworded", "spoiled", "spoiled", "grown", "exchanged"),
    *("spoiled", "spoiled", "grown", "spoiled", "spoiled", "reworded", "spoiled", "spoiled"),
    *("spoiled", "spoiled", "spoiled", "spoiled", "spoiled", "spoiled", "spoiled", "spoiled"),
)
"""The order in which the kinds take turns: more of what is quick."""
