"""A token that cannot stand where it does, and what is known about its surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import lark

from resnetc.diagnostics import Span

OPERATORS = frozenset({"+", "-", "*", "**", "/", "//", "mod", "and", "or", "not", "<", "<="})
OPERATORS |= {">", ">=", "==", "!=", "=", "=>", ".."}
DECLARATIONS = (
    "use",
    "const",
    "fn",
    "ambient",
    "block",
    "shortcut",
    "network",
    "recipe",
    "experiment",
    "deploy",
)
STATEMENTS = (
    *("input", "output", "let", "set", "if", "for", "require", "expect", "meta", "aux"),
    *("from", "reuse"),
)
"""Words that a statement begins with."""
SECTIONS = ("recipe", "experiment", "deploy")
"""Declarations that hold settings."""
OPERAND = frozenset({"NAME", "INT"})
"""Terminals that any expression may begin with."""
_EXPECTED = {
    "RPAR": "`)`",
    "RSQB": "`]`",
    "RBRACE": "`}`",
    "LBRACE": "`{`",
    "LPAR": "`(`",
    "EQUAL": "`=`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "NAME": "a name",
    "STRING": "a string",
    "INT": "a number",
    "VBAR": "`|`",
    "RETURN": "`return`",
    "LET": "`let`",
    "__ANON_0": "`->`",
    "THEN": "`then`",
    "ELSE": "`else`",
    "IN": "`in`",
}
_IN_EXPRESSIONS = frozenset({"DOT", "LPAR", "LSQB", "POW", "STAR", "DIV", "MOD", "PLUS", "MINUS"})
_IN_EXPRESSIONS |= {"CMP", "AND", "OR", "__ANON_2", "__ANON_1", "__ANON_3", "__ANON_4"}


@dataclass(frozen=True)
class Place:
    """A token that cannot stand where it does: what stands before it, and the brackets open."""

    error: lark.exceptions.UnexpectedToken
    before: list[Span]
    here: Span
    open: list[Span]
    keywords: frozenset[str]

    @property
    def accepts(self) -> set[str]:
        """The terminals that could stand here."""
        return set(self.error.accepts or self.error.expected)

    @property
    def outside(self) -> bool:
        """Whether a declaration could begin here."""
        return "NETWORK" in self.accepts and not self.open

    @property
    def end_before(self) -> Span:
        """The end of what stands before the token, as an empty span."""
        end = self.before[-1].end if self.before else self.here.start
        return Span(self.here.source, end, end)

    @property
    def expected(self) -> str:
        """What could stand here, where that is little: "expected `)` or `,`".

        Behind a whole expression its operators could go on; they are not what is missing.
        """
        accepts = self.accepts
        if accepts >= {"PLUS", "DOT"}:
            accepts -= _IN_EXPRESSIONS
        wanted = sorted({_EXPECTED.get(name, "") for name in accepts})
        few = len(wanted) <= 4 and "" not in wanted
        return f"expected {' or '.join(wanted)}" if few and wanted else ""
