"""Draws networks as the paper's Figure 3 does: graph to picture, picture to layout, layout to SVG.

The steps, in order: `picture` (what is drawn at all), `repeats` (equal blocks once), `layout`
(where everything stands), `svg` (the text of the file).
"""

from resnetc.drawing.svg import draw

__all__ = ["draw"]
