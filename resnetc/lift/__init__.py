"""From an ONNX model to the source of the same network.

model     the file: nodes, constants, what goes in and comes out
reading   every node as a layer of ours, by the table of `operators`
naming    a module path for every layer with parameters
regions   the layers as chains and forks
scopes    chains and forks as modules, by the paths
idioms    what a person would have written; policies for shortcuts; blocks for what repeats
source    the text, compiled and compared with what was read
"""

from resnetc.lift.refusal import LiftError
from resnetc.lift.source import Lifted, lift

__all__ = ["LiftError", "Lifted", "lift"]
