"""Small charts as inline SVG: no script, no request, right on light and dark, named for a screen reader.

    bars, columns, stacked, donut   how much of each            (amounts.py)
    lines, spark, curve, scatter    how it moves, x against y   (lines.py)
    heat, treemap, clock            many values as an area      (grids.py)
    sankey                          who moved where             (flow.py)
    range_bar, waterfall            a prediction and its reasons (reasons.py)

Every one takes plain numbers (None and NaN are holes), escapes every text, and says so calmly when there is nothing to draw.
"""

from huaxiang.look.charts.amounts import Bar, bars, columns, donut, stacked
from huaxiang.look.charts.flow import sankey
from huaxiang.look.charts.grids import clock, heat, treemap
from huaxiang.look.charts.lines import Series, curve, lines, scatter, spark
from huaxiang.look.charts.reasons import Effect, range_bar, waterfall

__all__ = [
    "Bar",
    "Effect",
    "Series",
    "bars",
    "clock",
    "columns",
    "curve",
    "donut",
    "heat",
    "lines",
    "range_bar",
    "sankey",
    "scatter",
    "spark",
    "stacked",
    "treemap",
    "waterfall",
]
