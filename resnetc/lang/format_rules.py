"""Lark's tree, with all its tokens, to a document: where each rule of the grammar may break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import lark

from resnetc.lang.format_comments import surroundings
from resnetc.lang.format_doc import (
    HARD,
    Block,
    Comment,
    Doc,
    Fitting,
    Group,
    IfBroken,
    Indent,
    Line,
    Suffix,
    Tab,
)
from resnetc.lang.format_table import aligned

Tree = lark.Tree[Any]
Node = Tree | lark.Token

_TIGHT = frozenset(
    {"module", "attr", "index", "slice", "apply", "list_type", "optional_type", "negative"}
    | {"range_op", "keyword", "label", "bind_append", "key"}
)
"""Rules whose parts stand close together."""
_IN_ONE_LINE = Line("  ")
"""Between statements: two spaces where a body stands on one line."""


def layout(text: str, tree: Tree) -> Doc:
    """The document of a file."""
    return _Layout(text, tree).file(tree)


class _Layout:
    def __init__(self, text: str, tree: Tree) -> None:
        self._text = text
        self._around = surroundings(text, tokens_of(tree))
        self._rules: dict[str, Callable[[Tree], Doc]] = {
            "params": self.bracketed,
            "args": self.bracketed,
            "list": self.bracketed,
            "columns": self.bracketed,
            "table": self.table,
            "atom": self.parenthesis,
            "comprehension": self.comprehension,
            "use": self.use,
            "body": self.with_braces,
            "branches": self.with_braces,
            "facts": self.with_braces,
            "recipe": self.with_braces,
            "experiment": self.with_braces,
            "deploy": self.with_braces,
            "subsection": self.with_braces,
            "meta": self.with_braces,
            "fn_body": self.with_braces,
            "branch": self.branch,
            "chain": self.chain,
            "derivation": self.derivation,
            "binary": self.binary,
            "cond": self.cond,
        }

    def file(self, tree: Tree) -> Doc:
        """The declarations, a line between them where the author left one."""
        parts: list[Doc] = []
        for child in tree.children:
            parts += [*self.begin(child, HARD if parts else ""), *self.whole(child)]
        return [*parts, *self.comments(len(self._text), HARD if parts else "")]

    def doc(self, node: Node) -> Doc:
        """The document of a rule or token."""
        if isinstance(node, lark.Token):
            return self.token(node)
        return self._rules.get(node.data, self.row)(node)

    def whole(self, node: Node) -> list[Doc]:
        """The document of a node that ends its line; a comment behind it breaks nothing in it."""
        behind = self.behind(node)
        return [self.doc(node), *behind]

    # ---- tokens and the comments around them

    def token(self, token: lark.Token) -> list[Doc]:
        """A token; comments that nothing has put above it go to the end of its line."""
        return [*self.above(token), str(token), *self.behind(token)]

    def above(self, node: Node) -> list[Doc]:
        """Comments above a node, for the end of a line."""
        around = self._around[_start(node)]
        before, around.before = around.before, []
        return [Suffix(comment) for _, comment in before]

    def behind(self, node: Node) -> list[Doc]:
        """The comment behind a node."""
        around = self._around[_start(_last(node))]
        comment, around.after = around.after, None
        return [] if comment is None else [Suffix(comment)]

    def comments(self, position: int, separator: Doc) -> list[Doc]:
        """The comments above a position, each on its line, the first behind `separator`."""
        around = self._around[position]
        parts: list[Doc] = []
        for blank, comment in around.before:
            parts += [_blank(separator, blank), Comment(comment)]
            separator = HARD
        around.before = []
        return parts

    def begin(self, node: Node, separator: Doc, *, first: bool = False) -> list[Doc]:
        """What stands before a node that begins a line: the break, and the comments above it.

        The first one in brackets has no empty line above it.
        """
        start = _start(node)
        around = self._around[start]
        if first and around.before:
            around.before[0] = (False, around.before[0][1])
        elif first:
            around.blank = False
        comments = self.comments(start, separator)
        return [*comments, _blank(HARD if comments else separator, around.blank)]

    # ---- rules without a layout of their own

    def row(self, tree: Tree) -> Doc:
        """The parts one after the other; it may break behind commas."""
        return self.spaced(tree.data, tree.children)

    def spaced(self, rule: str, nodes: Sequence[Node]) -> Doc:
        parts: list[Doc] = [self.doc(node) for node in nodes[:1]]
        for left, right in pairwise(nodes):
            parts += [_gap(rule, left, right), self.doc(right)]
        if all(node != "," for node in nodes):
            return parts
        first = 2 * next(i for i, node in enumerate(nodes) if node == ",") + 1
        return Group([*parts[:first], Indent(parts[first:])])

    # ---- lists in brackets

    def bracketed(self, tree: Tree) -> Doc:
        """`(a, b)`: on one line, or an item a line and a comma behind the last."""
        return self.items(tree.children, "")

    def use(self, tree: Tree) -> Doc:
        """`use module { a, b }`."""
        use, module, *braces = tree.children
        return [self.spaced("use", [use, module]), " ", self.items(braces, " ")]

    def items(self, nodes: Sequence[Node], pad: str) -> Doc:
        opened, *items, closed = nodes
        if not items:
            return [self.doc(opened), self.doc(closed)]
        parts: list[Doc] = []
        separator = Line(pad)
        for item in items[:-1] if items[-1] == "," else items:
            if item == ",":
                parts.append(self.doc(item))
                separator = Line()
            else:
                parts += [*self.begin_item(item, separator), *self.whole(item)]
        parts.append(self.last_separator(items[-1], ","))
        parts += self.comments(_start(closed), HARD)
        return self.group(opened, parts, Line(pad), closed)

    def group(self, opened: Node, inside: Doc, end: Line, closed: Node) -> Doc:
        """What stands in brackets; a comment behind the closing one breaks nothing in them."""
        close, *after = self.whole(closed)
        return [Group([self.doc(opened), Indent(inside), end, close]), *after]

    def begin_item(self, item: Node, separator: Line) -> list[Doc]:
        """As `begin`, without empty lines."""
        around = self._around[_start(item)]
        around.before = [(False, comment) for _, comment in around.before]
        around.blank = False
        return self.begin(item, separator)

    def last_separator(self, last: Node, sign: str) -> Doc:
        """The comma or semicolon behind the last item: there where the list breaks."""
        if last != sign or not isinstance(last, lark.Token):
            return IfBroken(sign)
        return [*self.above(last), IfBroken(sign), *self.behind(last)]

    def parenthesis(self, tree: Tree) -> Doc:
        """`(expression)`."""
        opened, inside, closed = tree.children
        return self.group(opened, [Line(""), *self.whole(inside)], Line(""), closed)

    def comprehension(self, tree: Tree) -> Doc:
        """`[item for x in xs if test]`: breaks before `for` and `if`."""
        opened, item, *clauses, closed = tree.children
        parts: list[Doc] = [Line(""), self.doc(item)]
        for clause in clauses:
            parts += [Line() if clause in ("for", "if") else " ", self.doc(clause)]
        return self.group(opened, parts, Line(""), closed)

    def table(self, tree: Tree) -> Doc:
        """`table (a, b) [1, 2; 3, 4]`: a row a line where the author broke it or it is long."""
        word, columns, opened, *inside, closed = tree.children
        separators: list[Node] = [node for node in inside if node == ";"]
        rows = [node for node in inside if node != ";"]
        begins = [self.begin_item(row, Line(" " if i else "")) for i, row in enumerate(rows)]
        cells = [self.cells(row) for row in rows]
        breaks: list[Doc] = []
        for i, text in enumerate(aligned(cells)):
            plain = Group([cells[i][0], Indent([[Line(), cell] for cell in cells[i][1:]])])
            breaks += [*begins[i], plain if text is None else IfBroken(Fitting(text, plain), plain)]
            if i < len(rows) - 1:
                breaks.append(self.doc(separators[i]))
        breaks.append(self.last_separator(inside[-1], ";"))
        breaks += self.comments(_start(closed), HARD)
        head = [self.doc(word), " ", self.doc(columns), " ", self.doc(opened)]
        close, *after = self.whole(closed)
        body: list[Doc] = [Indent(breaks), Line(""), close]
        is_short = "\n" not in self._text[_end(opened) : _start(closed)]
        return [*head, Group(body) if is_short else Block(body), *after]

    def cells(self, row: Tree) -> list[Doc]:
        """The cells of a row, each with its comma."""
        docs = [self.doc(child) for child in row.children]
        return [docs[i : i + 2] for i in range(0, len(docs), 2)]

    # ---- bodies in braces

    def with_braces(self, tree: Tree) -> Doc:
        """Something and a body; a body written on one line stays there where it fits."""
        braces = [i for i, child in enumerate(tree.children) if child == "{"]
        if not braces:
            return self.row(tree)
        head, (opened, *inside, closed) = tree.children[: braces[0]], tree.children[braces[0] :]
        before: list[Doc] = [self.spaced(tree.data, head), " "] if head else []
        if not inside and not self._around[_start(closed)].before:
            return [*before, self.doc(opened), self.doc(closed)]
        content = [self.statements(inside, Line()), *self.comments(_start(closed), HARD)]
        close, *after = self.whole(closed)
        body = [self.doc(opened), Indent(content), Line(), close]
        is_short = "\n" not in self._text[_end(opened) : _start(closed)]
        return [*before, Group(body) if is_short else Block(body), *after]

    def statements(self, nodes: Sequence[Node], separator: Doc) -> list[Doc]:
        """Statements, each on a line of its own; a shape stays in the line of its row."""
        parts: list[Doc] = []
        previous: Node | None = None
        for node in _joined(nodes):
            if previous is not None and self.is_column(previous, node):
                parts += [Tab(), *self.whole(node)]
            else:
                parts += [*self.begin(node, separator, first=previous is None), *self.whole(node)]
            previous, separator = node, _IN_ONE_LINE
        return parts

    def is_column(self, row: Node, node: Node) -> bool:
        """Whether a statement is the `=> 56x56` at the end of a row."""
        if not isinstance(node, lark.Tree) or node.data != "shape":
            return False
        return "\n" not in self._text[_end(row) : _start(node)]

    def branch(self, tree: Tree) -> Doc:
        """`| [guard] statements`: further statements stand under the first."""
        bar, *rest = tree.children
        guarded = rest[:1] if rest and getattr(rest[0], "data", "").startswith("guard") else []
        head = self.guard([bar, *guarded])
        body = rest[len(guarded) :]
        return [head, " ", Indent(self.statements(body, ""))] if body else head

    def guard(self, nodes: Sequence[Node]) -> Doc:
        bar, *guard = nodes
        if not guard:
            return self.doc(bar)
        (tree,) = guard
        assert isinstance(tree, lark.Tree)
        opened, *inside, closed = tree.children
        return [
            *[self.doc(bar), " ", self.doc(opened)],
            *[self.spaced("guard", inside), self.doc(closed)],
        ]

    # ---- rows and expressions

    def chain(self, tree: Tree) -> Doc:
        """`a -> b`: breaks where the author broke it, and at every arrow where it is too long."""
        step, *rest = tree.children
        rows: list[Doc] = []
        before: list[Doc] = []
        after = self.behind(step)
        row: list[Doc] = [self.doc(step)]
        for arrow, next_ in zip(rest[::2], rest[1::2], strict=True):
            if "\n" in self._text[_end(step) : _start(next_)]:
                rows.append([*before, _row(row), *after])
                before = [*self.begin_item(arrow, HARD), *self.behind(arrow), *self.above(next_)]
                row = []
            elif row:
                row.append(Line())
            after = self.behind(next_)
            row.append([self.doc(arrow), " ", self.doc(next_)])
            step = next_
        first, *others = [*rows, [*before, _row(row), *after]]
        return [first, Indent(others)]

    def derivation(self, tree: Tree) -> Doc:
        """`base with a = 1, b = 2`: several settings break to a line each."""
        base, *rest = tree.children
        if len(rest) < 3:
            return self.row(tree)
        word, *settings = rest
        parts: list[Doc] = [Line()]
        for setting in settings:
            parts += [self.doc(setting), Line()] if setting == "," else [self.doc(setting)]
        return [self.doc(base), " ", Group([self.doc(word), Indent(parts)])]

    def binary(self, tree: Tree) -> Doc:
        """`a + b + c`: breaks before operators."""
        operands: list[Node] = []
        node: Node = tree
        while isinstance(node, lark.Tree) and node.data == "binary":
            left, operator, right = node.children
            operands += [right, operator]
            node = left
        first = self.doc(node)
        operands.reverse()
        parts: list[Doc] = []
        for operator, right in zip(operands[::2], operands[1::2], strict=True):
            parts += [Line(), self.doc(operator), " ", self.doc(right)]
        return Group([first, Indent(parts)])

    def cond(self, tree: Tree) -> Doc:
        """`if a then b else c`: breaks before `then` and `else`."""
        word, test, *rest = tree.children
        head = [self.doc(word), " ", self.doc(test)]
        parts: list[Doc] = []
        for child in rest:
            parts += [Line() if child in ("then", "else") else " ", self.doc(child)]
        return Group([*head, Indent(parts)])


def _row(parts: list[Doc]) -> Doc:
    """A row that may break before its arrows: steps after the first are indented then."""
    return Group([parts[0], Indent(parts[1:])])


def _gap(rule: str, left: Node, right: Node) -> Doc:
    """What stands between two parts of a rule."""
    if left == ",":
        return Line()
    if rule in _TIGHT or right in (",", ":"):
        return ""
    is_signature = isinstance(right, lark.Tree) and right.data in ("params", "args")
    return "" if is_signature else " "


def _blank(separator: Doc, blank: bool) -> Doc:
    return Line(separator.flat, blank) if isinstance(separator, Line) else separator


def _joined(nodes: Sequence[Node]) -> Iterator[Node]:
    """Statements of a body: `return` and its expression are one."""
    at = 0
    while at < len(nodes):
        if nodes[at] == "return":
            yield lark.Tree("return", list(nodes[at:]))
            return
        yield nodes[at]
        at += 1


def tokens_of(tree: Tree) -> list[lark.Token]:
    """All tokens of a tree, in order."""
    return sorted(tree.scan_values(lambda value: isinstance(value, lark.Token)), key=_start)


def _start(node: Node) -> int:
    """Where a node's first token begins."""
    while isinstance(node, lark.Tree):
        node = node.children[0]
    assert node.start_pos is not None
    return node.start_pos


def _last(node: Node) -> lark.Token:
    while isinstance(node, lark.Tree):
        node = node.children[-1]
    return node


def _end(node: Node) -> int:
    """Where a node's last token ends."""
    end = _last(node).end_pos
    assert end is not None
    return end
