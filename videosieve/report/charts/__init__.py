"""The geometry of the page's figures, in percent of the plot, so that they fit any width. The templates draw them."""

from videosieve.report.charts.axes import Scale, Tick, ticks
from videosieve.report.charts.bars import Bar, Part, time_bars
from videosieve.report.charts.grid import HeadGrid, cell_fill, head_grid, pattern_colour
from videosieve.report.charts.lines import Band, LineChart, Series, line_chart
from videosieve.report.charts.pareto import Contender, ParetoChart, pareto_chart

__all__ = [
    "Band",
    "Bar",
    "Contender",
    "HeadGrid",
    "LineChart",
    "ParetoChart",
    "Part",
    "Scale",
    "Series",
    "Tick",
    "cell_fill",
    "head_grid",
    "line_chart",
    "pareto_chart",
    "pattern_colour",
    "ticks",
    "time_bars",
]
