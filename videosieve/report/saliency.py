"""saliency.html: the video, all concepts over it, and a heat map of each; one self-contained file."""

import base64
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from videosieve.errors import OutputError
from videosieve.files import write_text


@dataclass(frozen=True, slots=True)
class Panel:
    """One video of the page.

    Attributes:
        name: What it shows.
        path: An .mp4 file.
        colour: CSS colour of its swatch; empty for none.
    """

    name: str
    path: Path
    colour: str = ""


def write_saliency_page(panels: list[Panel], prompt: str, facts: str, path: Path) -> None:
    """Write the page.

    Args:
        panels: In reading order.
        prompt: What the video shows.
        facts: Method, layers and steps in words.
        path: An .html file.

    Raises:
        OutputError: A video cannot be read, or the page not be written.
    """
    try:
        videos = [
            {
                "name": panel.name,
                "colour": panel.colour,
                "data": base64.b64encode(panel.path.read_bytes()).decode(),
            }
            for panel in panels
        ]
    except OSError as error:
        raise OutputError(f"cannot read {error.filename!r}: {error.strerror}") from None
    template = (resources.files("videosieve.report") / "assets" / "saliency.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(template)
    write_text(path, page.render(videos=videos, prompt=prompt, facts=facts))
