"""Text to syntax tree: runs lark and names what it could not read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import lark

from resnetc import resources
from resnetc.atomic import replacing
from resnetc.diagnostics import CompileError, Diagnostic, Label, RunError, Source, Span
from resnetc.lang import syntax as s
from resnetc.lang.recovery import all_mistakes
from resnetc.lang.scan import tokens
from resnetc.lang.syntax_mistakes import explain
from resnetc.lang.tree import TreeBuilder

MAX_SOURCE_BYTES = 1_000_000
MAX_TOKENS = 100_000
MAX_NESTING = 64
"""Brackets inside brackets, or prefix operators in a row; seen before anything is parsed."""
MAX_TOKEN = 4_096
MAX_DEPTH = 160
"""Deepest tree accepted; what walks a tree later may recurse this far and no further."""


def parse(source: Source) -> s.File:
    """The syntax tree of a whole file. Raises CompileError with its mistakes of syntax."""
    if len(source.text.encode(errors="replace")) > MAX_SOURCE_BYTES:
        raise _mistake(source, 0, 0, "E0106", "a file may be at most 1 MB long")
    file = _build(source, "start", source.text, 0)
    assert isinstance(file, s.File)
    return file


def parse_expression(source: Source, start: int = 0) -> s.Expr:
    """The syntax tree of the one expression that a text holds from an offset on, such as the value
    of `--set name=value`."""
    expr = _build(source, "expr", source.text[start:], start)
    assert isinstance(expr, s.Expr)
    return expr


def parse_exactly(text: str) -> lark.Tree[Any]:
    """Lark's tree of a text that :func:`parse` accepts, with every token in it."""
    return grammar(every_token=True).parse(text, start="start")


def _build(source: Source, start: str, text: str, offset: int) -> object:
    """The records of `text`, which stands at `offset` in the source."""
    _limit_text(source, text, offset)
    tree = _parse_tree(source, start, text, offset)
    try:
        return TreeBuilder(source, offset, _build).transform(tree)
    except lark.exceptions.VisitError as error:
        if isinstance(error.orig_exc, CompileError):
            raise error.orig_exc from None
        raise


def _parse_tree(source: Source, start: str, text: str, offset: int) -> lark.Tree[Any]:
    try:
        tree = grammar().parse(text, start=start)
    except lark.exceptions.UnexpectedInput as error:
        if start == "start":
            raise CompileError(all_mistakes(source, error, keywords(), _unread)) from None
        end = offset + len(text)
        raise CompileError(explain(error, source, offset, end, keywords())) from None
    _limit_depth(tree, source, offset)
    return tree


def _unread(text: str) -> lark.exceptions.UnexpectedInput | None:
    """What cannot be read of a file's text."""
    try:
        grammar().parse(text, start="start")
    except lark.exceptions.UnexpectedInput as error:
        return error
    return None


def _limit_text(source: Source, text: str, offset: int) -> None:
    """Refuse what would take long to parse: one quick look at brackets and prefix operators."""
    brackets = prefixes = 0
    for count, match in enumerate(tokens(text)):
        token = match[0]
        prefixes = prefixes + 1 if token in ("-", "not") else 0
        if token in ("(", "[", "{"):
            brackets += 1
        elif token in (")", "]", "}"):
            brackets -= 1
        at = match.start() + offset
        if max(brackets, prefixes) > MAX_NESTING:
            raise _mistake(source, at, at + len(token), "E0104", "this is nested too deeply")
        if count >= MAX_TOKENS:
            message = f"a file may hold {MAX_TOKENS:,} words and signs"
            raise _mistake(source, at, at + len(token), "E0106", message)
        if len(token) > MAX_TOKEN:
            message = f"a word or string may hold {MAX_TOKEN:,} characters"
            raise _mistake(source, at, at + 1, "E0106", message)


def _limit_depth(tree: lark.Tree[Any], source: Source, offset: int) -> None:
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for t in level for child in t.children if isinstance(child, lark.Tree)]
        if not level:
            return
    start = level[0].meta.start_pos + offset
    raise _mistake(source, start, start + 1, "E0104", "this is nested too deeply")


def _mistake(source: Source, start: int, end: int, code: str, message: str) -> CompileError:
    return CompileError(Diagnostic(code, message, Label(Span(source, start, end))))


# --------------------------------------------------------------------------- the parser's tables


@lru_cache(maxsize=2)
def grammar(*, every_token: bool = False) -> lark.Lark:
    """The parser. Its tables are kept in the user's cache folder, since making them is slow."""
    text = resources.grammar().read_text(encoding="utf-8")
    key = f"{text}{lark.__version__}{sys.version}{every_token}".encode()
    cached = _cache_folder() / f"rnet-{hashlib.sha256(key).hexdigest()[:16]}.lark"
    # A cache that is missing, spoiled (its pickle may then raise anything) or has no place to be
    # is made anew.
    with contextlib.suppress(Exception), cached.open("rb") as file:
        return lark.Lark.load(file)
    return _make_grammar(text, cached, every_token=every_token)


@lru_cache(maxsize=1)
def keywords() -> frozenset[str]:
    """The words of the grammar: none is a name, though some may stand as one in places."""
    words = (str(terminal.pattern.value) for terminal in grammar().terminals)
    return frozenset(word for word in words if word.isalpha())


def _make_grammar(text: str, cached: Path, *, every_token: bool) -> lark.Lark:
    grammar = lark.Lark(
        text,
        parser="lalr",
        lexer="basic",
        propagate_positions=True,
        maybe_placeholders=not every_token,
        keep_all_tokens=every_token,
        start=["start", "expr"],
    )
    # A cache that cannot be written is no reason to fail.
    with contextlib.suppress(OSError, RunError), replacing(cached) as file:
        grammar.save(file)
    return grammar


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    if not base and home == "~":
        return Path(os.devnull)  # nothing can be kept there
    return (Path(base) if base else Path(home, ".cache")) / "resnetc"
