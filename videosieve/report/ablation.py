"""ablation.html: scores by layer and noise level as a heat map, and the paper's findings; one self-contained file."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from videosieve.files import write_text

STYLES = ("colours.css", "layout.css", "ablation.css")


def write_ablation_page(
    ablation: Mapping[str, Any], figure: str, path: Path, about: Mapping[str, Any] | None = None
) -> None:
    """Write the page.

    Args:
        ablation: As `Ablation.as_json` has it.
        figure: The name of what is scored, for people.
        path: An .html file.
        about: `model`, `method`, `scenes`, `command` and `versions`, as far as known.

    Raises:
        OutputError: The page cannot be written.
    """
    values = [value for row in ablation["table"] for value in row]
    low, high = min(values), max(values)
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_asset("ablation.html"))
    said = {"model": "", "method": "", "scenes": "", "command": "", "versions": {}, **(about or {})}
    text = page.render(
        ablation=ablation, figure=figure, about=said, low=low, span=max(high - low, 1e-12), high=high,
        css="\n".join(map(_asset, STYLES)),
    )  # fmt: skip
    write_text(path, text)


def _asset(name: str) -> str:
    return (resources.files("videosieve.report") / "assets" / name).read_text(encoding="utf-8")
