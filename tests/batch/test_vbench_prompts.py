"""VBench's prompt list gives jobs whose files `vbench evaluate` finds; what cannot become a file name is refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from videosieve.batch import Job, read_vbench_prompts
from videosieve.batch.jobs import Order
from videosieve.cli import app
from videosieve.errors import PromptError
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline

ENTRIES = [
    {"prompt_en": "a red circle moves left", "dimension": ["color", "object_class"]},
    {"prompt_en": "a blue square stays still", "dimension": ["temporal_flickering"]},
    {"prompt_en": "a red circle moves left", "dimension": ["overall_consistency"], "auxiliary_info": {}},
]


@pytest.fixture
def info(tmp_path: Path) -> Path:
    path = tmp_path / "VBench_full_info.json"
    path.write_text(json.dumps(ENTRIES))
    return path


def searched_for(dimension: str, suffix: str = ".mp4") -> set[str]:
    """The names that VBench's build_full_info_json looks for."""
    return {
        f"{entry['prompt_en']}-{i}{suffix}"
        for entry in ENTRIES
        if dimension in entry["dimension"]
        for i in range(5)
    }


def test_every_file_that_vbench_looks_for_is_made_once(info: Path):
    jobs = read_vbench_prompts(info)
    names = [job.stem + ".mp4" for job in jobs]
    assert len(names) == len(set(names)) == 5 + 25
    for dimension in ("color", "object_class", "temporal_flickering", "overall_consistency"):
        assert searched_for(dimension) <= set(names)
    assert [job.number for job in jobs] == list(range(30))


def test_every_video_has_a_seed_of_its_own_that_a_subset_keeps(info: Path):
    seeds = {job.stem: job.seed for job in read_vbench_prompts(info)}
    assert len(set(seeds.values())) == 30
    subset = read_vbench_prompts(info, samples=2, dimensions=("temporal_flickering",))
    assert [job.stem for job in subset] == ["a blue square stays still-0", "a blue square stays still-1"]
    assert all(job.seed == seeds[job.stem] for job in subset)


def test_long_prompts_are_generated_under_the_short_names(info: Path, tmp_path: Path):
    long = tmp_path / "longer.txt"
    long.write_text("a large red circle moves left\na small blue square stays still\na third line\n")
    jobs = read_vbench_prompts(info, samples=1, long_prompts=long)
    assert [(job.prompt, job.stem) for job in jobs] == [
        ("a large red circle moves left", "a red circle moves left-0"),
        ("a small blue square stays still", "a blue square stays still-0"),
    ]
    long.write_text("only one\n")
    with pytest.raises(PromptError, match="3 prompts, 1 lines"):
        read_vbench_prompts(info, long_prompts=long)


def test_a_text_file_is_a_dimension(tmp_path: Path):
    path = tmp_path / "temporal_flickering.txt"
    path.write_text("a tranquil red circle\n\n")
    assert len(read_vbench_prompts(path)) == 25
    assert len(read_vbench_prompts(path.rename(tmp_path / "scene.txt"))) == 5


@pytest.mark.parametrize("prompt", ["a cat / a dog", "x" * 245, "ä" * 130, ".hidden", "  "])
def test_prompts_that_are_no_file_names_are_refused(tmp_path: Path, prompt: str):
    path = tmp_path / "info.json"
    path.write_text(json.dumps([{"prompt_en": prompt, "dimension": ["scene"]}]))
    with pytest.raises(PromptError, match="prompt as file name"):
        read_vbench_prompts(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "not VBench_full_info.json"),
        ('[{"prompt": "x"}]', "not VBench"),
        ("[]", "no prompt"),
        ("{", "read"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "info.json"
    path.write_text(text)
    with pytest.raises(PromptError, match=message):
        read_vbench_prompts(path)


def test_unknown_dimensions_and_other_mistakes_are_refused(info: Path, tmp_path: Path):
    with pytest.raises(PromptError, match="no dimension beauty; it has color, object_class"):
        read_vbench_prompts(info, dimensions=("beauty",))
    with pytest.raises(PromptError, match="at least 1"):
        read_vbench_prompts(info, samples=0)
    with pytest.raises(PromptError, match="cannot read"):
        read_vbench_prompts(tmp_path / "missing.json")
    with pytest.raises(PromptError, match=r"its .json or a .txt"):
        read_vbench_prompts(tmp_path / "prompts.csv")


def test_a_name_changes_the_batch_and_its_absence_does_not(tmp_path: Path):
    order = Order("m", "", str(tmp_path))
    assert order.fingerprint([Job(0, "p", name="n")]) != order.fingerprint([Job(0, "p")])
    assert order.fingerprint([Job(0, "p")]) == "e54bad9b535a02df"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["batch", *arguments])
    return result.exit_code, " ".join((result.output + str(result.exception)).split())


def test_the_command_writes_vbenchs_layout_and_resumes(info: Path, tmp_path: Path):
    model, out = tmp_path / "nano", tmp_path / "out"
    ShapesPipeline.from_networks(build_networks("shapes-nano")).save_pretrained(model)
    arguments = [
        str(info), "--layout", "vbench", "--dimension", "color", "--model", str(model), "--method", "dense",
        "--steps", "1", "--frames", "4", "--format", "gif", "--output", str(out),
    ]  # fmt: skip
    code, text = run(*arguments)
    assert code == 0, text
    assert {path.name for path in out.iterdir()} == searched_for("color", ".gif") | {"manifest.jsonl"}
    code, text = run(*arguments)
    assert code == 0
    assert "0 videos made, 5 were there" in text


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--samples", "2"], "belong to --layout vbench"),
        (["--layout", "vbench", "--format", "webp"], "opens .mp4 and .gif, got --format webp"),
        (["--layout", "vbench", "--seed", "1"], "seed of its own"),
        (["--layout", "flat"], "numbered or vbench, got 'flat'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    info: Path, tmp_path: Path, extra: list[str], message: str
):
    code, text = run(str(info), "--output", str(tmp_path / "out"), *extra)
    assert code != 0
    assert message in text
    assert not (tmp_path / "out").exists()
