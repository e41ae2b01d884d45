"""The page: valid HTML, everything inside it, honest about what is missing."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from videosieve.errors import OutputError
from videosieve.report import Results, render_page, write_report
from videosieve.report.comparison.columns import display_name
from videosieve.report.results import FLOOR, INTERRUPTED, RESULTS

VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Tags with attributes, text by tag, and a check that every tag is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str):
        assert self._open.pop() == tag

    def handle_data(self, data: str):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(results_folder: Path) -> Page:
    return Page(write_report(results_folder).read_text(encoding="utf-8"))


def test_every_video_is_inside_the_page(page: Page):
    sources = [video["src"] for video in page.all("video")]
    assert len(sources) == 5  # three methods, and the difference of two of them
    assert all(source and source.startswith("data:video/mp4;base64,") for source in sources)


def test_the_page_needs_no_network(results_folder: Path):
    text = write_report(results_folder).read_text(encoding="utf-8")
    assert not re.search(
        r"https?:|//[a-z]|@import|url\(", text.split("base64,")[0] + re.sub(r"base64,[^\"]*", "", text)
    )
    assert "default-src 'none'" in text


def test_the_table_has_one_row_per_method_and_explains_each_column(page: Page):
    assert len([row for row in page.all("th") if row.get("scope") == "row"]) == 3
    columns = [column for column in page.all("th") if column.get("scope") == "col"]
    assert (
        len(columns) == 1 + 12 + 1 + 1
    )  # the method, what every comparison has, one further score, the memory
    assert all(column.get("title") for column in columns[1:])
    text = "".join(page.text)
    for number in ("2.50", "1.60", "0.500", "0.300", "0.875", "31.2", "28.8", "0.9125", "0.125"):
        assert number in text
    assert "1.33" in text  # the bound: attention is half of the dense time, and half of it is left
    assert "120" in text  # per cent of the bound that 1.60 is
    assert "Attention took 50 % of the dense run's time" in " ".join(text.split())


def test_the_head_atlas_has_a_square_per_layer_and_head(page: Page):
    cells = [cell for cell in page.all("rect") if cell.get("class") == "cell"]
    assert [(cell["data-layer"], cell["data-head"]) for cell in cells] == [("0", "0"), ("0", "1")]
    shown = [cell["style"] or "" for cell in cells]
    assert "50%" in shown[0]  # spatial at one sparse step, temporal at the other
    assert "100%" in shown[1]  # temporal at both


def test_the_prompt_is_escaped(page: Page, results_folder: Path):
    assert "a small red circle moves left &amp; up" in (results_folder / "report.html").read_text(
        encoding="utf-8"
    )
    assert "a small red circle moves left & up" in "".join(page.text)


def test_several_prompts_or_seeds_can_be_chosen_and_their_median_is_shown(two_seeds: tuple[Results, Path]):
    results, folder = two_seeds
    results.clips[4] = dataclasses.replace(results.clips[4], seconds=3.5)
    page = Page(render_page(results, folder))
    assert len(page.all("option")) == 2 + 3 * 2
    videos = page.all("video")
    assert len(videos) == 10
    assert ["src" in video for video in videos] == [True] * 5 + [
        False
    ] * 5  # the others wait until they are chosen
    text = " ".join("".join(page.text).split())
    assert "3.00" in text  # between 2.5 and 3.5
    assert "Medians over 2 videos per method, too few for intervals" in text
    assert "In the median of 2 videos, svg computed" in text


def test_enough_videos_give_intervals(results_folder: Path):
    results = Results.load(results_folder)
    results.clips = [
        dataclasses.replace(clip, seed=seed, psnr=clip.psnr and clip.psnr + seed)
        for seed in range(6)
        for clip in results.clips
    ]
    text = " ".join("".join(Page(render_page(results, results_folder)).text).split())
    assert "below them 95 % bootstrap intervals" in text
    interval = re.search(r"33\.8 (3\d\.\d)–(3\d\.\d)", text)  # the median of 31.25 … 36.25
    assert interval
    assert 31.2 <= float(interval[1]) < 33.8 < float(interval[2]) <= 36.3


def test_the_noise_floor_is_a_row_and_a_line_but_no_video(results_folder: Path):
    results = Results.load(results_folder)
    floor = dataclasses.replace(
        results.clips[1], method="dense (reference)", kind=FLOOR, psnr=87.5, atlas=None
    )
    results.clips.insert(1, floor)
    results.recipes["dense (reference)"] = 'name = "dense"'
    page = Page(render_page(results, results_folder))
    assert len(page.all("video")) == 5
    text = " ".join("".join(page.text).split())
    assert "noise floor: dense, another kernel" in text
    assert "The noise floor, dense (reference), leaves nothing out and came to 1.60× and 87.5 dB" in text
    assert "noise floor 87.5 dB, above this plot" in text
    assert "2 attention methods compared" in text


def test_scores_have_names_that_people_write():
    names = ("ms_ssim_2_scales", "peak_bytes", "st_lpips", "noise floor", "something_new")
    assert [display_name(name) for name in names] == [
        "MS-SSIM, 2 scales", "memory", "ST-LPIPS", "noise floor", "something new"
    ]  # fmt: skip


def test_what_could_not_be_measured_is_named_with_the_reason(page: Page):
    assert "ST-LPIPS is unavailable: stlpips-pytorch is not installed." in " ".join(
        "".join(page.text).split()
    )


def test_a_comparison_without_the_optional_numbers_has_no_empty_columns_or_charts(results_folder: Path):
    results = Results.load(results_folder)
    results.clips = [
        dataclasses.replace(
            clip, ssim=None, ssim_frames=None, accuracy=None, scores={}, peak_bytes=None, text_seconds=None,
            decode_seconds=None, recall=None, recall_steps=[None] * 3, atlas=None,
        )
        for clip in results.clips
    ]  # fmt: skip
    results.command, results.unavailable = "", {}
    page = Page(render_page(results, results_folder))
    assert len([column for column in page.all("th") if column.get("scope") == "col"]) == 1 + 9
    text = "".join(page.text)
    absent = (
        "SSIM of every frame",
        "Recall of every step",
        "captions",
        "The command",
        "unavailable",
        "nan",
        "None",
    )
    assert [words for words in absent if words in text] == []


def test_only_the_page_s_own_script_may_run(results_folder: Path):
    text = write_report(results_folder).read_text(encoding="utf-8")
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "eval(" not in script
    assert not re.search(r" on[a-z]+=", text)


def test_an_interrupted_comparison_says_so(results_folder: Path):
    results = Results.load(results_folder)
    results.status = INTERRUPTED
    results.clips = results.clips[:1]
    text = " ".join("".join(Page(render_page(results, results_folder)).text).split())
    assert "This comparison is interrupted: the page shows the 1 finished video only." in text


def test_a_slower_method_is_called_slower(results_folder: Path):
    results = Results.load(results_folder)
    results.clips[1] = dataclasses.replace(results.clips[1], speedup=0.5)
    assert "not faster on this machine" in render_page(results, results_folder)


def test_results_survive_the_way_to_disk_and_back(results_folder: Path, tmp_path: Path):
    results = Results.load(results_folder)
    results.save(tmp_path)
    assert Results.load(tmp_path) == results


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "compare"),
        ("{", "damaged"),
        ("[]", "schema 2, got None"),
        ('{"schema": 99}', "schema 2, got 99"),
        ('{"schema": 1, "clips": []}', "schema 2, got 1; run the comparison again"),
        ('{"schema": 2, "clips": []}', "not a comparison"),
        ('{"schema": 2, "clips": [{"method": "svg"}]}', "a clip is no ClipResult: it lacks kind"),
    ],
)
def test_folders_without_sound_results_are_refused(tmp_path: Path, text: str | None, message: str):
    if text is not None:
        (tmp_path / RESULTS).write_text(text)
    with pytest.raises(OutputError, match=message):
        write_report(tmp_path)


def test_a_missing_video_is_named(results_folder: Path, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(results_folder, folder)
    (folder / "svg-0.mp4").unlink()
    with pytest.raises(OutputError, match=r"svg-0\.mp4"):
        write_report(folder)


def test_files_outside_the_folder_are_not_read(results_folder: Path, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(results_folder, folder)
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    values = json.loads((folder / RESULTS).read_text())
    values["clips"][0]["files"]["video"] = "../secret.mp4"
    (folder / RESULTS).write_text(json.dumps(values))
    with pytest.raises(OutputError, match="secret"):
        write_report(folder)
