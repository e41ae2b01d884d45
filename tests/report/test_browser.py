"""The page in a real browser: the videos decode, play together, and the scrubber moves them all."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from videosieve.report import write_report

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)
TIMES = "return [...document.querySelectorAll('video')].map(video => video.currentTime)"


@pytest.fixture(scope="module")
def browser(results_folder: Path) -> Iterator[Any]:
    chromium = shutil.which("chromium")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip(
            "chromium or chromedriver is not installed (Debian: apt-get install chromium chromium-driver)"
        )
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    driver.get(write_report(results_folder).resolve().as_uri())
    yield driver
    driver.quit()


def wait_for(browser: Any, script: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not browser.execute_script(f"return {script}"):
        assert time.monotonic() < until, f"{script} did not become true within {seconds} s"
        time.sleep(0.05)


def test_every_video_decodes(browser: Any):
    wait_for(browser, "[...document.querySelectorAll('video')].every(video => video.readyState === 4)")
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('video')].map(video => video.videoWidth)"
    )
    assert sizes == [256] * 5


def test_play_moves_all_videos_together_and_pause_stops_them(browser: Any):
    button = browser.find_element("css selector", ".play")
    button.click()
    wait_for(browser, "document.querySelector('video').currentTime > 0.3")
    button.click()
    wait_for(browser, "[...document.querySelectorAll('video')].every(video => video.paused)")
    times = browser.execute_script(TIMES)
    assert len(times) == 5
    assert max(times) - min(times) < 1 / 8  # within one frame
    assert button.get_attribute("aria-label") == "play"
    assert "frame 1 of" not in browser.find_element("css selector", ".clock").text


def test_a_video_that_drifts_is_pulled_back(browser: Any):
    button = browser.find_element("css selector", ".play")
    button.click()
    browser.execute_script("document.querySelectorAll('video')[2].currentTime += 0.7")
    apart = "Math.abs(document.querySelectorAll('video')[2].currentTime - document.querySelector('video').currentTime)"
    wait_for(browser, f"{apart} < 1 / 8")
    button.click()


def test_the_scrubber_moves_every_video_and_the_captions(browser: Any):
    browser.execute_script(
        "const bar = document.querySelector('.scrubber'); bar.value = 8; bar.dispatchEvent(new Event('input'))"
    )
    wait_for(
        browser,
        "[...document.querySelectorAll('video')].every(video => Math.abs(video.currentTime - 8.5 / 8) < 0.01)",
    )
    assert browser.find_element("css selector", ".clock").text == "frame 9 of 16"
    assert browser.find_element("css selector", "[data-psnr]").text == "this frame 30.8"


def test_the_difference_can_be_shown(browser: Any):
    difference = browser.find_element("css selector", "video.difference")
    assert not difference.is_displayed()
    browser.find_element("css selector", ".show-difference").click()
    assert difference.is_displayed()


def test_the_atlas_follows_its_slider(browser: Any):
    browser.execute_script(
        "const bar = document.querySelector('.stepper input'); bar.value = 2; bar.dispatchEvent(new Event('input'))"
    )
    text = browser.find_element("css selector", ".stepper output").text
    assert text == "step 2 of 3: 1 spatial, 1 temporal"


def test_the_table_fits_the_window_and_nothing_went_wrong(browser: Any):
    table = browser.find_element("css selector", "table")
    assert table.is_displayed()
    assert len(table.find_elements("css selector", "tbody tr")) == 3
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.get_log("browser") == []
