"""scores.html: how well concepts are found in pictures or clips with masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videosieve.files import write_text
from videosieve.report.figures import Row, Section, Table, draw_figures
from videosieve.report.page import Colophon

SCENES = 500  # rows of single scenes on a page; scores.json has all


def write_scores_page(
    scores: Mapping[str, Any],
    names: Mapping[str, str],
    facts: Sequence[tuple[str, str, str]],
    colophon: Colophon,
    path: Path,
) -> None:
    """Write the page.

    Args:
        scores: As `Report.as_json` has it.
        names: What figures are called, in order.
        facts: Name, value, and what belongs to it in small print.
        colophon: What stands at the foot.
        path: An .html file.

    Raises:
        OutputError: The page cannot be written.
    """
    interval = "95 of 100 draws of as many scenes lie between"
    rows = [
        Row(words, [_words(scores["figures"][key]), *map(_words, scores["intervals"][key])])
        for key, words in names.items()
    ]
    ends = [(word, "95 %", interval) for word in ("from", "to")]
    total = Table("figure", [("value", "all scenes", ""), *ends], rows)
    shown = list(scores["by_scene"].items())[:SCENES]
    each = [
        Row(name, [_words(figures[key]) for key in names], shares=tuple(figures[key] or 0.0 for key in names))
        for name, figures in shown
    ]
    columns = [(words, "", "") for words in names.values()]
    more = len(scores["by_scene"]) - len(shown)
    note = (
        f"The first {len(shown)}; scores.json has {more} more."
        if more
        else "The stronger the colour, the better."
    )
    sections = [
        Section("All scenes together", "Ratios of sums over all scenes, not means of ratios.", table=total),
        Section("Every scene", note, table=Table("scene", columns, each, shaded=True)),
    ]
    write_text(
        path, draw_figures("How well concepts are found", "saliency, scores", facts, sections, colophon)
    )


def _words(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
