"""Values on the command line: read as people write them, or refused in one line with exit code 2."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from videosieve import RecipeError
from videosieve.cli import app
from videosieve.generation.recipe_settings import make_recipe, parse_settings

BIG = "9" * 40


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.txt").write_text("a red circle moves left\na blue square moves up\n")


@pytest.mark.parametrize(
    ("word", "value"),
    [("yes", True), ("on", True), ("true", True), ("True", True), ("YES", True), ("no", False), ("off", False),
     ("false", False), ("False", False), ("Off", False)],
)  # fmt: skip
def test_yes_and_no_are_what_they_say(word: str, value: bool):
    assert make_recipe("svg", None, [f"first_frame_sink={word}"]).method.first_frame_sink is value
    assert make_recipe("svg", None, [f"shared_selection={word}"]).shared_selection is value


@pytest.mark.parametrize("word", ["0", "1", "y", "n", "t", "ja", "'false'", "[false]", "none", "", "nan"])
def test_other_words_switch_nothing(word: str):
    with pytest.raises(RecipeError, match="first_frame_sink must be true or false"):
        make_recipe("svg", None, [f"first_frame_sink={word}"])


@pytest.mark.parametrize(
    "text", ["x=[1, 2", "x=[nope]", "x=" + "[" * 60_000, "x=[1]]", "x=[" + "9" * 5000 + "]"]
)
def test_lists_that_are_none_are_refused(text: str):
    with pytest.raises(RecipeError, match="a list is written"):
        parse_settings([text])


WAYS = [
    *(["plan", option, value] for option in ("--frames", "--height", "--width", "--steps")
      for value in ("0", "-1", BIG, "99999999")),
    *(["plan", "--density", value] for value in ("0", "nan", "inf", "-0.1", "1.1")),
    *(["explain", option, value] for option in ("--tokens", "--heads", "--head-dim", "--block")
      for value in ("0", "-1", BIG)),
    *(["explain", "--density", value] for value in ("nan", "0", "2")),
    *(["generate", "a red circle moves left", option, value] for option, value in (
        ("--seed", "-1"), ("--seed", BIG), ("--steps", "0"), ("--steps", BIG), ("--height", BIG), ("--frames", "-5"),
        ("--guidance", "nan"), ("--guidance", "inf"), ("--guidance", "-1"), ("--fps", "nan"), ("--fps", "0"),
        ("--fps", "inf"), ("--density", "nan"), ("--density", "-inf"), ("--set", "seed=" + BIG),
        ("--set", "block=" + BIG), ("--set", "profile_rows=nan"), ("--set", "dense_steps=nan"),
        ("--set", "min_tokens=-1"), ("--set", "min_tokens=true"), ("--set", "density=yes"))),
    *(["batch", "two.txt", "-o", "out", option, value] for option, value in (
        ("--shard", "9/9"), ("--shard", "3/3"), ("--shard", "0/2"), ("--shard", "3/2"), ("--shard", "-1/2"),
        ("--shard", "a"), ("--retries", "-1"), ("--seed", BIG), ("--seed", "-1"), ("--guidance", "nan"),
        ("--fps", "nan"), ("--steps", "0"))),
    *(["shapes", "train", "-o", "out", option, value] for option, value in (
        ("--checkpoint-minutes", "-1"), ("--checkpoint-minutes", "nan"), ("--sheet-minutes", "-1"),
        ("--sheet-minutes", "nan"), ("--minutes", "nan"), ("--minutes", "inf"), ("--minutes", "-1"), ("--minutes", "0"),
        ("--samples", "-1"), ("--samples", BIG), ("--seed", "-1"), ("--seed", BIG), ("--threads", "-1"),
        ("--threads", BIG))),
    *(["shapes", "evaluate", option, value] for option, value in (
        ("--guidance", "nan"), ("--guidance", "inf"), ("--guidance", "0.5"), ("--prompts", "0"), ("--prompts", BIG),
        ("--held-out", "-1"), ("--steps", "0"), ("--batch", "0"), ("--batch", BIG), ("--seed", "1000"),
        ("--threads", "-1"), ("--threads", "99999"))),
    *(["tune", "--psnr", "30", option, value] for option, value in (
        ("--minutes", "nan"), ("--minutes", "inf"), ("--minutes", "0"), ("--minutes", "-3"), ("--seed", "-1"),
        ("--steps", "0"))),
    *(["tune", option, value] for option in ("--psnr", "--recall", "--speedup") for value in ("nan", "inf", "-1", "0")),
    *(["compare", option, value] for option, value in (
        ("--repeats", "0"), ("--repeats", BIG), ("--fps", "nan"), ("--seed", BIG), ("--guidance", "nan"))),
    *(["sweep", "--densities", value] for value in ("nan,0.3", "0,1", "0.3", "0.3,inf", "a,b")),
    *(["profile", "--every", value] for value in ("0", "-1", BIG)),
    *(["saliency", "a red circle", "--concept", "circle", "--temperature", value]
      for value in ("nan", "0", "inf", "-1")),
]  # fmt: skip


@pytest.mark.parametrize("words", WAYS, ids=lambda words: " ".join(words)[:60])
def test_a_meaningless_value_costs_one_line_and_exit_code_2(words: list[str]):
    result = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, words)
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert not Path("out", "checkpoint.safetensors").exists()
