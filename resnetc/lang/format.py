"""The one layout of a spec: two spaces, one statement a line, comments kept, `=>` aligned.

Only white space and commas at the end of lists ever change, so a formatted file means what it
meant.
"""

from __future__ import annotations

from itertools import pairwise

import lark

from resnetc.diagnostics import InternalError, Source
from resnetc.lang.format_doc import print_doc
from resnetc.lang.format_rules import layout, tokens_of
from resnetc.lang.parser import parse, parse_exactly

_ROUNDS = 8


def format_source(source: Source) -> str:
    """The canonical text of a file. Raises CompileError where it cannot be parsed."""
    parse(source)
    text = source.text.replace("\r\n", "\n")
    tree = parse_exactly(text)
    meaning = significant(tree)
    # A comment that moves to the end of its line can let a list close up, the next time round.
    for _ in range(_ROUNDS):
        formatted = print_doc(layout(text, tree)) if text.strip() else ""
        if formatted == text:
            return formatted
        text, tree = formatted, parse_exactly(formatted)
        if significant(tree) != meaning:
            raise InternalError(f"formatting would change what {source.name} means")
    raise InternalError(f"formatting {source.name} does not come to an end")


def significant(tree: lark.Tree[lark.Token]) -> list[str]:
    """The tokens of a file without the commas and semicolons that end lists."""
    texts = [str(token) for token in tokens_of(tree)]
    kept = [left for left, right in pairwise(texts) if not (left in (",", ";") and right in ")]}")]
    return kept + texts[-1:]
