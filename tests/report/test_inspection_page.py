"""inspection.html: its numbers come back, it stays below its limit, and a click on a patch shows another answer."""

import base64
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from videosieve.errors import OutputError
from videosieve.inspection import Inspection as Found
from videosieve.inspection import KeptRows, Plan, Reading, Spot, encode_ratios, view_head
from videosieve.layout import VideoLayout
from videosieve.methods import SparseVideoGen
from videosieve.report import inspection as page
from videosieve.report.inspection import render_inspection, write_inspection_page
from videosieve.report.pictures.inspection import outline_edges, plot_heads, plot_reading
from videosieve.testing.factories import make_call

LAYOUT = VideoLayout.of(4, 6, 5, text_last=7)


def make_found(sparse: bool = True, prompt: str = "a <b> circle") -> Found:
    call, plan = make_call(LAYOUT, heads=2), Plan.of(LAYOUT, cells=16, patches=60)
    selection, _ = SparseVideoGen(density=0.4, block=8).select(call, None)
    readings = {}
    for head in range(2):
        kept = KeptRows(selection, 0, head) if sparse else None
        view = view_head(call, 0, head, plan, kept)
        readings[Spot(1, head, 3)] = (
            Reading(view, 0.4, "spatial", "frame-major") if sparse else Reading(view, 1.0)
        )
    return Found(
        prompt, "WanPipeline", "WanTransformer3DModel", "svg", plan, readings, torch.rand(6, 1, 2, 2), 64, (3,), 8,
        ((0, 3),) if sparse else (), torch.rand(7, 3, 24, 20), (0, 1, 1, 2, 2, 3, 3),
    )  # fmt: skip


def data_of(text: str) -> Any:
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def pixels_of(source: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def test_the_numbers_of_the_page_are_those_of_the_inspection():
    found = make_found()
    text = render_inspection(found)
    data = data_of(text)
    assert "a &lt;b&gt; circle" in text
    assert "<b>circle" not in text
    assert not re.search(r"""(src|href)=["']?http|url\(http""", text)
    assert "layer 0 at step 3" in text
    for index, reading in enumerate(found.readings.values()):
        spot = data["spots"][index]
        for order in range(2):
            assert (
                pixels_of(spot["attention"][order]) == encode_ratios(reading.view.attention[order]).numpy()
            ).all()
            close = np.abs(pixels_of(spot["computed"][order]) / 255 - reading.view.computed[order].numpy())
            assert close.max() < 0.003
        assert (pixels_of(data["patches"][index]) == reading.view.patches.flatten(1).numpy()).all()
        assert spot["measures"][0] == pytest.approx(reading.view.measures["recall"], abs=6e-4)
    assert data["atlas"][0][2][1][0] == pytest.approx(float(found.atlas[2, 0, 1, 0]), abs=6e-4)
    assert data["queries"] == [
        list(x) for x in (found.plan.patches.frames, found.plan.patches.rows, found.plan.patches.columns)
    ]
    assert len(data["frames"]) == 4


def test_a_dense_page_has_no_mask_and_a_page_without_video_no_pictures():
    found = make_found(sparse=False)
    object.__setattr__(found, "video", None)
    data = data_of(render_inspection(found))
    assert data["dense"] is True
    assert data["frames"] == []
    assert all(spot["computed"] == [] for spot in data["spots"])


def test_queries_are_thinned_out_until_the_page_is_small_enough(monkeypatch: pytest.MonkeyPatch):
    found = make_found()
    whole = len(render_inspection(found).encode())
    monkeypatch.setattr(page, "PAGE_BYTES", whole - 3000)
    text = render_inspection(found)
    assert len(text.encode()) < whole - 3000
    frames, rows, columns = data_of(text)["queries"]
    kept = found.plan.patches
    picked = [
        (kept.frames.index(f) * len(kept.rows) + kept.rows.index(r)) * len(kept.columns) + kept.columns.index(c)
        for f in frames for r in rows for c in columns
    ]  # fmt: skip
    assert len(picked) < len(found.readings[1, 0, 3].view.patches)
    expected = found.readings[1, 0, 3].view.patches[picked].flatten(1).numpy()
    assert (pixels_of(data_of(text)["patches"][0]) == expected).all()
    monkeypatch.setattr(page, "PAGE_BYTES", 1000)
    with pytest.raises(OutputError, match="choose fewer"):
        render_inspection(found)


def test_pictures_are_written_and_outlines_follow_the_mask(tmp_path: Path):
    inside = torch.zeros(4, 4, dtype=torch.bool)
    inside[1:3, 0:2] = True
    edges = outline_edges(inside)
    assert len(edges) == 6  # the left side lies on the border of the map
    assert ((0 - 0.5, 0.5), (0.5, 0.5)) in edges
    assert ((1.5, 0.5), (1.5, 1.5)) in edges
    plot_reading(make_found(), Spot(1, 1, 3), tmp_path / "reading.png")
    plot_heads(make_found(sparse=False), 3, tmp_path / "heads.png")
    for name in ("reading.png", "heads.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 200


@pytest.fixture(scope="module")
def browser(show: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("page") / "inspection.html"
    write_inspection_page(make_found(), path)
    return show(path)


def wait_for(browser: Any, script: str, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not browser.execute_script(f"return {script}"):
        assert time.monotonic() < until, f"{script} did not become true within {seconds} s"
        time.sleep(0.05)


@pytest.mark.browser
def test_a_click_on_a_patch_shows_where_that_patch_looks(browser: Any):
    wait_for(browser, "document.body.dataset.ready === '0'")
    shares = "[...document.querySelectorAll('#answer span b')].map((b) => parseFloat(b.textContent))"
    script = (
        "const box = query.getBoundingClientRect(), at = {clientX: box.left + 3, clientY: box.top + 3};"
        "query.dispatchEvent(new MouseEvent('click', at))"
    )
    found = make_found()
    patches, (row, column) = found.plan.patches, (0, 0)
    browser.execute_script(script)
    place = f"row {patches.rows[row]}, column {patches.columns[column]}"
    wait_for(browser, f"patch.textContent.includes('{place}')")
    frame = int(browser.execute_script("return data.queries[0][chosen.frame]"))
    index = (patches.frames.index(frame) * len(patches.rows) + row) * len(patches.columns) + column
    token = LAYOUT.video.start + (frame * 6 + patches.rows[row]) * 5 + patches.columns[column]
    call = make_call(LAYOUT, heads=2)
    mass = (call.q[0, 0, token] @ call.k[0, 0].T * call.scale).softmax(-1)[LAYOUT.video].view(4, -1).sum(-1)
    wait_for(browser, f"Math.abs({shares}[0] - {100 * float(mass[0])}) < 0.6")
    assert browser.execute_script(f"return {shares}") == pytest.approx((100 * mass).tolist(), abs=0.6)
    outside = 100 * float(found.readings[1, 0, 3].view.outside[index])
    assert f"{outside:.1f} %" in browser.execute_script("return patch.textContent")


@pytest.mark.browser
def test_another_head_brings_its_own_numbers(browser: Any):
    wait_for(browser, "document.body.dataset.ready !== undefined")
    browser.execute_script(
        "document.querySelector('#atlas [data-at=\"1,1\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    wait_for(browser, "document.body.dataset.ready === '1'")
    recall = make_found().readings[1, 1, 3].view.measures["recall"]
    assert f"recall {recall:.3f}" in browser.execute_script("return where.textContent")
    assert browser.execute_script("return head.value") == "1"
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
