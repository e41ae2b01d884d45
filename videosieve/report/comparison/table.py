"""The table of a comparison: one row per method, medians with their intervals, every column explained."""

from typing import Any

from videosieve.report.comparison.columns import Column, columns_for, display_name
from videosieve.report.comparison.figures import Figures
from videosieve.report.comparison.statistics import FEWEST_SCENES, Estimate
from videosieve.report.comparison.style import Styles
from videosieve.report.results import BASELINE, FLOOR, Results


def table_view(results: Results, rows: list[Figures], styles: Styles) -> dict[str, Any]:
    """The table for the template.

    Args:
        results: The comparison.
        rows: The numbers of every method.
        styles: Colour and dash by method.

    Returns:
        columns, rows, note, unavailable.
    """
    scores = sorted({name for row in rows for clip in row.clips for name in clip.scores})
    columns = [column for column in columns_for(scores) if any(_number(row, column) for row in rows)]
    return {
        "columns": columns,
        "rows": [_row(results, row, columns, styles[row.name][0]) for row in rows],
        "note": _note(len(results.scenes())),
        "unavailable": [(display_name(name), reason) for name, reason in sorted(results.unavailable.items())],
    }


def _note(videos: int) -> str:
    if videos == 1:
        return "One video per method, so there are no intervals: small differences mean nothing."
    if videos < FEWEST_SCENES:
        return (
            f"Medians over {videos} videos per method, too few for intervals: small differences mean nothing."
        )
    return f"Medians over {videos} videos per method; below them 95 % bootstrap intervals."


def _number(row: Figures, column: Column) -> Estimate | None:
    return None if row.kind == BASELINE and column.compares else row.number(column.key)


def _row(results: Results, row: Figures, columns: list[Column], colour: str) -> dict[str, Any]:
    remark = ""
    if row.kind == BASELINE and results.dense_kernel:
        remark = f"kernel {results.dense_kernel}"
    elif row.kind == FLOOR:
        rounded = "bf16" in row.name  # the kernel stands there
        remark = f"noise floor: dense, {'rounded to bf16' if rounded else 'another kernel'}"
    cells = [_cell(_number(row, column), column) for column in columns]
    return {"name": row.name, "kind": row.kind, "colour": colour, "remark": remark, "cells": cells}


def _cell(number: Estimate | None, column: Column) -> dict[str, str]:
    if number is None:
        return {"value": "–", "interval": ""}
    if number.low is None or number.high is None:
        return {"value": column.words(number.median), "interval": ""}
    low, high = column.words(number.low), column.words(number.high)
    return {"value": column.words(number.median), "interval": "" if low == high else f"{low}–{high}"}
