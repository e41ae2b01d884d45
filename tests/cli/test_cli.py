"""The command line: every verb on a tiny model, and every bad input as one line with exit code 2."""

import json
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from videosieve.cli import app
from videosieve.cli.console import plain_table
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.trace import Trace
from videosieve.version import __version__

PROMPT = "a red circle moves left"
FAST = ("--steps", "2", "--set", "min_tokens=0", "--set", "dense_steps=1", "--device", "cpu")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("nano")
    ShapesPipeline.from_networks(build_networks("shapes-nano")).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"})
    return lambda *words: runner.invoke(app, [str(word) for word in words])


def test_generate_writes_a_video_and_a_trace_and_says_the_density(
    run: Callable[..., Any], model: str, tmp_path: Path
):
    result = run(
        "generate", PROMPT, "--model", model, *FAST, "--density", "0.4", "-o", "v.mp4", "--trace", "t.jsonl"
    )
    assert result.exit_code == 0, result.output
    assert "v.mp4: 16 frames of 16 × 16 pixels, 2 steps" in result.stdout
    assert "sparse density 0." in result.stdout
    assert "at recall 0." in result.stdout
    assert (tmp_path / "v.mp4").stat().st_size > 1000
    # One sparse step of two, two layers, and a guided and an unguided branch.
    assert Trace.load(tmp_path / "t.jsonl").summary().sparse_calls == 4


def test_generate_does_not_replace_a_file_unasked(run: Callable[..., Any], model: str, tmp_path: Path):
    (tmp_path / "v.gif").touch()
    words = ("generate", "--prompt", PROMPT, "--model", model, *FAST, "--output", "v.gif")
    refused = run(*words)
    assert refused.exit_code == 2
    assert "exists" in refused.stderr
    assert run(*words, "--overwrite").exit_code == 0
    assert (tmp_path / "v.gif").stat().st_size > 0


def test_compare_report_and_a_second_compare(run: Callable[..., Any], model: str, tmp_path: Path):
    words = ("compare", "--model", model, "--prompt", PROMPT, *FAST, "--methods", "svg", "--output", "demo")
    assert "must end in .csv, .md, .tex" in run(*words, "--table", "demo/table.xlsx").stderr
    assert not (tmp_path / "demo").exists()
    words = (*words, "--table", "demo/table.csv")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "open demo/report.html"
    assert "PSNR dB" in result.stdout
    assert (tmp_path / "demo" / "table.csv").read_text().startswith('method,"time, s",')
    assert "svg: " in result.stdout
    assert "dense: " in result.stdout
    page = (tmp_path / "demo" / "report.html").read_bytes()
    (tmp_path / "demo" / "report.html").unlink()
    assert run("report", "demo").stdout == "open demo/report.html\n"
    assert (tmp_path / "demo" / "report.html").read_bytes() == page
    assert "replacing the earlier results in demo" in run(*words).stdout


def test_sweep_writes_a_table_and_a_plot(run: Callable[..., Any], model: str, tmp_path: Path):
    result = run(
        "sweep", "--model", model, "--prompt", PROMPT, *FAST, "--densities", "0.3,0.6", "--output", "s",
        "--table", "s.md",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    points = json.loads((tmp_path / "s" / "sweep.json").read_text())["points"]
    assert [point["density"] for point in points] == [0.3, 0.6]
    assert points[0]["run_density"] < points[1]["run_density"]
    assert (tmp_path / "s" / "sweep.png").exists()
    assert (tmp_path / "s.md").read_text().splitlines()[2].startswith("| 0.3 | ")


IMAGE_FAMILIES = ["Flux.1", "Flux.2", "Chroma", "Stable Diffusion 3", "Qwen-Image", "HunyuanImage", "Z-Image"]
SALIENCY = ["saliency by concept or cross_attention, of generated and of given images"]


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("methods", ["svg", "Spatial and temporal band heads", "dense_steps=0.2", "svg-hunyuanvideo"]),
        ("methods svg", ["svg", "arXiv:2502.01776", "density=0.3", "Share of query–key pairs", "svg-wan"]),
        ("methods pab", ["arXiv:2408.12588", "reuse_range=2", "bundled recipes: pab"]),
        (
            "models",
            ["Wan", "CogVideoX", "HunyuanVideo", "svg-hunyuanvideo", "Latte", "7 of images", *IMAGE_FAMILIES],
        ),
        ("models flux", ["FluxTransformer2DModel", "Flux2Pipeline", "left dense: images are", *SALIENCY]),
        ("models Z-Image", ["ZImagePipeline", "a few thousand tokens in one frame", *SALIENCY]),
        ("models mochi", ["saliency by concept or cross_attention"]),
        ("models ltx-2", ["saliency by cross_attention, 2.0 alone"]),
        ("models Cosmos3OmniTransformer", ["saliency by no method: its text attends to itself alone"]),
        ("models wan", ["WanTransformer3DModel", "WanImageToVideoPipeline", "begins with svg-wan"]),
        ("models LatteTransformer3DModel", ["left dense: Latte attends within a frame"]),
        ("explain", ["119,056 tokens", "43.5 TFLOP", "triton", "flash-attn-4 is not installed", "taken"]),
        (
            "doctor",
            [
                "torch",
                "block_sparse_attention / reference",
                "ffmpeg",
                "cuda",
                "Verdict: videos are",
            ],
        ),
    ],
)
def test_tables_name_what_there_is(run: Callable[..., Any], verb: str, words: list[str]):
    result = run(*verb.split())
    assert result.exit_code == 0
    told = " ".join(result.stdout.split())
    assert [word for word in words if word not in told] == []


def test_a_word_that_is_too_long_for_a_table_is_broken_and_not_cut_off():
    table = plain_table("part", "detail")
    path = "/" + "long" * 20
    table.add_row("weights", path)
    console = Console(width=40, record=True, file=StringIO())
    console.print(table)
    assert path in "".join(console.export_text().split())


BAD = [
    (("--method", "svgg"), "did you mean 'svg'"),
    (("--set", "densty=0.3"), "did you mean 'density'"),
    (("--set", "density"), "key=value"),
    (("--density", "0"), "(0, 1]"),
    (("--density", "1.5"), "(0, 1]"),
    (("--device", "gpu"), "device must be cpu"),
    (("--dtype", "int8"), "dtype must be one of"),
    (("--model", "./nothing"), "give shapes-s, a folder"),
    (("--model", "shapes-xl"), "shapes-xl"),
    (("--output", "video.avi"), "must end in .mp4"),
    (("--output", "no/folder/v.mp4"), "does not exist"),
    (("--trace", "trace.txt"), "must end in .jsonl"),
    (("--fps", "0"), "fps must lie in"),
    (("--steps", "0"), "steps must be at least 1"),
    (("--seed", "-1"), "seed must be a whole number >= 0"),
    (("--prompt", "another"), "give one prompt"),
    (("--image", "missing.png"), "image 'missing.png' does not exist"),
    (("--height", "13"), "multiples of 4"),
    (("--recipe", "mine.toml"), "cannot read recipe"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_two(
    run: Callable[..., Any], model: str, tmp_path: Path, words: tuple[str, ...], message: str
):
    own_model = () if "--model" in words else ("--model", model)
    own_device = () if "--device" in words else ("--device", "cpu")
    result = run("generate", PROMPT, *own_model, *own_device, "--output", "v.mp4", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_words_outside_the_vocabulary_are_refused_with_near_ones(run: Callable[..., Any], model: str):
    for verb in (("generate", "a red circel moves left"), ("compare", "--prompt", "a red circel moves left")):
        result = run(*verb, "--model", model)
        assert result.exit_code == 2
        assert "'circel' (near: circle" in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compare", "--methods", "dense"), "besides dense"),
        (("compare", "--methods", "svg,nonsense"), "unknown method or recipe 'nonsense'"),
        (("compare", "--repeats", "0"), "repeats must be at least 1"),
        (("compare", "--output", "other"), "holds other files"),
        (("compare", "--model", "owner/name"), "needs a prompt"),
        (
            ("compare", "--metrics", "flip,fid"),
            "metrics are ssim_uniform, flip, st_lpips, lpips, vmaf; got fid",
        ),
        (("compare", "--prompts", "missing.csv"), "cannot read the prompts 'missing.csv'"),
        (("sweep", "--densities", "0.3"), "at least two"),
        (("sweep", "--method", "dense"), "no density to sweep"),
        (("report", "other"), "videosieve compare"),
    ],
)
def test_comparisons_that_cannot_be_made_are_refused(
    run: Callable[..., Any], model: str, tmp_path: Path, words: tuple[str, ...], message: str
):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    own_model = () if "--model" in words or words[0] == "report" else ("--model", model)
    result = run(*words, *own_model)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_debug_shows_the_traceback_wherever_it_stands(run: Callable[..., Any]):
    for words in (("--debug", "report", "nothing"), ("report", "nothing", "--debug")):
        result = run(*words)
        assert type(result.exception).__name__ == "OutputError"


def test_control_c_is_one_line_and_exit_code_130(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, model: str
):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("1 of 4 videos are finished and valid in 'demo'")

    monkeypatch.setattr("videosieve.comparison.compare.compare", interrupt)
    result = run("compare", "--model", model, "--output", "demo")
    assert result.exit_code == 130
    assert result.stderr == "interrupted: 1 of 4 videos are finished and valid in 'demo'\n"


def test_help_loads_neither_diffusers_nor_matplotlib():
    program = (
        "import sys\n"
        "from videosieve.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'diffusers', 'transformers', 'matplotlib', 'PIL', 'jinja2'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
    assert "compare" in result.stdout


def test_the_version_is_one_line(run: Callable[..., Any]):
    assert run("--version").stdout == f"videosieve {__version__}\n"


@pytest.mark.parametrize("verb", ["generate", "compare", "sweep", "report", "methods", "models", "doctor"])
def test_every_option_is_explained(run: Callable[..., Any], verb: str):
    result = run(verb, "--help")
    assert result.exit_code == 0
    import inspect

    from videosieve.cli import app as application

    command = next(c for c in application.registered_commands if c.callback and c.callback.__name__ == verb)
    assert command.callback is not None
    for parameter in inspect.signature(command.callback).parameters.values():
        assert parameter.annotation.__metadata__[0].help, parameter.name


@pytest.mark.slow  # three processes import everything
def test_two_processes_write_the_video_of_one(run: Callable[..., Any], model: str, tmp_path: Path):
    words = ["generate", PROMPT, "--model", model, *FAST, "--method", "xattention", "--set", "threshold=0.5"]
    assert run(*words, "--trace", "one.jsonl", "-o", "one.gif").exit_code == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    told = subprocess.run(
        [*launcher, "-m", "videosieve", *words, "--ulysses", "2", "--deal", "one.jsonl", "-o", "two.gif"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "two.gif").read_bytes() == (tmp_path / "one.gif").read_bytes()
    assert told.stdout.count("two.gif: 16 frames") == 1
    assert "2 ranks at 0." in told.stdout
    assert "call by call the busiest does 1." in told.stdout


def test_processes_that_nobody_started_or_asked_for_are_refused(
    run: Callable[..., Any], model: str, monkeypatch: pytest.MonkeyPatch
):
    words = ("generate", PROMPT, "--model", model, *FAST)
    alone = run(*words, "--ulysses", "2")
    assert alone.exit_code == 2
    assert "--ulysses 2 needs 2 processes, and there is one" in " ".join(alone.stderr.split())
    undealt = run(*words, "--deal", "density")
    assert undealt.exit_code == 2
    assert "give --ulysses N as well" in " ".join(undealt.stderr.split())
    monkeypatch.setenv("WORLD_SIZE", "4")
    unasked = run(*words)
    assert unasked.exit_code == 2
    assert "torchrun started 4" in " ".join(unasked.stderr.split())
