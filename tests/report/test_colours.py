"""One colour per meaning: what is spatial or temporal looks the same on a page and in a picture."""

import re
from pathlib import Path

from videosieve.report.charts import pattern_colour
from videosieve.report.pictures.atlas import COLOURS

SHEET = (Path(__file__).parents[2] / "videosieve/report/assets/colours.css").read_text("utf-8")


def test_the_atlas_has_the_colours_of_the_page():
    light = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", SHEET.split("@media")[0]))
    for index, kind in enumerate(("spatial", "temporal")):
        variable = pattern_colour(["spatial", "temporal"], index)
        assert light[variable.removeprefix("var(--").removesuffix(")")] == COLOURS[kind]
