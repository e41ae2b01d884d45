"""What a comparison of prefills leaves behind: prefill.json, versioned, from which the page is drawn."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from videosieve.errors import OutputError
from videosieve.fields import from_table
from videosieve.files import read_table, write_text

SCHEMA = 1
SHOWN = 160
"""Letters of a prompt that results keep, to tell it by."""
RESULTS, PAGE = "prefill.json", "prefill.html"
COLUMNS = (
    "method", "prompt", "tokens", "prefill, s", "speed-up, ×", "attention, share", "density", "recall",
    "lowest recall", "NLL, nats", "NLL − dense, nats", "continuation agrees, share",
)  # fmt: skip


def beginning(prompt: str) -> str:
    """The first words of a prompt in one line; an ellipsis where there are more."""
    line = " ".join(prompt.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1].rpartition(' ')[0] or line[: SHOWN - 1]}…"


@dataclass(frozen=True, slots=True)
class PrefillRow:
    """One method on one prompt. Shares and densities lie in [0, 1].

    Attributes:
        method: Name of the recipe; "dense" is the untouched model.
        prompt: Which prompt: its number, from 0.
        tokens: Of the prompt.
        seconds: Wall time of the prefill, the median of the repeats.
        attention_seconds: Time inside attention calls of it, selection included.
        density: Computed query–key pairs ÷ all pairs of the causal half, over all layers.
        recall: True softmax mass inside what was computed, mean over layers and heads; None if nothing was sparse.
        lowest_recall: The same of the layer where it is lowest.
        nll: Mean negative log-likelihood of the last tokens of the prompt, nats per token.
        nll_difference: That minus the one of the dense model; None of dense.
        agreement: Share of the greedy continuation before it first differs from the dense one; None of dense.
        continuation: The greedy continuation in words.
        dense_reasons: Attention calls that stayed dense, by reason.
    """

    method: str
    prompt: int
    tokens: int
    seconds: float
    attention_seconds: float
    density: float
    recall: float | None
    lowest_recall: float | None
    nll: float
    nll_difference: float | None
    agreement: float | None
    continuation: str
    dense_reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrefillResults:
    """A comparison of prefills.

    Attributes:
        model: As it was asked for.
        prompts: What was prefilled: the first words of each.
        rows: Prompt by prompt, dense first.
        machine: Where, in words by topic.
        versions: Of the packages that numbers depend on.
        command: What made it, where a command line did.
        scored: Tokens at the end of a prompt whose likelihood was taken, at most.
        decoded: Tokens of a continuation.
        repeats: Prefills that were timed per row.
        schema: Of this file.
    """

    model: str
    prompts: list[str]
    rows: list[PrefillRow]
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    scored: int = 256
    decoded: int = 16
    repeats: int = 1
    schema: int = SCHEMA

    def save(self, folder: Path) -> Path:
        """Write prefill.json; an OutputError says why it could not."""
        path = folder / RESULTS
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def load(cls, folder: Path) -> "PrefillResults":
        """Read what `save` wrote; an OutputError where it is missing or of another version."""
        path = folder / RESULTS
        table = read_table(path, "results of a prefill", OutputError)
        if table.get("schema") != SCHEMA:
            raise OutputError(
                f"{str(path)!r} has schema {table.get('schema')!r}, this videosieve reads {SCHEMA}; run it again"
            )
        rows = table.get("rows")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise OutputError(f"{str(path)!r} must hold a list of rows")
        made = [
            from_table(PrefillRow, row, f"{path}, row {number}", OutputError)
            for number, row in enumerate(rows)
        ]
        return from_table(cls, {**table, "rows": made}, str(path), OutputError)

    def of_prompt(self, prompt: int) -> list[PrefillRow]:
        """The rows of one prompt."""
        return [row for row in self.rows if row.prompt == prompt]

    def table(self) -> tuple[list[str], list[list[str | float | int | None]]]:
        """The figures as plain cells: names with units, and a row per method and prompt, prompts counted from 0."""
        rows: list[list[str | float | int | None]] = []
        for row in self.rows:
            speedup = self.of_prompt(row.prompt)[0].seconds / row.seconds
            share = row.attention_seconds / row.seconds
            attention = [row.seconds, speedup, share, row.density, row.recall, row.lowest_recall]
            told = [row.nll, row.nll_difference, row.agreement]
            rows.append([row.method, row.prompt, row.tokens, *attention, *told])
        return list(COLUMNS), rows
