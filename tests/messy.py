"""The same tokens in another layout: white space, line breaks and comments drawn at random."""

from __future__ import annotations

import re

import lark
from hypothesis import strategies as st

from resnetc.lang.format_rules import tokens_of
from resnetc.lang.parser import parse_exactly

_GLUED = re.compile(r"\w\w")
_GAPS = st.sampled_from(["", "", " ", " ", "  ", "\n", "\n\n\n", "\t", "\r\n", "\n      "])


def lexed(text: str) -> list[lark.Token]:
    return tokens_of(parse_exactly(text))


def comments(text: str) -> list[str]:
    """Comments in order, by the lexer's word on where tokens are."""
    found: list[str] = []
    end = 0
    for token in [*lexed(text), None]:
        start = len(text) if token is None else token.start_pos
        found += [line.strip() for line in re.findall(r"#[^\n]*", text[end:start])]
        end = start if token is None else token.end_pos
    return found


@st.composite
def messy(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A text of `texts` laid out at random, with comments anywhere."""
    tokens = [str(token) for token in lexed(draw(texts))]
    gaps = draw(st.lists(_GAPS, min_size=len(tokens) + 1, max_size=len(tokens) + 1))
    where = draw(st.sets(st.integers(0, len(tokens)), max_size=5))
    parts = []
    for i, (gap, token) in enumerate(zip(gaps, [*tokens, ""], strict=True)):
        if i in where:
            gap += f"# c{i}, {'(' * (i % 2)}\n" + gaps[-i]
        apart = parts and not gap and _sticks(parts[-1], token)
        parts += [" " if apart else gap, token]
    return "".join(parts)


def _sticks(left: str, right: str) -> bool:
    """Whether two tokens would be read as others if nothing stood between them."""
    if _GLUED.fullmatch(left[-1:] + right[:1]):
        return True
    return not (left in "()[]{}," or right in "()[]{},")
