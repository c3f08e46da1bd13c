"""The paper's tables and figures, made again: one page and one JSON file for each.

page        what a report holds, as self-contained HTML and as JSON
counts      `table1` and `claims`: from the specs alone, nothing is trained
cells       a network, a shortcut option and a seed: an ordinary run each, under one budget
measured    what came of the cells: errors, their spread, the curves
context     what all reports of trained networks have
studies     `fig1`, `fig6`, `table6` and `table3-small` from measured cells
responses   the standard deviations of layer responses; `fig7` reports them
figures     curves as SVG
"""
