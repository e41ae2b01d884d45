"""prefill.html: dense and sparse prefills of a language model on one page, drawn from plain rows. No network."""

from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from videosieve.files import write_text

CSS = ("colours.css", "layout.css", "table.css")
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


def write_prefill_page(title: str, facts: dict[str, str], scenes: list[dict[str, Any]], path: Path) -> None:
    """Write the page.

    Args:
        title: The model.
        facts: What was run where, by topic.
        scenes: Per prompt: "prompt", "tokens" and "rows", a dict per method with the keys of `COLUMNS`, "method" and
            "continuation".
        path: An .html file.

    Raises:
        OutputError: The page cannot be written.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    drawn = [
        {
            **scene,
            "rows": [
                {**row, "cells": [_cell(row.get(key), digits) for _, _, key, digits, _ in COLUMNS]}
                for row in scene["rows"]
            ],
        }
        for scene in scenes
    ]
    page = environment.from_string(_asset("prefill.html")).render(
        title=title,
        facts=facts,
        scenes=drawn,
        columns=[{"name": name, "unit": unit, "meaning": meaning} for name, unit, _, _, meaning in COLUMNS],
        css=Markup("".join(map(_asset, CSS))),
    )
    write_text(path, page)


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _asset(name: str) -> str:
    return (resources.files("videosieve.report") / "assets" / name).read_text(encoding="utf-8")
