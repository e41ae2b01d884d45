"""Names and prompts that a terminal, rich, matplotlib or a page would obey are shown, and end nothing."""

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

from benchmarks.robustness.corpus import CLIP, SVG, write_results
from videosieve import Recipe
from videosieve.cli import app, console
from videosieve.cli.comparing import print_results
from videosieve.generation.stems import file_stem
from videosieve.report import write_report
from videosieve.report.pictures.atlas import plot_atlas
from videosieve.report.pictures.sweep import plot_fidelity
from videosieve.report.pictures.training import plot_losses, write_sheet
from videosieve.report.pictures.tuning import Mark, plot_tuning
from videosieve.report.results import ClipResult, Results
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.visible import plot_text, visible

NAMES = ("[red]x[/blue]", "[/]", "[link=a", "a$b_$", "$\\frac{$", "\\$x$", "\x1b[31mred\x1b[0m", "a\x07\x00b",
         "<b>&amp;", "</script>", ":smile:", "{task.x}", "%s %d", "\u202eabc", "a\rb", "猫 é ×", "[bold]",
         "a\\")  # fmt: skip


def shown(write: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """What lands on a colour terminal of 200 columns."""
    sink = io.StringIO()
    screen = Console(file=sink, force_terminal=True, width=200, highlight=False)
    monkeypatch.setattr(console, "out", screen)
    monkeypatch.setattr(console, "err", screen)
    write()
    return sink.getvalue()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_line_and_a_table_show_what_they_are_given(name: str, monkeypatch: pytest.MonkeyPatch):
    def write() -> None:
        console.say(name)
        console.note(name)
        console.complain(name)
        table = console.plain_table("name", name)
        table.add_row(name, name)
        console.out.print(table)

    text = shown(write, monkeypatch)
    wanted = visible(name)
    assert text.count(wanted) >= 5 + (name == " ".join(name.split()))
    assert "\x07" not in text
    assert not any(part and part not in "0123456789;m" for part in _escapes(text))


def _escapes(text: str) -> list[str]:
    """What stands between ESC [ and m: rich's own colours, and nothing of the text."""
    return [part.split("m")[0] for part in text.split("\x1b[")[1:] if "m" not in part[:8]]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_progress_bars_show_names_and_notes_as_they_are(name: str):
    sink = io.StringIO()
    screen = Console(file=sink, force_terminal=True, width=200)
    column, note = console.PlainColumn("{task.description}"), console.PlainColumn("{task.fields[note]}")
    with Progress(column, note, console=screen) as bar:
        bar.add_task(name, note=name)
    assert visible(name, keep="") in sink.getvalue()
    assert "\x07" not in sink.getvalue()


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize(
    "name", ["a$b_$", "$\\frac{$", "\\$x$", "\x1b[31mred\x00", "</script>", "a\rb", "猫"], ids=ascii
)
def test_charts_are_drawn_with_any_name(name: str, tmp_path: Path):
    plot_fidelity([(0.3, 30.0), (0.5, 35.0)], name, [tmp_path / "f.svg", tmp_path / "f.png"])
    plot_losses([{"step": 1, "samples": 8, "loss": 1.0, "frames": 16}], name, tmp_path / "l.svg")
    plot_tuning(
        [Mark(2.0, 30.0, name, True, True)], (2.0, 30.0), (None, 29.0), (name, name), [tmp_path / "t.svg"]
    )
    import torch

    write_sheet(torch.zeros(1, 2, 3, 4, 4), [name], tmp_path / "s.png")


def test_the_head_atlas_is_drawn_for_a_model_of_any_name(tmp_path: Path):
    from videosieve.atlas.head_atlas import survey
    from videosieve.generation.request import Request

    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    pipe.set_progress_bar_config(disable=True)
    atlas = survey(pipe, [Request("a red circle moves left", steps=2)], "a$b_$")
    plot_atlas([atlas.as_json()], tmp_path / "atlas.svg")
    assert (tmp_path / "atlas.svg").stat().st_size > 1000


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_comparison_of_any_names_is_printed_and_drawn(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_results(tmp_path)
    results = Results.load(tmp_path)
    results.model, results.command = name, name
    clips = [{**CLIP, "prompt": name}, {**SVG, "method": name, "prompt": name}]
    results.clips = [ClipResult.from_json(clip) for clip in clips]
    results.recipes = {"dense": Recipe.of("dense").to_toml(), name: Recipe.of("svg").to_toml()}
    results.save(tmp_path)
    monkeypatch.setattr("videosieve.cli.comparing.out", Console(file=(sink := io.StringIO()), width=200))
    print_results(Results.load(tmp_path))
    assert sink.getvalue().count(visible(name)) >= 2
    page = write_report(tmp_path).read_text(encoding="utf-8")
    if "<" in name:
        assert name not in page.replace("</script>\n</body>", "").split("<script")[0]


@given(st.lists(st.text(), min_size=1, max_size=6, unique=True))
def test_no_two_methods_share_a_file_and_every_name_can_be_one(names: list[str]):
    stems = [file_stem(name, names) for name in names]
    for stem in stems:
        assert 0 < len(stem.encode()) < 120
        assert not set(stem) & set('/\\\0\n\r\t:*?"<>| ')
        assert not stem.startswith((".", "-"))


def test_names_that_would_share_a_file_get_one_each():
    names = ["a/b", "a-b", "A b", "a" * 300, "a" * 301, "", "."]
    stems = [file_stem(name, names).lower() for name in names]
    assert len(set(stems)) == len(names)


@given(st.text())
def test_visible_text_has_no_character_that_steers(text: str):
    found = visible(text)
    assert found.isprintable() or all(c in "\n\t" or not _steers(c) for c in found)
    assert visible(found) == found
    assert plot_text(text).replace(r"\$", "").count("$") == 0
    found.encode()


def _steers(character: str) -> bool:
    import unicodedata

    return unicodedata.category(character) in ("Cc", "Cs") or character in "\u2028\u2029\u202e\u2066\ufeff"


def test_the_named_ways_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    ShapesPipeline.from_networks(build_networks("shapes-nano")).save_pretrained(tmp_path / "a$b_$")
    Recipe.of(Recipe.of("svg", min_tokens=0)).save(tmp_path / "r.toml")
    recipe = (tmp_path / "r.toml").read_text().replace('name = "svg"\n', 'name = "[red]x[/blue]"\n', 1)
    (tmp_path / "r.toml").write_text(recipe)
    runner = CliRunner(env={"COLUMNS": "120"})
    common = ["--model", "a$b_$", "--steps", "2", "--device", "cpu"]
    compared = runner.invoke(app, ["compare", "--methods", "r.toml", "--no-floor", *common])
    assert compared.exit_code == 0, compared.output
    assert "[red]x[/blue]" in compared.output
    swept = runner.invoke(app, ["sweep", "--densities", "0.3,0.6", "--set", "min_tokens=0", *common])
    assert swept.exit_code == 0, swept.output
    assert Path("sweep/sweep.svg").is_file()
