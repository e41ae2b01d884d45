"""The geometry of the page's figures, in percent of the plot, so that they fit any width. The templates draw them."""

from videosieve.report.charts.axes import Scale, Tick, ticks
from videosieve.report.charts.bars import Bar, Part, time_bars
from videosieve.report.charts.grid import HeadGrid, cell_fill, head_grid, pattern_colour
from videosieve.report.charts.lines import DASHES, Band, LineChart, Series, line_chart
from videosieve.report.charts.pareto import Contender, ParetoChart, pareto_chart
from videosieve.report.charts.points import Curve, Guide, Point, PointsChart, points_chart

__all__ = [
    "DASHES",
    "Band",
    "Bar",
    "Contender",
    "Curve",
    "Guide",
    "HeadGrid",
    "LineChart",
    "ParetoChart",
    "Part",
    "Point",
    "PointsChart",
    "Scale",
    "Series",
    "Tick",
    "cell_fill",
    "head_grid",
    "line_chart",
    "pareto_chart",
    "pattern_colour",
    "points_chart",
    "ticks",
    "time_bars",
]
