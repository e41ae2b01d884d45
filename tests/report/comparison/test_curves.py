"""Views of a trace, against sums written out."""

from dataclasses import replace
from pathlib import Path

import pytest

from videosieve.errors import OutputError
from videosieve.files import whole_file, write_text
from videosieve.records import Record
from videosieve.report.comparison.curves import density_by_step, head_atlas
from videosieve.report.pictures.sweep import plot_fidelity


def record(
    layer: int, step: int, density: float = 1.0, pattern: tuple[str, ...] = (), pairs: int = 10
) -> Record:
    return Record(
        layer,
        step,
        "cond",
        "sparse" if pattern else "dense",
        "",
        "cpu",
        pairs,
        density,
        pattern=list(pattern),
    )


def test_density_of_a_step_is_weighted_by_pairs():
    records = [record(0, 0), record(1, 0), record(0, 1, 0.5, pairs=30), record(1, 1, 0.1, pairs=10)]
    assert density_by_step(records) == pytest.approx([1.0, (0.5 * 30 + 0.1 * 10) / 40])


def test_atlas_writes_one_character_per_head():
    mixed, temporal = ("spatial", "temporal"), ("temporal", "temporal")
    atlas = head_atlas([record(0, 0), record(1, 0), record(0, 1, 0.3, mixed), record(1, 1, 0.3, temporal)])
    assert atlas is not None
    assert atlas.patterns == ["spatial", "temporal"]
    assert atlas.choice == [["--", "--"], ["01", "11"]]


def test_atlas_shows_the_first_branch_of_a_step():
    atlas = head_atlas([record(0, 0, 0.3, ("spatial",)), record(0, 0, 0.3, ("temporal",))])
    assert atlas is not None
    assert atlas.choice == [["0"]]


def test_atlas_shows_reused_calls_with_the_patterns_they_return():
    reused = replace(record(0, 2), action="reuse", density=0.0, source=(1, "cond"))
    atlas = head_atlas([record(0, 0), record(0, 1, 0.3, ("spatial", "temporal")), reused])
    assert atlas is not None
    assert atlas.choice == [["--"], ["01"], ["01"]]


def test_there_is_no_atlas_without_patterns():
    assert head_atlas([record(0, 0)]) is None
    assert head_atlas([]) is None


def test_a_file_is_whole_or_not_there(tmp_path: Path):
    path = tmp_path / "a.txt"
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    write_text(path, "whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(OutputError, match="No such file"):
        write_text(tmp_path / "missing" / "a.txt", "text")


def test_the_plot_is_written_in_both_formats(tmp_path: Path):
    paths = [tmp_path / "sweep.svg", tmp_path / "sweep.png"]
    plot_fidelity([(0.5, 31.0), (0.2, 25.0)], "svg on shapes-s", paths)
    assert paths[0].read_text().startswith("<?xml")
    assert paths[1].read_bytes().startswith(b"\x89PNG")
