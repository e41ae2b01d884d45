"""The page of a comparison of prefills, drawn from its results."""

from pathlib import Path
from typing import Any

from videosieve.prefill.results import PAGE, PrefillResults, PrefillRow
from videosieve.report.page import Colophon, machine_fact
from videosieve.report.prefill import write_prefill_page


def write_page(results: PrefillResults, folder: Path) -> Path:
    """Draw prefill.html.

    Args:
        results: At least one prompt.
        folder: Where the page goes.

    Returns:
        Its path.
    """
    facts = [
        ("model", results.model, ""),
        machine_fact(results.machine),
        ("timed", f"{results.repeats} prefill{'s' * (results.repeats != 1)} each", "the median counts"),
        ("likelihood", f"last {results.scored} tokens", f"then {results.decoded} tokens, greedily"),
    ]  # fmt: skip
    scenes = [
        {"prompt": prompt, "tokens": rows[0].tokens, "rows": [_shown(row, rows[0]) for row in rows]}
        for number, prompt in enumerate(results.prompts)
        if (rows := results.of_prompt(number))
    ]
    path = folder / PAGE
    colophon = Colophon(results.model, command=results.command, versions=results.versions)
    write_prefill_page(colophon, facts, scenes, path)
    return path


def _shown(row: PrefillRow, dense: PrefillRow) -> dict[str, Any]:
    return {
        "method": row.method,
        "continuation": row.continuation,
        "seconds": row.seconds,
        "speedup": dense.seconds / row.seconds,
        "attention_share": 100 * row.attention_seconds / row.seconds,
        "density": row.density,
        "recall": row.recall,
        "lowest_recall": row.lowest_recall,
        "nll": row.nll,
        "nll_difference": row.nll_difference,
        "agreement_percent": None if row.agreement is None else 100 * row.agreement,
    }
