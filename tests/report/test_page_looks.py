"""What an eye would find on any page: labels on labels, words cut off or pale, controls that no key reaches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_kinds import NAMES, set_window

pytestmark = pytest.mark.browser
WIDTHS = (390, 768, 1280)

OVERLAPPING = """
const groups = [...document.querySelectorAll('.frame, svg.map, svg#atlas, .bars')], found = [];
for (const group of groups) {
  const words = '.spot-label, .guide span, .x-ticks span, .y-ticks span, .x-name, text, .label, .total';
  const boxes = [...group.querySelectorAll(words)].filter(each => each.getClientRects().length).map(each => {
      const box = each.getBoundingClientRect(), style = getComputedStyle(each);
      return [each.textContent, box.left + parseFloat(style.paddingLeft), box.right - parseFloat(style.paddingRight),
        box.top, box.bottom]; });
  boxes.forEach((a, n) => boxes.slice(n + 1).forEach(b => {
    if (Math.min(a[2], b[2]) - Math.max(a[1], b[1]) > 1 && Math.min(a[4], b[4]) - Math.max(a[3], b[3]) > 3)
      found.push([a[0], b[0]]); }));
}
return found"""
"""Words of charts that stand on one another."""

FAR = """
return [...document.querySelectorAll('.spot-label')].map(each => {
  const dot = each.parentElement.querySelector('.spot').getBoundingClientRect(), box = each.getBoundingClientRect();
  return [each.textContent, Math.abs((box.top + box.bottom) / 2 - (dot.top + dot.bottom) / 2)];
}).filter(each => each[1] > 41)"""
"""Names of points that stand further from them than two lines of text (14 % of a plot)."""

BROKEN = """
const lines = each => new Set([...each.getClientRects()].map(box => Math.round(box.top))).size;
return [...document.querySelectorAll('.whole, .answer em, .answer b')].filter(each => {
  const range = document.createRange();
  range.selectNodeContents(each);
  return lines(range) > 1; }).map(each => each.textContent)"""
"""Words, and numbers with their unit, that take two lines."""

CUT = """
return [...document.querySelectorAll('main *')].filter(each => !each.matches('.screen, .screen *, .strip *')
  && getComputedStyle(each).overflowX === 'hidden'
  && each.scrollWidth > each.clientWidth + 1).map(each => each.outerHTML)"""
"""Elements that hide a part of what is in them."""

PALE = """
const probe = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const pixel = colours => { // painted over one another, the lowest first
  probe.clearRect(0, 0, 1, 1);
  for (const each of colours) { probe.fillStyle = each; probe.fillRect(0, 0, 1, 1); }
  return [...probe.getImageData(0, 0, 1, 1).data]; };
const bright = ([r, g, b]) => [r, g, b].map(each => each / 255).map(each => each <= 0.03928 ? each / 12.92
  : ((each + 0.055) / 1.055) ** 2.4).reduce((sum, each, n) => sum + [0.2126, 0.7152, 0.0722][n] * each, 0);
const found = [], walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const text = walk.currentNode.textContent.trim(), each = walk.currentNode.parentElement;
  if (!text || !each.getClientRects().length || each.closest('script, option, .screen, svg#atlas')) continue;
  const behind = [];
  for (let one = each; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
  const style = getComputedStyle(each), ink = each.closest('svg') ? style.fill : style.color;
  const [one, two] = [bright(pixel(behind)), bright(pixel([...behind, ink]))].sort((a, b) => b - a);
  if ((one + 0.05) / (two + 0.05) < 4.5) found.push([text, each.className.baseVal ?? each.className, ink]);
}
return found"""
"""Words whose contrast is below 4.5, https://www.w3.org/TR/WCAG21/#contrast-minimum."""

MARKED = """
const wanted = [...document.querySelectorAll('button, select, input, summary, a[href], [tabindex="0"]')].filter(
  each => each.getClientRects().length && !each.disabled && getComputedStyle(each).visibility === 'visible');
wanted.forEach((each, n) => { each.dataset.wanted = n; });
getSelection().removeAllRanges();
document.body.tabIndex = -1; document.body.focus(); scrollTo(0, 0);
return wanted.map(each => each.outerHTML.slice(0, 100))"""
"""Numbers what a hand can reach, and puts the focus before all of it."""

REACHED = (
    "const each = document.activeElement; return [each.dataset.wanted, getComputedStyle(each).outlineStyle]"
)


def look(browser: Any, script: str) -> Any:
    return browser.execute_script(script)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stands_on_anything_and_no_word_is_broken_or_cut(
    show: Callable[[Path], Any], pages: dict[str, Path], name: str
):
    browser = show(pages[name])
    for width in WIDTHS:
        set_window(browser, width, "light")
        for script in (OVERLAPPING, FAR, BROKEN, CUT):
            assert look(browser, script) == [], width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_every_word_can_be_read_in_light_and_dark(
    show: Callable[[Path], Any], pages: dict[str, Path], name: str, scheme: str
):
    browser = show(pages[name])
    set_window(browser, 1280, scheme)
    assert look(browser, PALE) == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", NAMES)
def test_keys_reach_every_control_and_show_where_they_are(
    show: Callable[[Path], Any], pages: dict[str, Path], name: str, width: int
):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = show(pages[name])
    set_window(browser, width, "light")
    wanted = look(browser, MARKED)
    reached: set[int] = set()
    for _ in range(len(wanted) + 5):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        number, outline = look(browser, REACHED)
        if number is not None:
            assert outline != "none", f"{wanted[int(number)]} has no visible focus"
            reached.add(int(number))
    assert [each for number, each in enumerate(wanted) if number not in reached] == []


@pytest.mark.parametrize("name", ["ablation", "atlas", "scores"])
def test_the_names_of_rows_stand_below_their_title(
    show: Callable[[Path], Any], pages: dict[str, Path], name: str
):
    browser = show(pages[name])
    set_window(browser, 1280, "light")
    lefts = look(
        browser,
        "return [...document.querySelectorAll('table.heat th:first-child')].map(each => {"
        "const range = document.createRange(); range.selectNodeContents(each);"
        "return range.getBoundingClientRect().left; })",
    )
    assert len(lefts) > 2
    assert max(lefts) - min(lefts) <= 1
