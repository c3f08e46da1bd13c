"""Where a cursor stands in a text that may break off at any place, read from its tokens alone."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from itertools import pairwise

from resnetc.diagnostics import CompileError, Source, Span
from resnetc.lang import syntax as s
from resnetc.lang.accepts import Follows, what_follows
from resnetc.lang.parser import keywords, parse
from resnetc.lang.scan import CLOSERS, spans

MAX_READ = 20_000
"""Characters of a declaration before the cursor that are looked at."""
_WORD = re.compile(r"[A-Za-z_]\w*\Z")
_AT_MARGIN = re.compile(r"^([A-Za-z_]\w*)", re.MULTILINE)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_LISTS = frozenset({"set", "with", "expect"})
_SECTIONS = frozenset({"recipe", "meta", "experiment", "deploy"})
_OTHER_LISTS = _LISTS | {"as", "let", "output", "require", "use"}
"""Words before names that are parted by commas, where `from` is not the word."""


@dataclass(frozen=True)
class CallAt:
    """The call whose arguments the cursor is among, and what it has been given."""

    callee: str
    given: frozenset[str]
    positional: int


@dataclass(frozen=True)
class Cursor:
    """What stands before a cursor.

    `word` is the part of a name that has been typed, `tokens` all before it in the declaration,
    `follows` what the grammar lets stand here, None where what stands before has a mistake.
    """

    word: str
    tokens: tuple[Span, ...]
    follows: Follows | None
    in_comment: bool = False
    in_string: bool = False

    @property
    def previous(self) -> str:
        """The sign or word right before; empty at the start."""
        return self.tokens[-1].text if self.tokens else ""

    def open_bracket(self) -> int | None:
        """Where among the tokens the innermost open bracket is."""
        depth = 0
        for number in range(len(self.tokens) - 1, -1, -1):
            text = self.tokens[number].text
            if text in CLOSERS.values():
                depth += 1
            elif text in CLOSERS:
                if depth == 0:
                    return number
                depth -= 1
        return None

    def call(self) -> CallAt | None:
        """The call whose arguments stand here."""
        start = self.open_bracket()
        if not start or self.tokens[start].text != "(":
            return None
        callee = self.tokens[start - 1].text
        before = self.tokens[start - 2].text if start > 1 else ""
        if not callee.isidentifier() or before in ("block", "network", "fn", "shortcut"):
            return None
        inside = self.tokens[start + 1 :]
        names = pairwise(inside)
        given = frozenset(name.text for name, sign in names if sign.text == "=")
        return CallAt(callee, given, self._commas(start) - len(given))

    def _commas(self, start: int) -> int:
        """Arguments that stand, whole, behind an opening bracket."""
        depth = count = 0
        for token in self.tokens[start + 1 :]:
            depth += (token.text in CLOSERS) - (token.text in CLOSERS.values())
            count += token.text == "," and depth == 0
        return count

    def argument(self) -> str | None:
        """The name of the argument whose value begins here, after `name=`."""
        named = len(self.tokens) > 1 and self.previous == "="
        return self.tokens[-2].text if named else None

    def settings_of(self) -> str | None:
        """The word whose `key = value` list the cursor is in: `set`, `with`, `recipe`, `meta`."""
        depth = 0
        for number in range(len(self.tokens) - 1, -1, -1):
            text = self.tokens[number].text
            if text in CLOSERS.values():
                depth += 1
            elif text in CLOSERS:
                if depth == 0:
                    words = [token.text for token in self.tokens[max(0, number - 3) : number]]
                    return next((word for word in words if word in _SECTIONS), None)
                depth -= 1
            elif depth == 0 and text in _LISTS:
                return text
        return None

    def among_sources(self) -> bool:
        """Whether one of the tensors that a `from` takes begins here."""
        if self.previous not in ("from", ","):
            return False
        depth = 0
        for token in reversed(self.tokens):
            text = token.text
            if text in CLOSERS.values():
                depth += 1
            elif depth:
                depth -= text in CLOSERS
            elif text == "from":
                return True
            elif text in _OTHER_LISTS or not (text in (",", ".") or text.isidentifier()):
                return False
        return False

    def parameters(self) -> tuple[s.Param, ...]:
        """The parameters of the declaration that the cursor is in the body of."""
        depth = 0
        for token in self.tokens:
            if token.text == "{" and depth == 0:
                source = token.source
                head = Source(source.name, source.text[self.tokens[0].start : token.end] + "}")
                with contextlib.suppress(CompileError):
                    decls = parse(head).decls
                    if decls and isinstance(decls[0], s.Callable):
                        return decls[0].params
                return ()
            depth += (token.text in CLOSERS) - (token.text in CLOSERS.values())
        return ()

    def locals(self) -> list[str]:
        """Names bound before the cursor, in the bodies that are still open."""
        bound: list[list[str]] = [[]]
        texts = [token.text for token in self.tokens]
        for number, text in enumerate(texts):
            if text == "{":
                bound.append([])
            elif text == "}" and len(bound) > 1:
                bound.pop()
            elif text in ("let", "for"):
                bound[-1] += _targets(texts[number + 1 :], "=" if text == "let" else "in")
            elif text == "as":
                bound[-1] += texts[number + 1 : number + 2]
            elif text == ":" and len(bound) == 1 and texts[number - 1].isidentifier():
                bound[0].append(texts[number - 1])
        return [name for names in bound for name in names]


def _targets(texts: list[str], end: str) -> list[str]:
    stop = texts.index(end) if end in texts[:16] else 0
    return [text for text in texts[:stop] if text.isidentifier()]


def cursor(source: Source, offset: int) -> Cursor:
    """What stands before an offset."""
    line_start = source.line_start(source.position(offset)[0])
    line = source.text[max(line_start, offset - MAX_READ) : offset]
    line = _STRING.sub(lambda m: " " * len(m[0]), line)
    quote, hash_ = line.find('"'), line.find("#")
    in_comment = hash_ >= 0 and (quote < 0 or hash_ < quote)
    in_string = not in_comment and quote >= 0
    end = offset
    if in_string:
        end = offset - len(line) + quote
    word = _WORD.search(source.text[max(0, end - 256) : end])
    typed = word[0] if word and not in_string else ""
    end -= len(typed)
    if in_comment:
        return Cursor(typed, (), None, in_comment=True)
    start = _declaration_start(source.text, end)
    whole = end - start <= MAX_READ
    tokens = tuple(spans(source, start if whole else end - MAX_READ, end))
    follows = what_follows(source.text[start:end]) if whole else None
    return Cursor(typed, tokens, follows, in_string=in_string)


def _declaration_start(text: str, end: int) -> int:
    """Where the declaration begins that an offset is in: at the last keyword at the margin."""
    words = keywords()
    starts = [m.start() for m in _AT_MARGIN.finditer(text, 0, end) if m[1] in words]
    return starts[-1] if starts else 0
