"""The `##` comments above declarations, and what the language's own names mean."""

from __future__ import annotations

from resnetc.lang import syntax as s


def doc_of(decl: s.Decl) -> str:
    """The `##` comment right above a declaration, without its signs; empty where there is none."""
    source = decl.span.source
    line, _ = source.position(decl.span.start)
    found: list[str] = []
    while line > 1 and source.line_text(line - 1).startswith("##"):
        line -= 1
        found.append(source.line_text(line).removeprefix("##").strip())
    return "\n".join(reversed(found))


BUILTINS = {
    "seq": "Layers one after another; those without a label are numbered, as in `nn.Sequential`.",
    "group": "Layers one after another, under one label.",
    "residual": "Adds a shortcut to its body, then an activation: "
    "`residual(act: layer? = act, shortcut: shortcut = shortcut) { ... }`.",
    "add": "The sum of its branches, whose shapes must be the same.",
    "mul": "The product of its branches; Cx1x1 stands for a value per channel.",
    "concat": "The channels of its branches, one after another.",
    "tuple": "Its branches, flowing on side by side as several tensors.",
    "split": "`split(n)`: the channels in n equal parts that flow on as several tensors.",
    "input": "In a block the tensor that flows in; in a network its input.",
    "output": "In a shortcut policy the tensor at the end of the residual body.",
    "here": "The tensor that flows at this place.",
    "stride": "In a shortcut policy the spatial ratio of `input` and `output`.",
    "changed": "In a shortcut policy whether the shapes of `input` and `output` differ.",
    "index": "In a repeat the number of this instance, from 0.",
    "first": "In a repeat whether this is the first instance.",
    "last": "In a repeat whether this is the last instance.",
    "abs": "`abs(x)`: the magnitude of a number.",
    "ceil": "`ceil(x)`: the smallest integer that is not less.",
    "count": "`count(xs, x)`: how often an item is in a list.",
    "enumerate": "`enumerate(xs)`: pairs of number, from 0, and item.",
    "float": "`float(x)`: the number as a float.",
    "floor": "`floor(x)`: the largest integer that is not more.",
    "int": "`int(x)`: the number without its fraction, towards zero.",
    "len": "`len(xs)`: how many items a list has.",
    "log": "`log(x)`: the natural logarithm.",
    "max": "`max(a, b, ...)` or `max(xs)`: the largest.",
    "min": "`min(a, b, ...)` or `min(xs)`: the smallest.",
    "reversed": "`reversed(xs)`: the items from the last to the first.",
    "round": "`round(x)`: to the nearest integer, half to even.",
    "sqrt": "`sqrt(x)`: the square root.",
    "sum": "`sum(xs)`: of the numbers in a list.",
    "unique": "`unique(xs)`: the items, each where it comes first.",
    "zip": "`zip(xs, ys, ...)`: lists of the items that stand at the same place.",
}
"""What the names mean that no file declares."""
