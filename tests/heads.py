"""A small network with auxiliary heads, one of them inside a block."""

from __future__ import annotations

import pytest
from spec_files import Folder

from resnetc.ir import Graph

HEAD = "block head(n: int) { pool: gap -> flatten -> fc: linear(n) }"
BODY = """
  conv1: conv(3x3, 6) -> bn1: norm -> act
  aux near: head(5)
  layer1: seq {
    conv(3x3, 6) -> norm -> act
    aux deep: conv(1x1, 3) -> norm -> act -> flatten -> linear(5)
    conv(3x3, 6)
  }
  residual(shortcut=B) { conv2: conv(3x3, 4) -> bn2: norm }
  gap -> flatten -> fc: linear(5)
"""


@pytest.fixture
def graph(folder: Folder) -> Graph:
    return folder.body(BODY, HEAD)
