"""Colours and dashes: a method looks the same in every figure of a page."""

from videosieve.colours import METHODS
from videosieve.report.charts import DASHES
from videosieve.report.results import BASELINE, FLOOR, Results

Styles = dict[str, tuple[str, str]]


def method_styles(results: Results) -> Styles:
    """Colour and dash of every method that has a video; both change, so neither has to be told apart alone.

    Args:
        results: The comparison.

    Returns:
        (CSS colour, SVG dash pattern) by name, in the order of the recipes. The floor is dense attention, dotted.
    """
    kinds = {clip.method: clip.kind for clip in results.clips}
    styles: Styles = {}
    index = 0
    for name in (name for name in results.recipes if name in kinds):
        if kinds[name] == BASELINE:
            styles[name] = ("var(--method-0)", "")
        elif kinds[name] == FLOOR:
            styles[name] = ("var(--method-0)", "1 4")
        else:
            styles[name] = _style(index)
            index += 1
    return styles


def _style(index: int) -> tuple[str, str]:
    colours = METHODS - 1
    return f"var(--method-{1 + index % colours})", DASHES[(index + index // colours) % len(DASHES)]
