"""A speed-up that attention cannot have given is no headline, and what stayed dense is said."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_results

from videosieve.report import Results, render_page
from videosieve.report.comparison.cautions import cautions, stayed_dense
from videosieve.report.comparison.flat import flat_table
from videosieve.report.comparison.statistics import summarise


def method_at(results: Results, speedup: float) -> Results:
    """The same comparison with the methods that much faster."""
    clips = [
        replace(clip, speedup=speedup, seconds=clip.seconds / speedup) if clip.kind == "method" else clip
        for clip in results.clips
    ]
    return replace(results, clips=clips)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return make_results(tmp_path)


def test_a_speed_up_above_free_attention_measures_the_machine(results: Results, tmp_path: Path):
    free = summarise(results)[0].free_bound
    assert not any(
        "measures the machine" in sentence for sentence in cautions(method_at(results, free * 0.99))
    )
    beyond = method_at(results, free * 1.5)
    said = [sentence for sentence in cautions(beyond) if "measures the machine" in sentence]
    assert said
    assert f"{free * 1.5:.2f}× is more than the {free:.2f}×" in said[0]
    page = render_page(beyond, tmp_path)
    lead = page.split('<p class="lead">')[1].split("</p>")[0]
    assert "these seconds measure the machine" in lead
    assert f"{free * 1.5:.2f}×" not in lead


@pytest.mark.parametrize("line", ["reuse_mlp = 4", 'cache = "first-block"'])
def test_a_recipe_that_reuses_outputs_may_save_more_than_attention(results: Results, line: str):
    free = summarise(results)[0].free_bound
    beyond = method_at(results, free * 1.5)
    beyond.recipes = {name: text + f"\n{line}\n" for name, text in beyond.recipes.items()}
    assert not any("measures the machine" in sentence for sentence in cautions(beyond))


def test_short_videos_are_told_to_take_repeats(results: Results):
    short = replace(results, clips=[replace(clip, seconds=clip.seconds / 1000) for clip in results.clips])
    short.settings = {**results.settings, "repeats": 1}
    assert any("--repeats 3" in sentence for sentence in cautions(short))
    short.settings["repeats"] = 3
    assert not any("--repeats" in sentence for sentence in cautions(short))


def test_what_stayed_dense_is_counted_and_shown(results: Results, tmp_path: Path):
    name = next(clip.method for clip in results.clips if clip.kind == "method")
    clips = [replace(clip, dense_reasons={"warm-up": 12}) for clip in results.clips]
    told = replace(results, clips=clips)
    count = len(told.of_method(name))
    assert stayed_dense(told)[name] == {"warm-up": 12 * count}
    assert all(clip.kind == "method" for clip in told.clips if clip.method in stayed_dense(told))
    assert f"What stayed dense in <b>{name}</b>: {12 * count} calls, warm-up." in render_page(told, tmp_path)


def test_the_flat_table_has_the_columns_of_the_page(results: Results):
    names, rows = flat_table(results)
    assert names[:3] == ["method", "time, s", "speed-up, ×"]
    assert {len(row) for row in rows} == {len(names)}
    assert [row[0] for row in rows] == [row.method for row in summarise(results)]
    dense = dict(zip(names, rows[0], strict=True))
    assert dense["bound, ×"] is None
    assert dense["speed-up, ×"] == 1.0
