"""What all pages share: one stylesheet, one head and foot, nothing fetched, and room for everything at every width."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from videosieve.concepts import SaliencyMaps
from videosieve.generation.media import write_video
from videosieve.inspection import Inspection, Plan, Reading, Spot, view_head
from videosieve.layout import VideoLayout
from videosieve.report import write_report
from videosieve.report.ablation import write_ablation_page
from videosieve.report.atlas import write_atlas_page
from videosieve.report.inspection import write_inspection_page
from videosieve.report.page import Colophon, machine_fact, number_words, stylesheet
from videosieve.report.pictures.tuning import Mark
from videosieve.report.prefill import write_prefill_page
from videosieve.report.saliency import About, write_saliency_page
from videosieve.report.scores import write_scores_page
from videosieve.report.sweep import write_sweep_page
from videosieve.report.tuning import Tuned, write_tuning_page
from videosieve.testing.factories import make_call

COLOPHON = Colophon(
    "a-model", "3", "videosieve verb --option '<value>'", {"videosieve": "9.8.7", "torch": "2"}
)
FACTS = [
    ("model", "a-model", "a Pipeline"),
    machine_fact({"device": "cpu", "processor": "P", "threads": "1"}),
]
NAMES = ("report", "saliency", "inspection", "ablation", "prefill", "sweep", "tune", "atlas", "scores")
VOID = {"meta", "input", "br", "hr", "img", "link"}


def draw_saliency(folder: Path) -> None:
    maps = torch.rand(3, 4, 4, 4, generator=torch.Generator().manual_seed(0)).softmax(0)
    covering = tuple(frame // 2 for frame in range(8))
    concepts = ("red circle", "blue square", "background")
    found = SaliencyMaps(
        concepts, maps, "concept", (0, 1), (2,), {}, torch.full((8, 3, 32, 32), 0.5), covering
    )
    write_video(found.overlay(strength=0.0), folder / "video.mp4", 8.0)
    about = About("shapes", folder / "video.mp4", 8.0, tuple(FACTS), COLOPHON)
    write_saliency_page(found, about, folder / "saliency.html")


def draw_inspection(folder: Path) -> None:
    layout = VideoLayout.of(4, 6, 5, text_last=7)
    call, plan = make_call(layout, heads=2), Plan.of(layout, cells=16, patches=60)
    readings = {Spot(1, head, 3): Reading(view_head(call, 0, head, plan, None), 1.0) for head in range(2)}
    found = Inspection(
        "shapes", "WanPipeline", "WanTransformer3DModel", "dense", plan, readings, torch.rand(6, 1, 2, 2), 64, (3,), 8,
        (), torch.rand(7, 3, 24, 20), (0, 1, 1, 2, 2, 3, 3),
    )  # fmt: skip
    write_inspection_page(found, folder / "inspection.html", COLOPHON)


def draw_ablation(folder: Path) -> None:
    steps = list(range(10))
    row = [0.3 + 0.02 * step for step in steps]
    finding = {"verdict": "holds", "claim": "late is better", "difference": 0.1, "interval": [0.05, 0.2]}
    ablation = {
        "scenes": 20, "all": 0.5, "steps": steps, "levels": [1 - step / 10 for step in steps], "layers": [0, 1],
        "table": [row, row[::-1]], "by_layer": [0.4, 0.5], "by_step": row, "findings": [finding],
    }  # fmt: skip
    about = {"model": COLOPHON.model, "seed": 3, "command": COLOPHON.command, "versions": COLOPHON.versions}
    write_ablation_page(ablation, "mIoU", folder / "ablation.html", about)


def draw_prefill(folder: Path) -> None:
    row = {
        "seconds": 2.0, "speedup": 1.0, "attention_share": 40.0, "density": 0.5, "recall": 0.9, "lowest_recall": 0.8,
        "nll": 3.0, "nll_difference": 0.01, "agreement_percent": 50.0, "continuation": "and so on",
    }  # fmt: skip
    rows = [{**row, "method": name} for name in ("dense", "xattention-llm", "minference-llm")]
    scenes = [{"prompt": "Once", "tokens": 8192, "rows": rows}]
    write_prefill_page(COLOPHON, FACTS, scenes, folder / "prefill.html")


def draw_sweep(folder: Path) -> None:
    points = [
        {"density": density, "run_density": density + 0.1, "sparse_density": density, "recall": density**0.5,
         "psnr": 20 + 20 * density, "ssim": 0.9, "seconds": 5 * density, "speedup": 1.5 - density / 2}
        for density in (0.1, 0.2, 0.3, 0.5, 0.7)
    ]  # fmt: skip
    write_sweep_page("svg", points, FACTS, ["careful."], COLOPHON, folder / "sweep.html")


def draw_tune(folder: Path) -> None:
    marks = [Mark(1 + 0.1 * n, 40 - 2 * n, f"recipe {n}", n % 2 == 0, n == 2) for n in range(8)]
    names = ["recipe", "PSNR, dB", "speed-up, ×", "videos", "role"]
    rows = [[mark.name, mark.quality, mark.speedup, 3, "chosen" if mark.best else ""] for mark in marks]
    table = (names, rows)
    tuned = Tuned(marks, (1.25, 35.0), (None, 30.0), ("PSNR", "dB"), table, "reached.", (), 'name = "x"')
    write_tuning_page("PSNR ≥ 30 dB on a-model", tuned, FACTS, COLOPHON, folder / "tune.html")


def draw_atlas(folder: Path) -> None:
    atlas = {
        "model": "a-model", "videos": 2, "kinds": [["spatial", "temporal"], ["other", "spatial"]],
        "band": [[0.5, 0.6], [0.3, 0.9]], "shares": {"spatial": 0.5, "temporal": 0.25, "other": 0.25},
        "density": [0.1, 0.3, 0.5],
        "recall": {"static": [0.3, 0.6, 0.8], "svg": [0.31, 0.61, 0.81], "oracle": [0.5, 0.8, 0.95]},
        "recall_over_steps": [[0.5, 0.6], [0.6, 0.7], [None, None], [0.8, 0.9]],
    }  # fmt: skip
    write_atlas_page([atlas, {**atlas, "model": "a-model (random weights)"}], COLOPHON, folder / "atlas.html")


def draw_scores(folder: Path) -> None:
    names = {"miou": "mIoU", "map": "mAP, as the authors count it"}
    figures = {"miou": 0.5, "map": None}
    scores = {
        "figures": figures, "intervals": {key: [0.4, None] for key in names},
        "by_scene": {f"clip-{n}": figures for n in range(4)},
    }  # fmt: skip
    write_scores_page(scores, names, FACTS, COLOPHON, folder / "scores.html")


@pytest.fixture(scope="module")
def pages(results_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for draw in (
        draw_saliency, draw_inspection, draw_ablation, draw_prefill, draw_sweep, draw_tune, draw_atlas, draw_scores,
    ):  # fmt: skip
        draw(folder)
    return {"report": write_report(results_folder), **{name: folder / f"{name}.html" for name in NAMES[1:]}}


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


def set_window(browser: Any, width: int, scheme: str) -> None:
    window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)


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
