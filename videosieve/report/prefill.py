"""prefill.html: dense and sparse prefills of a language model on one page, drawn from plain rows. No network."""

from pathlib import Path
from typing import Any

from videosieve.colours import METHODS
from videosieve.files import write_text
from videosieve.report.charts import Bar, time_bars
from videosieve.report.page import Colophon, draw_page

COLUMNS = (
    ("prefill", "s", "seconds", 2, "Wall time of the prefill: all tokens of the prompt in one forward"),
    ("speed-up", "×", "speedup", 2, "Seconds of the dense prefill ÷ these"),
    (
        "attention",
        "%",
        "attention_share",
        0,
        "Share of the prefill that is spent in attention, selection included",
    ),
    ("density", "", "density", 3, "Computed query–key pairs ÷ all pairs of the causal half, over all layers"),
    ("recall", "", "recall", 3, "True softmax mass inside what was computed, mean over layers and heads"),
    ("lowest recall", "", "lowest_recall", 3, "The same of the layer where it is lowest"),
    ("NLL", "nats", "nll", 3, "Mean negative log-likelihood of the last tokens of the prompt"),
    ("NLL difference", "nats", "nll_difference", 3, "That minus the one of the dense model"),
    (
        "agreement",
        "%",
        "agreement_percent",
        0,
        "Share of the greedy continuation before it first differs from dense",
    ),
)


def write_prefill_page(
    colophon: Colophon, facts: list[tuple[str, str, str]], scenes: list[dict[str, Any]], path: Path
) -> None:
    """Write the page.

    Args:
        colophon: What stands at the foot; its model is the title.
        facts: Name, value, and what belongs to it in small print.
        scenes: Per prompt: "prompt", "tokens" and "rows", a dict per method with the keys of `COLUMNS`, "method" and
            "continuation".
        path: An .html file.

    Raises:
        OutputError: The page cannot be written.
    """
    drawn = [
        {**scene, "rows": [_row(row, index) for index, row in enumerate(scene["rows"])], "bars": _bars(scene)}
        for scene in scenes
    ]
    page = draw_page(
        "prefill.html", f"Prefill of {colophon.model}", colophon, facts=facts, scenes=drawn,
        columns=[{"name": name, "unit": unit, "meaning": meaning} for name, unit, _, _, meaning in COLUMNS],
    )  # fmt: skip
    write_text(path, page)


def _row(row: dict[str, Any], index: int) -> dict[str, Any]:
    cells = [_cell(row.get(key), digits) for _, _, key, digits, _ in COLUMNS]
    return {**row, "colour": _colour(index), "cells": cells}


def _colour(index: int) -> str:
    """Dense comes first and looks as in a comparison; the others follow."""
    return f"var(--method-{1 + (index - 1) % (METHODS - 1) if index else 0})"


def _bars(scene: dict[str, Any]) -> list[Bar]:
    """Seconds in attention and in the rest, a bar per method."""
    rows = []
    for index, row in enumerate(scene["rows"]):
        inside = row["seconds"] * row["attention_share"] / 100
        parts = [("attention", "attention", inside), ("rest", "everything else", row["seconds"] - inside)]
        rows.append((row["method"], _colour(index), parts))
    return time_bars(rows)


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
