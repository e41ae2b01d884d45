"""The gallery holds every page as it is drawn today, small, with its picture and its command."""

import html
import re
from pathlib import Path

import pytest
from PIL import Image

from docs.gallery.__main__ import HERE, MOST_BYTES
from docs.gallery.pages import PAGES
from videosieve.report.page import stylesheet


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_there_with_its_picture_and_command(name: str):
    text = (HERE / f"{name}.html").read_text("utf-8")
    assert f"<style>\n{stylesheet()}\n</style>" in text, "python -m docs.gallery --style"
    typed = html.unescape(re.search(r'<code id="command">(.*?)</code>', text)[1])
    assert typed.replace("'", "").replace('"', "") == PAGES[name][1].replace('"', "")
    with Image.open(HERE / f"{name}.png") as picture:
        assert picture.width >= 640
    index = (HERE / "README.md").read_text("utf-8")
    assert f"({name}.html)" in index
    assert f"({name}.png)" in index


def test_the_gallery_is_small_and_holds_nothing_else():
    files = {path.name for path in HERE.iterdir() if path.suffix in (".html", ".png")}
    assert files == {f"{name}.{ending}" for name in PAGES for ending in ("html", "png")}
    assert sum((HERE / name).stat().st_size for name in files) <= MOST_BYTES


@pytest.mark.parametrize("path", sorted(Path(HERE).glob("*.html")), ids=lambda path: path.stem)
def test_a_page_tells_nothing_of_where_it_was_made(path: Path):
    text = path.read_text("utf-8")
    assert not re.search(r"(/tmp|/home|/root|/work|/Users)/", text)
