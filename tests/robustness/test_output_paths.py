"""Where results are to go: a name that cannot be one costs no generation."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from videosieve import OutputError, Recipe, Trace
from videosieve.cli import app
from videosieve.comparison.plan import check_folder
from videosieve.files import LONGEST_NAME, whole_file
from videosieve.generation.media import check_output, make_folder
from videosieve.tuning.order import check_folder as check_tune_folder

NAMES = ["x" * 300, "é" * 200, "a\0b", "x" * (LONGEST_NAME + 1), "猫" * 100]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"{len(name)} {name[:3]!a}")
@pytest.mark.parametrize("deep", [False, True])
def test_names_that_cannot_be_made_are_refused_by_every_check(tmp_path: Path, name: str, deep: bool):
    path = tmp_path / "more" / name / "x" if deep else tmp_path / name
    for check in (make_folder, check_folder, check_tune_folder):
        with pytest.raises(OutputError, match="cannot be a path"):
            check(path)
    with pytest.raises(OutputError, match="cannot be a path"):
        check_output(path.with_name(path.name + ".mp4") if not deep else path / "v.mp4")
    for save in (Trace().save, Recipe.of("svg").save):
        with pytest.raises(OutputError, match="cannot write"):
            save(tmp_path / (name * 2))


def test_the_longest_name_leaves_room_for_its_temporary(tmp_path: Path):
    path = check_output(tmp_path / ("x" * (LONGEST_NAME - 4) + ".mp4"))
    with whole_file(path) as temporary:
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize("suffix", [".MP4", ".Gif", ".WEBP"])
def test_capital_endings_are_endings(tmp_path: Path, suffix: str):
    assert check_output(tmp_path / f"v{suffix}").suffix == suffix


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "a red circle moves left", "-o", "x" * 300 + ".mp4"],
        ["generate", "a red circle moves left", "--trace", "x" * 300 + ".jsonl"],
        ["generate", "a red circle moves left", "--image", "x" * 300 + ".png"],
        ["generate", "a red circle moves left", "--model", "x" * 300],
        ["generate", "a red circle moves left", "--method", "x" * 300 + ".toml"],
        ["compare", "-o", "x" * 300],
        ["compare", "--prompts", "x" * 300 + ".txt"],
        ["tune", "--psnr", "30", "-o", "x" * 300],
        ["profile", "-o", "x" * 300],
        ["saliency", "a red circle", "--concept", "circle", "-o", "x" * 300],
        ["saliency", "a red circle", "--concept", "circle", "--video", "x" * 300 + ".mp4"],
        ["inspect", "a red circle", "-o", "x" * 300],
        ["batch", "x" * 300 + ".txt", "-o", "out"],
        ["report", "x" * 300],
        ["plan", "--model", "x" * 300],
        ["shapes", "train", "-o", "x" * 300, "--samples", "1"],
        ["shapes", "evaluate", "--run", "x" * 300],
        ["shapes", "evaluate", "-o", "x" * 300],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_long_names_on_the_command_line_are_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"COLUMNS": "500"}).invoke(app, words)
    assert result.exit_code == 2, (result.exit_code, result.output[:500], result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.count("\n") == 1
