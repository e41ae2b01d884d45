"""saliency.html in a real browser: one scrubber for all, maps to step through, masks, narrow windows."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from videosieve.concepts import SaliencyMaps
from videosieve.generation.media import write_video
from videosieve.report.page import Colophon
from videosieve.report.saliency import About, write_saliency_page

pytestmark = pytest.mark.browser
FRAMES, FPS = 8, 8.0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey video of 8 frames; "left" has the left half, and one column more in every second frame."""
    folder = tmp_path_factory.mktemp("saliency")
    maps = torch.full((2, FRAMES // 2, 4, 4), 0.25)
    for frame in range(FRAMES // 2):
        maps[0, frame, :, : 2 + frame % 2] = 0.75
    maps[1] = 1 - maps[0]
    parts = {(0,): maps, (3,): maps.flip(0)}
    frames = torch.full((FRAMES, 3, 64, 64), 0.5)
    covering = tuple(frame // 2 for frame in range(FRAMES))
    found = SaliencyMaps(
        ("left", "right"), maps, "concept", (0, 3), (1,), parts, frames, covering, kept="layers"
    )
    write_video(frames, folder / "video.mp4", FPS)
    about = About(
        "halves",
        folder / "video.mp4",
        FPS,
        (("model", "none", "seed 0"),),
        Colophon("none", "0", "videosieve saliency"),
    )
    write_saliency_page(found, about, folder / "saliency.html")
    return folder / "saliency.html"


@pytest.fixture(scope="module")
def browser(show: Callable[[Path], Any], page: Path) -> Any:
    opened = show(page)
    wait_for(opened, "document.querySelector('canvas[data-show=all]').width === 256")
    return opened


def run(browser: Any, script: str) -> Any:
    return browser.execute_script(f"return {script}")


def wait_for(browser: Any, script: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not run(browser, script):
        assert time.monotonic() < until, f"{script} did not become true within {seconds} s"
        time.sleep(0.05)


def colour(browser: Any, show: str, x: float, y: float = 0.5) -> list[int]:
    """Of a canvas at a place given in shares of its sides."""
    canvas = f"document.querySelector('canvas[data-show=\"{show}\"]')"
    return run(
        browser, f"[...{canvas}.getContext('2d').getImageData(256 * {x}, 256 * {y}, 1, 1).data].slice(0, 3)"
    )


def set_to(browser: Any, selector: str, value: Any) -> None:
    browser.execute_script(
        "const it = document.querySelector(arguments[0]);"
        "it[it.type === 'checkbox' ? 'checked' : 'value'] = arguments[1];"
        "it.dispatchEvent(new Event(it.type === 'range' ? 'input' : 'change'))",
        selector,
        value,
    )


def seek(browser: Any, frame: int) -> None:
    set_to(browser, ".scrubber", str(frame))
    wait_for(browser, f"document.querySelector('.clock').textContent === 'frame {frame} of 0–{FRAMES - 1}'")


def test_there_are_no_native_controls_and_nothing_is_complained_of(browser: Any):
    assert run(browser, "document.querySelectorAll('video[controls]').length") == 0
    assert run(browser, "document.querySelectorAll('video').length") == 1
    assert browser.get_log("browser") == []


def test_all_cards_show_the_frame_of_the_one_scrubber(browser: Any):
    seek(browser, 0)
    red, blue = colour(browser, "all", 0.1), colour(browser, "all", 0.9)
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert colour(browser, "all", 0.6) == blue  # the third column is the right one's
    grey = colour(browser, "plain", 0.1)
    assert max(grey) - min(grey) < 8
    shares = "[...document.querySelectorAll('.share')].map(one => one.textContent)"
    assert run(browser, shares) == ["50.0 %", "50.0 %"]
    seek(browser, 2)  # the second frame of the grid
    assert colour(browser, "all", 0.6) == red
    assert run(browser, shares) == ["75.0 %", "25.0 %"]


def test_maps_are_stepped_through_and_switched_off(browser: Any):
    seek(browser, 0)
    before = colour(browser, "all", 0.1)
    browser.execute_script("document.querySelector('[data-turn=\"-1\"]').click()")
    assert run(browser, "document.getElementById('map').selectedOptions[0].text") == "layer 3"
    assert colour(browser, "all", 0.9) == before  # its halves are the other way round
    for _ in range(2):
        browser.execute_script("document.querySelector('[data-turn=\"1\"]').click()")
    assert run(browser, "document.getElementById('map').selectedOptions[0].text") == "layer 0"
    assert colour(browser, "all", 0.1) == before
    set_to(browser, "#paint", False)
    assert colour(browser, "all", 0.1) == colour(browser, "plain", 0.1)
    set_to(browser, "#paint", True)


def test_masks_leave_what_a_concept_does_not_win(browser: Any):
    seek(browser, 0)
    set_to(browser, "#masks", True)
    plain = colour(browser, "plain", 0.9)
    assert colour(browser, "0", 0.9) == plain
    assert colour(browser, "0", 0.1) != plain
    set_to(browser, "#masks", False)
    assert colour(browser, "0", 0.9) != plain


def test_play_moves_on_and_the_chart_leads_back(browser: Any):
    from selenium.webdriver import ActionChains

    seek(browser, 0)
    browser.execute_script("document.querySelector('.play').click()")
    wait_for(browser, "Number(document.querySelector('.scrubber').value) > 0")
    browser.execute_script("document.querySelector('.play').click()")
    assert run(browser, "document.querySelector('.play').getAttribute('aria-label')") == "play"
    plot = browser.find_element("css selector", ".plot")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    ActionChains(browser).move_to_element_with_offset(
        plot, int(0.45 * plot.size["width"]), 10
    ).click().perform()
    wait_for(
        browser, f"document.querySelector('.clock').textContent === 'frame {FRAMES - 1} of 0–{FRAMES - 1}'"
    )
    assert run(browser, "document.querySelectorAll('#shares path').length") == 2


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_window_is_too_narrow(browser: Any, width: int):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    assert run(browser, "document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
