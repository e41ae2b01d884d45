"""ablation.html: scores by layer and noise level as a heat map, and the paper's findings; one self-contained file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videosieve.files import write_text
from videosieve.report.page import Colophon, draw_page


def write_ablation_page(
    ablation: Mapping[str, Any], figure: str, path: Path, about: Mapping[str, Any] | None = None
) -> None:
    """Write the page.

    Args:
        ablation: As `Ablation.as_json` has it.
        figure: The name of what is scored, for people.
        path: An .html file.
        about: `model`, `method`, `scenes`, `seed`, `command` and `versions`, as far as known.

    Raises:
        OutputError: The page cannot be written.
    """
    values = [value for row in ablation["table"] for value in row]
    low, high = min(values), max(values)
    said = {
        "model": "",
        "method": "",
        "scenes": "",
        "seed": "",
        "command": "",
        "versions": {},
        **(about or {}),
    }
    colophon = Colophon(said["model"], str(said["seed"]), said["command"], said["versions"])
    page = draw_page(
        "ablation.html", f"{figure} by layer and noise", colophon,
        ablation=ablation, figure=figure, about=said, low=low, span=max(high - low, 1e-12), high=high,
    )  # fmt: skip
    write_text(path, page)
