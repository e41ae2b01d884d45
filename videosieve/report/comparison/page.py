"""report.html: drawn from results.json and the media beside it."""

from pathlib import Path

from jinja2 import TemplateError

from videosieve.errors import OutputError
from videosieve.files import write_text
from videosieve.report.comparison.scene import scene_view
from videosieve.report.comparison.style import method_styles
from videosieve.report.comparison.summary import summary_view
from videosieve.report.page import Colophon, draw_page, machine_fact, number_words
from videosieve.report.results import RESULTS, Results

PAGE = "report.html"


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
    styles = method_styles(results)
    scenes = [scene_view(results, folder, index, styles) for index in range(len(results.scenes()))]
    title = f"{len(scenes)} videos per method" if len(scenes) > 1 else scenes[0]["prompt"]
    seeds = number_words(sorted({scene["seed"] for scene in scenes}))
    return draw_page(
        "comparison.html",
        title,
        Colophon(results.model, seeds, results.command, results.versions),
        scripts=("charts.js", "player.js", "steps.js", "comparison.js"),
        results=results,
        machine=machine_fact(results.machine),
        settings=results.settings,
        scenes=scenes,
        **summary_view(results, styles),
    )
