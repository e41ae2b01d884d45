"""The table of a comparison as plain cells, for CSV, Markdown and LaTeX."""

from videosieve.report.comparison.columns import columns_for
from videosieve.report.comparison.figures import all_figures
from videosieve.report.results import BASELINE, Results


def flat_table(results: Results) -> tuple[list[str], list[list[str | float | None]]]:
    """Every column of the page's table that holds something, with the ends of 95 % intervals where there are any.

    Args:
        results: At least one finished video.

    Returns:
        Column names with units; a row per method, in the units of the names.
    """
    rows = all_figures(results)
    scores = sorted({name for row in rows for clip in row.clips for name in clip.scores})
    names = ["method"]
    cells: list[list[str | float | None]] = [[row.name] for row in rows]
    for column in columns_for(scores):
        estimates = [
            None if row.kind == BASELINE and column.compares else row.number(column.key) for row in rows
        ]
        if not any(estimates):
            continue
        ends = any(one is not None and one.low is not None for one in estimates)
        title = f"{column.name}, {column.unit}" if column.unit else column.name
        names += [title, *([f"{title}: 95 % from", f"{title}: 95 % to"] if ends else [])]
        for row, one in zip(cells, estimates, strict=True):
            values = (None,) * 3 if one is None else (one.median, one.low, one.high)
            scaled = [None if value is None else value * column.factor for value in values]
            row += scaled if ends else scaled[:1]
    return names, cells
