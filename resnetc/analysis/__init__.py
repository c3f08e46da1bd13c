"""Reads graphs: what a network costs and what it sees.

`resnetc.analysis.paper` holds a network against the paper; it is imported where it is needed.
"""

from resnetc.analysis.communication import Communication, communication
from resnetc.analysis.cost import Cost, cost, node_costs
from resnetc.analysis.depth import depth
from resnetc.analysis.field import Field, fields, receptive_field
from resnetc.analysis.stages import StageReport, stages

__all__ = [
    "Communication",
    "Cost",
    "Field",
    "StageReport",
    "communication",
    "cost",
    "depth",
    "fields",
    "node_costs",
    "receptive_field",
    "stages",
]
