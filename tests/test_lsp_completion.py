"""What the language server offers to write."""

from __future__ import annotations

import pytest
from lsp_project import Project, project

from resnetc.lsp import completion

__all__ = ["project"]


# ------------------------------------------------------------------------------------ completion

HEAD = 'block b(width: int, mode: "up" | "down" = "up") { conv(1x1, width) }\n'


@pytest.mark.parametrize(
    ("text", "offered", "not_offered"),
    [
        ("¦", ["block", "network", "use"], ["conv", "let"]),
        ("network n { ¦", ["let", "input", "conv", "seq", "b"], ["network", "mod", "A"]),
        ("network n { act -> ¦", ["conv2d", "residual", "from"], ["let"]),
        ("network n { conv(¦", ["kernel=", "out=", "true", "len"], ["let", "network"]),
        ("network n { conv(3x3, ¦", ["out=", "stride="], ["kernel="]),
        ("network n { conv(3x3, stride=2, ¦", ["out=", "pad="], ["kernel=", "stride="]),
        ("network n { conv(3x3, str¦", ["stride="], []),
        ("network n { b(4, mode=¦", ['"up"', '"down"'], ["mode="]),
        ('network n { b(4, mode="¦', ["up", "down"], ["conv"]),
        ("network n { set ¦", ["norm", "act", "conv", "shortcut"], ["b", "relu"]),
        ("network n(k: ¦", ["int", "block", "size"], ["conv", "let"]),
        ("network n { let wide = 3 let y = w¦", ["wide"], []),
        ("network n { if true { let inside = 1 } let y = ¦", ["len"], ["inside"]),
        ("network n { for i in 0..3 { conv(1x1, ¦", ["i"], []),
        ("network n(depth: int) { conv(1x1, ¦", ["depth"], []),
        ("network n { act as x let y = x.¦", ["channels", "shape"], ["conv"]),
        ("network n { expect ¦", ["params", "macs"], ["conv"]),
        ("network n = ¦", ["other"], ["conv", "b"]),
        ("network n = other with ¦", ["classes", "norm"], ["conv2d"]),
        ("recipe r { ¦", ["batch", "optimizer"], ["conv", "output", "table"]),
        ("recipe r { batch = 3 ¦", ["epochs", "mod"], ["conv", "output", "table"]),
        ("recipe r = s with ¦", ["batch", "optimizer"], ["norm", "output", "table"]),
        ("recipe r = s with batch = 3, ¦", ["batch", "optimizer"], ["norm", "table"]),
        ("deploy d = e with ¦", ["target", "opset"], ["batchnorm", "output", "table"]),
        ("network n = other with ¦", ["classes", "norm"], ["batch", "output", "table"]),
        ("network n { expect ¦", ["output", "params"], ["table"]),
        ("network n { act as x from ¦", ["here", "input", "x"], ["len", "conv", "table", "output"]),
        ("network n { act as x from x, ¦", ["here", "x"], ["len", "conv", "none"]),
        ("network n { act as xs[] from xs[0], ¦", ["here", "xs"], ["len", "conv"]),
        ("network n { from x as a, ¦", [], ["here"]),
        ("network n { from here -> conv(3x3, ¦", ["out=", "len"], ["here"]),
        ("shortcut s { | from ¦", ["here", "input", "output"], ["len", "conv"]),
        ("experiment e { ¦", ["network", "recipe", "seed"], ["conv"]),
        ("experiment e { network = ¦", ["other"], ["conv", "b"]),
        ("network n(conv: layer = conv2d(bias=true)) { conv(3x3, ¦", ["out=", "pad="], []),
        ("network n(u: block(wide: int)) { u(¦", ["wide="], ["kernel="]),
        ("# conv ¦", [], ["conv", "block"]),
        ("use ¦", ["std", "lib"], ["conv"]),
        ("use .¦", ["lib"], ["std"]),
        ("use std.¦", ["nn"], ["lib"]),
        ("use .lib { ¦", ["eca", "sca"], ["conv"]),
        ("use .lib { eca, ¦", ["sca"], ["eca"]),
    ],
)
def test_completion(
    project: Project, text: str, offered: list[str], not_offered: list[str]
) -> None:
    project.write("lib.rnet", "block eca() { act }\nblock sca() { act }\n")
    other = "network other(classes: int = 3) { input 3x8x8 conv(1x1, classes) }\n"
    found = project.complete(HEAD + other + text)
    assert [name for name in offered if name not in found] == []
    assert [name for name in not_offered if name in found] == []


def test_what_is_near_is_offered_first(project: Project) -> None:
    found = project.complete("network n(depth: int) { conv(¦")
    assert found.index("kernel=") < found.index("relu")
    assert found.index("depth") < found.index("relu")


def test_a_key_shows_its_type_and_its_bounds(project: Project) -> None:
    text = "recipe r { "
    items = completion.complete(project.open(text), project.workspace.documents, len(text))
    told = {item.label: item.detail for item in items}
    assert told["batch"] == "int; must be at least 1"
    assert told["iterations"] == "int | none; must be at least 1"
    assert told["optimizer"] == "Optimizer"


def test_a_call_shows_its_signature(project: Project) -> None:
    text = "network n { conv(3x3, ¦"
    analysis = project.open(text.replace("¦", ""))
    shown = completion.signature_help(analysis, text.index("¦"))
    assert shown is not None
    assert shown.signatures[0].label.startswith("conv(kernel: size, out: int? = none")
    assert shown.active_parameter == 1
