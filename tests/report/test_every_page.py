"""What all pages share: one stylesheet, one head and foot, nothing fetched, and room for everything at every width."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from page_kinds import FACTS, NAMES, set_window

from videosieve.report.page import machine_fact, number_words, stylesheet, whole_words

VOID = {"meta", "input", "br", "wbr", "hr", "img", "link"}


class Open(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", NAMES)
def test_every_page_has_the_one_stylesheet_head_and_policy(pages: dict[str, Path], name: str):
    text = pages[name].read_text("utf-8")
    assert re.findall(r"<style>\n(.*?)\n</style>", text, re.DOTALL) == [stylesheet()]
    assert re.search(r"<title>.+ · videosieve</title>", text)
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src"
    assert f"{policy} 'sha256-{digest}'" in text
    assert Open(text).open == []
    assert text.startswith("<!doctype html>")


@pytest.mark.parametrize("name", NAMES[1:])
def test_every_page_says_at_its_foot_what_made_it(pages: dict[str, Path], name: str):
    foot = pages[name].read_text("utf-8").rpartition("<footer>")[2].partition("</footer>")[0]
    for words in ("<b>a-model</b>, seed 3", "&lt;value&gt;", "videosieve 9.8.7, torch 2", "numbered from 0"):
        assert words in foot


def test_runs_of_numbers_and_machines_in_words():
    assert number_words([0, 1, 2, 5, 7, 8]) == "0–2, 5, 7–8"
    assert FACTS[1] == ("machine", "cpu", "P, 1 thread")
    assert machine_fact({"threads": "2"}) == ("machine", "–", "–, 2 threads")


OUTSIDE = """
return [...document.querySelectorAll('main *')].filter(each => !each.closest('.scroll, svg')
  && each.getClientRects().length && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML)"""
LABELS = """
const boxes = [...document.querySelectorAll('.pareto')].flatMap((plot, n) => [...plot.querySelectorAll(
  '.spot-label, .guide span')].map(each => [n, each.textContent, each.getBoundingClientRect()]));
const found = [];
for (const [n, one, a] of boxes) for (const [m, other, b] of boxes)
  if (n === m && one < other && Math.min(a.right - 12, b.right - 12) - Math.max(a.left + 12, b.left + 12) > 1
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3) found.push([one, other]);
return found"""


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_every_page_fits_every_window_in_light_and_dark(
    show: Callable[[Path], Any], pages: dict[str, Path], name: str
):
    browser = show(pages[name])
    for width in (390, 768, 1280):
        for scheme in ("light", "dark"):
            set_window(browser, width, scheme)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, (
                width,
                scheme,
            )
            assert browser.execute_script(OUTSIDE) == [], (width, scheme)
            paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    wide = "[...document.querySelectorAll('.scroll')].filter(each => each.scrollWidth > each.clientWidth + 1)"
    assert browser.execute_script(f"return {wide}.length") == 0, "a table does not fit 1280 pixels"
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    fetched = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [url for url in fetched if not url.startswith(("data:", "blob:"))] == []


@pytest.mark.browser
@pytest.mark.parametrize("name", ["report", "sweep", "tune", "atlas"])
def test_labels_do_not_cover_one_another(show: Callable[[Path], Any], pages: dict[str, Path], name: str):
    browser = show(pages[name])
    for width in (390, 768, 1280):
        set_window(browser, width, "light")
        assert browser.execute_script(LABELS) == [], width


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_every_page_can_be_copied(
    show: Callable[[Path], Any], pages: dict[str, Path], name: str
):
    browser = show(pages[name])
    browser.execute_script("document.getElementById('copy').click()")
    chosen = browser.execute_script("return getSelection().toString()")
    assert chosen.startswith("videosieve ")
    assert chosen == browser.execute_script("return document.getElementById('command').textContent")


@pytest.mark.browser
def test_a_narrow_table_shows_that_it_scrolls(show: Callable[[Path], Any], pages: dict[str, Path]):
    browser = show(pages["ablation"])
    set_window(browser, 390, "light")
    scroll = "document.querySelector('.scroll')"
    assert browser.execute_script(f"return {scroll}.scrollWidth > {scroll}.clientWidth")
    shade = browser.execute_script(f"return getComputedStyle({scroll}).backgroundImage")
    assert (
        shade.count("linear-gradient") == 2
    )  # one that stays at the edge, one that scrolls along and covers it
    browser.execute_script(f"{scroll}.focus()")
    assert browser.execute_script(f"return document.activeElement === {scroll}")


def test_words_with_hyphens_are_whole_and_long_names_break_before_capitals():
    text = "svg on shapes-s <b>, HunyuanVideoTransformer3DModel"
    words = '<span class="whole">shapes-s</span> &lt;b&gt;, Hunyuan<wbr>Video<wbr>Transformer3DModel'
    assert whole_words(text) == f"svg on {words}"
    assert whole_words(f"--{'a' * 30}") == f"--{'a' * 30}"  # would be wider than a phone
    assert whole_words(6) == "6"
