"""What the grammar lets follow a text that ends in the middle: for an editor's completion."""

from __future__ import annotations

from dataclasses import dataclass

import lark

from resnetc.lang.parser import grammar


@dataclass(frozen=True, slots=True)
class Follows:
    """What may come next: names of the grammar's terminals, and the reserved words of them."""

    terminals: frozenset[str]
    words: frozenset[str]

    def __contains__(self, terminal: str) -> bool:
        return terminal in self.terminals


def what_follows(text: str) -> Follows | None:
    """What may follow the beginning of a file; None where the text itself has a mistake."""
    parser = grammar().parse_interactive(text, start="start")
    try:
        parser.exhaust_lexer()
    except lark.exceptions.UnexpectedInput:
        return None
    accepted = frozenset(parser.accepts())  # type: ignore[no-untyped-call]
    words = (str(t.pattern.value) for t in grammar().terminals if t.name in accepted)
    return Follows(accepted, frozenset(word for word in words if word.isalpha()))
