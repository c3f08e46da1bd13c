"""Reads graphs: what a network costs, what it sees, and how it compares with the paper."""

from resnetc.analysis.cost import Cost, cost, node_costs
from resnetc.analysis.field import Field, fields, receptive_field
from resnetc.analysis.paper import PaperReport, check_paper, render
from resnetc.analysis.stages import StageReport, stages

__all__ = [
    "Cost",
    "Field",
    "PaperReport",
    "StageReport",
    "check_paper",
    "cost",
    "fields",
    "node_costs",
    "receptive_field",
    "render",
    "stages",
]
