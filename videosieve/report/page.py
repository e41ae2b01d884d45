"""report.html: one self-contained file drawn from results.json and the media beside it. No network, no other files."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from videosieve.errors import OutputError
from videosieve.files import write_text
from videosieve.report.comparison.scene import scene_view
from videosieve.report.comparison.style import method_styles
from videosieve.report.comparison.summary import summary_view
from videosieve.report.results import RESULTS, Results

PAGE = "report.html"
CSS = ("colours.css", "layout.css", "player.css", "charts.css", "table.css")
SCRIPTS = ("charts.js", "player.js", "steps.js", "page.js")


def write_report(folder: Path) -> Path:
    """Draw report.html from a results folder.

    Args:
        folder: Holds results.json and the files it names.

    Returns:
        The path of the page.

    Raises:
        OutputError: results.json or a file it names is missing or damaged, or the page cannot be written.
    """
    results = Results.load(folder)
    if not results.clips:
        raise OutputError(f"{str(folder)!r} holds no finished video; run the comparison again")
    path = folder / PAGE
    try:
        page = render_page(results, folder)
    except OutputError:
        raise
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise OutputError(
            f"{str(folder / RESULTS)!r} holds values that no page can be drawn of: {reason}; run the comparison again"
        ) from error
    write_text(path, page)
    return path


def render_page(results: Results, folder: Path) -> str:
    """The page as text.

    Args:
        results: At least one finished video.
        folder: Where the files of the results lie.

    Returns:
        HTML.

    Raises:
        OutputError: A file is missing.
    """
    environment = _environment()
    styles = method_styles(results)
    script = '"use strict";\n' + "".join(_source(environment, name) for name in SCRIPTS)
    scenes = [scene_view(results, folder, index, styles) for index in range(len(results.scenes()))]
    return environment.get_template("page.html").render(
        results=results,
        settings=results.settings,
        scenes=scenes,
        css=Markup("".join(_source(environment, name) for name in CSS)),
        script=Markup(script),
        script_hash=_hash(script),
        **summary_view(results, styles),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("videosieve.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": _fixed, "percent": _percent}
    return environment


def _source(environment: Environment, name: str) -> str:
    loader: Any = environment.loader
    return loader.get_source(environment, name)[0]


def _hash(script: str) -> Markup:
    """The only script that the page's policy lets run."""
    return Markup(f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}")


def _fixed(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
