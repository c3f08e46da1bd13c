"""Several tensors at once: `tuple`, `split`, and what takes them."""

from __future__ import annotations

import pytest
from spec_files import Folder, folder, output, weights

from resnetc.ops.layout import SliceChannels

__all__ = ["folder"]


@pytest.mark.parametrize(
    ("body", "channels"),
    [
        ("split(4) -> concat", 4),
        ("split(4) -> add", 1),
        ("split(parts=2) as a, b  from b", 2),
        ("split(2) as a, b  from b, a, b -> concat", 6),
        ("split(1) -> relu", 4),
        ("tuple { | identity } -> relu", 4),
        ("tuple { | identity | conv(1x1, 3) } -> concat", 7),
        ("tuple { | identity | conv(1x1, 3) } as a, b  from b", 3),
        ("tuple { | identity | conv(1x1, 3) } as all  from all[1]", 3),
        ("split(2) as xs[]  from input as xs[]  from xs -> concat", 8),
        ("split(2) -> concat { | identity | from input }", 8),
        ("tuple { | split(2) | identity } as a, b, c  from a, c -> concat", 6),
        ("tuple { | [for i in 0..3] identity } as a, b, c  from a, b, c -> concat", 12),
        ("split(2) -> tuple as a, b  from a", 2),
        ("split(2) -> seq { a: concat }", 4),
        ("seq { tuple { | a: conv(1x1, 2) | b: conv(1x1, 3) } } -> concat", 5),
        ("split(2) as a, b  from a -> residual { from a, b -> add }", 2),
    ],
)
def test_what_flows(body: str, channels: int, folder: Folder) -> None:
    assert output(folder.body(body)) == (channels, 8, 8)


def test_parts_are_in_the_order_of_the_channels(folder: Folder) -> None:
    graph = folder.body("split(2) as low, high  from low, high -> concat")
    cuts = [node.op for node in graph if node.op.name == "slice_channels"]
    assert cuts == [SliceChannels(0, 2), SliceChannels(2, 4)]


def test_a_split_has_one_index_in_a_seq_and_branches_their_own(folder: Folder) -> None:
    both = "tuple { | from here[0] -> a: conv(1x1) | from here[1] }"
    body = f"s: seq {{ split(2)  {both}  add  conv(1x1) }}"
    assert weights(folder.body(body)) == [
        "s.1.a.weight",
        "s.3.weight",
    ]


def test_a_block_on_several_tensors_sees_them_all(folder: Folder) -> None:
    swap = 'block swap { require len(input) == 2, "two"  from input[1], input[0] }'
    one = folder.body("tuple { | relu | conv(1x1, 2) } -> swap as a, b  from a", swap)
    assert output(one) == (2, 8, 8)
    again = "tuple { | relu | conv(1x1, 2) } -> swap * 2 as a, b  from a"
    assert output(folder.body(again, swap)) == (4, 8, 8)
