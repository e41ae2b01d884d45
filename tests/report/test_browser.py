"""The page in a real browser: videos play together; charts, sliders and keys answer; narrow windows hold it."""

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videosieve.report import Results, write_report

pytestmark = pytest.mark.browser

VIDEOS = "[...document.querySelectorAll('.player:not([hidden]) video')]"
SHOWN = f"{VIDEOS}.filter(video => getComputedStyle(video).visibility === 'visible')"
FPS, FRAMES = 8, 16


@pytest.fixture(scope="module")
def folder(results_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The comparison of the other tests, with a second seed."""
    folder = tmp_path_factory.mktemp("browser") / "results"
    shutil.copytree(results_folder, folder)
    results = Results.load(folder)
    results.clips += [dataclasses.replace(clip, seed=1) for clip in results.clips]
    results.save(folder)
    return folder


@pytest.fixture(scope="module")
def browser(show: Callable[[Path], Any], folder: Path) -> Any:
    return show(write_report(folder))


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def run(browser: Any, script: str) -> Any:
    return browser.execute_script(f"return {script}")


def wait_for(browser: Any, script: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not run(browser, script):
        assert time.monotonic() < until, f"{script} did not become true within {seconds} s"
        time.sleep(0.05)


def wait_for_frame(browser: Any, frame: int) -> None:
    """Every shown video, the clock and the cursor of the first chart are at a frame."""
    wait_for(browser, f"{SHOWN}.every(video => Math.abs(video.currentTime - ({frame} + 0.5) / {FPS}) < 0.01)")
    assert find(browser, ".clock").text == f"frame {frame} of 0–{FRAMES - 1}"
    assert cursor(browser, "frame") == pytest.approx((frame + 0.5) / FRAMES, abs=0.005)


def cursor(browser: Any, axis: str) -> float:
    """Where the cursor of the first chart with this axis is seen, as a share of the plot's width."""
    return browser.execute_script(
        "const plot = document.querySelector(`.plot[data-axis=${arguments[0]}]`), box = plot.getBoundingClientRect();"
        "return (plot.querySelector('.cursor').getBoundingClientRect().left - box.left) / box.width",
        axis,
    )


def click(browser: Any, selector: str) -> Any:
    element = find(browser, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()
    return element


def click_at(browser: Any, selector: str, share: float) -> None:
    from selenium.webdriver import ActionChains

    plot = find(browser, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    offset = (share - 0.5) * plot.size["width"]
    ActionChains(browser).move_to_element_with_offset(plot, int(offset), 10).click().perform()


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def test_every_video_of_the_first_scene_decodes_and_the_others_wait(browser: Any):
    wait_for(browser, f"{VIDEOS}.every(video => video.readyState === 4)")
    assert run(browser, f"{VIDEOS}.map(video => video.videoWidth)") == [256] * 5
    assert (
        run(browser, "[...document.querySelectorAll('.player[hidden] video')].filter(v => v.src).length") == 0
    )


def test_play_moves_all_videos_together_and_pause_stops_them(browser: Any):
    button = find(browser, ".play")
    button.click()
    wait_for(browser, "document.querySelector('video').currentTime > 0.3")
    assert button.get_attribute("aria-label") == "pause"
    assert (
        run(browser, f"{VIDEOS}.filter(video => !video.paused).length") == 3
    )  # what is hidden does not play
    button.click()
    wait_for(browser, f"{VIDEOS}.every(video => video.paused)")
    times = run(browser, f"{SHOWN}.map(video => video.currentTime)")
    assert len(times) == 3
    assert max(times) - min(times) < 1 / FPS  # within one frame
    assert button.get_attribute("aria-label") == "play"
    assert "frame 0 of" not in find(browser, ".clock").text


def test_a_video_that_drifts_is_pulled_back(browser: Any):
    button = find(browser, ".play")
    button.click()
    browser.execute_script(f"{SHOWN}[2].currentTime += 0.7")
    wait_for(browser, f"Math.abs({SHOWN}[2].currentTime - {SHOWN}[0].currentTime) < 1 / {FPS}")
    button.click()


def test_the_scrubber_moves_every_video_the_cursors_and_the_readings(browser: Any):
    browser.execute_script(
        "const bar = document.querySelector('.scrubber'); bar.value = 8; bar.dispatchEvent(new Event('input'))"
    )
    wait_for_frame(browser, 8)
    assert find(browser, ".card [data-values]").text == "30.8"
    assert find(browser, ".key .now").text == "30.8"
    assert find(browser, ".scrubber").get_attribute("aria-valuetext") == "frame 8 of 0–15"


def test_a_click_into_a_curve_goes_to_its_frame(browser: Any):
    click_at(browser, ".plot[data-axis=frame]", 3.4 / FRAMES)
    wait_for_frame(browser, 3)


def test_keys_play_step_and_stay_within_the_video(browser: Any):
    from selenium.webdriver.common.keys import Keys

    browser.execute_script("document.activeElement.blur()")
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    wait_for_frame(browser, 5)
    press(browser, *[Keys.ARROW_LEFT] * 7)
    wait_for_frame(browser, 0)
    press(browser, " ")
    wait_for(browser, "!document.querySelector('video').paused")
    press(browser, " ")
    wait_for(browser, "document.querySelector('video').paused")


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(browser: Any):
    from selenium.webdriver.common.keys import Keys

    browser.execute_script("document.querySelector('.chooser button').focus()")
    reached = set()
    for _ in range(40):
        press(browser, Keys.TAB)
        name, outline = run(
            browser,
            "[document.activeElement.className, getComputedStyle(document.activeElement).outlineStyle]",
        )
        if run(browser, "document.activeElement === document.body"):
            break
        assert outline != "none", f"{name} has no visible focus"
        reached.add(name.split(" ")[-1])
    assert {"play", "scrubber", "rate", "all-differences", "show-difference", "scroll"} <= reached


def test_the_difference_of_one_method_can_be_shown_at_the_same_frame(browser: Any):
    browser.execute_script("document.activeElement.blur()")
    click_at(browser, ".plot[data-axis=frame]", 5.5 / FRAMES)
    difference = find(browser, "video.difference")
    assert not difference.is_displayed()
    button = click(browser, ".show-difference")
    assert difference.is_displayed()
    assert button.get_attribute("aria-pressed") == "true"
    wait_for_frame(browser, 5)
    assert (
        run(browser, f"{VIDEOS}.filter(v => v.className == 'difference' && {SHOWN}.includes(v)).length") == 1
    )
    button.click()
    assert not difference.is_displayed()


def test_all_differences_can_be_shown_at_once(browser: Any):
    box = find(browser, ".all-differences")
    browser.execute_script("document.activeElement.blur()")
    press(browser, "d")
    assert box.is_selected()
    assert run(browser, f"{SHOWN}.map(video => video.className)") == ["plain", "difference", "difference"]
    box.click()
    assert run(browser, f"{SHOWN}.map(video => video.className)") == ["plain"] * 3


def test_the_step_slider_moves_the_atlas_and_the_curves(browser: Any):
    census = find(browser, ".census")
    assert census.text == "all sparse steps: 25 % spatial, 75 % temporal"
    assert not find(browser, ".plot[data-axis=step] .cursor").is_displayed()
    browser.execute_script(
        "const bar = document.querySelector('.stepper input'); bar.value = 1; bar.dispatchEvent(new Event('input'))"
    )
    assert census.text == "step 1: 1 spatial, 1 temporal"
    assert cursor(browser, "step") == pytest.approx(1.5 / 3, abs=0.005)
    readings = [output.text for output in browser.find_elements("css selector", ".steps .now")][:3]
    assert readings == ["1.00", "0.30", "0.30"]
    click_at(browser, ".plot[data-axis=step]", 0.1)
    assert census.text == "step 0: all heads dense"
    assert find(browser, ".stepper .at").text == "step 0 of 0–2"


def test_another_scene_can_be_chosen(browser: Any):
    click(browser, "[data-turn='1']")
    assert find(browser, "#scene").get_attribute("value") == "1"
    wait_for(browser, f"{VIDEOS}.length === 5 && {VIDEOS}.every(video => video.readyState === 4)")
    visible = run(
        browser,
        "[...document.querySelectorAll('[data-scene]:not([hidden])')].map(part => part.dataset.scene)",
    )
    assert visible == ["1", "1"]
    browser.execute_script("document.activeElement.blur()")
    press(browser, " ")
    wait_for(browser, f"{SHOWN}[0].currentTime > 0.2")
    playing = "[...document.querySelectorAll('video')].filter(video => !video.paused).length"
    assert run(browser, playing) == 3
    click(browser, "[data-turn='1']")  # and round again
    assert find(browser, "#scene").get_attribute("value") == "0"
    assert run(browser, playing) == 0


def test_the_command_can_be_copied(browser: Any):
    click(browser, "#copy")
    wait_for(browser, "document.getElementById('copy').textContent === 'copied'")
    assert run(browser, "getSelection().toString()") == "videosieve compare --methods svg,other"


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_window_in_light_and_dark(browser: Any, width: int, scheme: str):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 400},
    )
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    wait_for(browser, f"innerWidth === {width}")
    assert run(browser, "document.documentElement.scrollWidth") <= width
    red = int(run(browser, "getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0])
    assert (red > 200) == (scheme == "light")
    outside = run(
        browser,
        "[...document.querySelectorAll('main *')].filter(each => !each.closest('.scroll') && "
        "each.getBoundingClientRect().right > innerWidth + 0.5).map(each => each.outerHTML.slice(0, 80))",
    )
    assert outside == []
    scroll = find(browser, ".scroll")
    assert run(browser, "document.querySelector('.scroll').scrollWidth") >= scroll.size["width"]


def test_nothing_went_wrong_and_nothing_was_fetched(browser: Any):
    assert browser.get_log("browser") == []
    names = run(browser, "performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in names if not name.startswith(("data:", "blob:"))] == []
