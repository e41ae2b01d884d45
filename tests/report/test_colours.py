"""One colour per meaning: pages and pictures take every colour from one table, and it can be read in light and dark."""

import re
from pathlib import Path

import pytest

from videosieve.colours import AMOUNT, COLOURS, HEAT, METHODS, STYLE, light, rgb
from videosieve.report.charts import pattern_colour
from videosieve.report.page import stylesheet
from videosieve.report.pictures.atlas import COLOURS as ATLAS

REPORT = Path(__file__).parents[2] / "videosieve/report"
FILES = sorted(path for path in REPORT.rglob("*") if path.suffix in (".py", ".html", ".css", ".js"))
OWN = re.compile(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(\s*\d|\"(?:white|black|gr[ae]y)\"|magma|plasma|viridis")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_page_and_no_picture_has_a_colour_of_its_own(path: Path):
    assert OWN.findall(path.read_text("utf-8")) == []


def test_what_is_spatial_or_temporal_looks_the_same_on_a_page_and_in_a_picture():
    for index, kind in enumerate(("spatial", "temporal", "other")):
        assert pattern_colour(["spatial", "temporal", "other"], index) == f"var(--{kind})"
        assert light(kind) == ATLAS[kind]


def test_every_colour_that_is_used_is_in_the_table():
    sheet = stylesheet()
    names = set(re.findall(r"var\(--([\w-]+)", "".join(path.read_text("utf-8") for path in FILES)))
    local = {"aspect", "cards", "method", "share", "strength", "tile"}  # set on elements
    known = {*COLOURS, "amount", "heat"}
    made = {name for name in names if not name.endswith("-")}  # the rest are completed by a number
    assert made - known - local == set()
    assert {name for name in re.findall(r"--([\w-]+):", STYLE)} == known
    assert STYLE in sheet


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(scheme: str):
    def of(name: str) -> str:
        return getattr(COLOURS[name], scheme)

    for name in ("ink", "muted", "chosen", "checked", *(f"method-{index}" for index in range(METHODS))):
        assert contrast(of(name), of("paper")) >= 4.5, name  # WCAG 2.1, level AA
    assert contrast(of("warning"), of("warning-paper")) >= 4.5
    for name in ("spatial", "temporal", "other", "outline", "attention"):
        assert contrast(of(name), of("paper")) >= 2.5, name  # areas, not text


def test_the_ramps_rise_evenly_enough_to_be_read_as_amounts():
    for stops, falls in ((AMOUNT.light, True), (AMOUNT.dark, False), (HEAT, False)):
        values = [luminance(stop) for stop in stops.split()]
        assert values == sorted(values, reverse=falls)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    linear = [
        value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in rgb(colour)
    ]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
