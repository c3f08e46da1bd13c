"""The graph and its parameters. The only place that uses networkx."""

from resnetc.ir.graph import Graph, GraphEditor, Node, NodeId, Scope
from resnetc.ir.parameters import Parameter

__all__ = ["Graph", "GraphEditor", "Node", "NodeId", "Parameter", "Scope"]
