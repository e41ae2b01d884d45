"""Training and scoring the bundled model from the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from videosieve.cli import app
from videosieve.errors import ModelError, OutputError
from videosieve.judging.batches import FinishedBatches
from videosieve.judging.run_card import make_config
from videosieve.shapes.checkpoint import read_checkpoint
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.shapes.training.phases import PHASES, PHASES_M, PHASES_M_ON, PHASES_ON
from videosieve.shapes.training.train import read_log

TRAIN = (
    "shapes",
    "train",
    "--size",
    "nano",
    "--samples",
    "320",
    "--no-compile",
    "--no-muon",
    "--dtype",
    "float32",
)
FAST = ("--checkpoint-minutes", "0", "--threads", "1")


def start(out: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "videosieve", *TRAIN, *FAST, "--out", str(out), *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_steps(process: subprocess.Popen[str], out: Path, steps: int) -> None:
    log = out / "log.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < steps:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    words = [
        sys.executable,
        "-m",
        "videosieve",
        *TRAIN,
        "--sheet-minutes",
        "1",
        "--threads",
        "1",
        "--out",
        str(out),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    return out


def test_a_killed_run_goes_on_to_the_weights_of_an_uninterrupted_one(whole: Path, tmp_path: Path):
    process = start(tmp_path, "--sheet-minutes", "0")
    wait_for_steps(process, tmp_path, 3)
    process.kill()
    process.communicate()
    assert read_checkpoint(tmp_path / "checkpoint.safetensors")[1]["samples"] < 320
    output, _ = start(tmp_path, "--resume", "--sheet-minutes", "1").communicate()
    assert "finished" in output
    expected, counters = read_checkpoint(whole / "checkpoint.safetensors")
    tensors, resumed = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert resumed["samples"] == counters["samples"] >= 320
    different = [key for key in expected if not torch.equal(tensors[key], expected[key])]
    assert not different
    losses = [[row["loss"] for row in read_log(folder)] for folder in (whole, tmp_path)]
    assert losses[0] == losses[1]


def test_a_terminated_run_saves_and_says_how_to_go_on(tmp_path: Path):
    process = start(tmp_path, "--sheet-minutes", "1")
    wait_for_steps(process, tmp_path, 1)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "go on with --resume" in output
    assert "saving after this step" in output
    rows = (tmp_path / "log.jsonl").read_text().splitlines()
    assert read_checkpoint(tmp_path / "checkpoint.safetensors")[1]["count"] == len(rows)


def test_a_run_leaves_a_card_a_curve_and_a_sheet(whole: Path):
    card = json.loads((whole / "run.json").read_text())
    assert card["samples"] >= 320
    assert card["progress"] == 1
    assert card["config"]["model"] == "shapes-nano"
    assert card["versions"]["torch"] == torch.__version__
    rows = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert card["steps"] == len(rows)
    assert card["loss"] == pytest.approx(sum(row["loss"] for row in rows[-100:]) / len(rows[-100:]), abs=1e-4)
    assert "Training loss of shapes-nano" in (whole / "loss.svg").read_text()
    with Image.open(whole / "samples.png") as sheet:
        assert sheet.size == (4 + 6 * 52, 4 + 8 * 70)


def test_a_model_goes_on_from_its_own_weights_otherwise_than_from_a_smaller_one():
    def phases(model: str, start: str):
        return make_config(model, minutes=1, samples=0, start=start).phases

    assert phases("shapes-s", "") is PHASES
    assert phases("shapes-s", "shapes-s") is PHASES_ON
    assert phases("shapes-m", "shapes-s") is PHASES_M
    assert phases("shapes-m", "shapes-m") is PHASES_M_ON
    with pytest.raises(ModelError, match="no shapes model 'nowhere'"):
        make_config("shapes-m", minutes=1, samples=0, start="nowhere")


def test_evaluate_prints_scores_with_intervals_and_writes_them(whole: Path, tmp_path: Path):
    words = ["shapes", "evaluate", "--run", str(whole), "--prompts", "4", "--held-out", "2", "--steps", "1"]
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, [*words, "--output", str(tmp_path / "scores")])
    assert result.exit_code == 0, result.output
    assert "held out" in result.stdout
    assert "IoU" in result.stdout
    assert "±" in result.stdout
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert scores["rows"]["all"]["videos"] == 4
    assert scores["rows"]["held out"]["videos"] == 2
    for row in scores["rows"].values():
        assert all(row["low"][key] <= row["mean"][key] <= row["high"][key] for key in row["mean"])
    assert (tmp_path / "scores" / "samples.png").stat().st_size > 1000


def test_an_interrupted_evaluation_goes_on_to_the_scores_of_a_whole_one(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ["shapes", "evaluate", "--run", str(whole), "--prompts", "4", "--held-out", "3", "--steps", "1"]
    words += ["--batch", "2", "--kernel", "reference", "--output"]
    made = []

    def killed(self, *args, **kwargs):
        made.append(len(args[0]))
        if len(made) == 4:
            raise KeyboardInterrupt
        return generate(self, *args, **kwargs)

    generate = ShapesPipeline.__call__
    monkeypatch.setattr(ShapesPipeline, "__call__", killed)
    assert CliRunner().invoke(app, [*words, str(tmp_path / "parts")]).exit_code == 130
    kept = {path.name for path in (tmp_path / "parts" / "unfinished").iterdir()}
    assert kept == {"unseen-0.safetensors", "unseen-2.safetensors", "held-out-0.safetensors"}
    other = CliRunner().invoke(app, [*words, str(tmp_path / "parts"), "--guidance", "2"])
    assert other.exit_code == 2
    assert "guidance was 3.0 and is 2.0" in " ".join(other.output.split())
    words[words.index("--prompts") + 1] = "3"  # its last batch is a smaller one
    assert CliRunner().invoke(app, [*words, str(tmp_path / "whole")]).exit_code == 0
    made.clear()
    assert CliRunner().invoke(app, [*words, str(tmp_path / "parts")]).exit_code == 0
    assert made == [1, 1]
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {"scores.json", "samples.png"}
    for name in ("scores.json", "samples.png"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_damaged_batch_is_named(tmp_path: Path):
    (tmp_path / "unseen-0.safetensors").write_bytes(b"torn")
    with pytest.raises(OutputError, match=r"unseen-0.safetensors' is damaged .*; delete it"):
        FinishedBatches(tmp_path, "unseen", {})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "--size", "xl", "--out", "x"), "one of shapes-s"),
        (("train", "--out", "x", "--resume"), "to resume"),
        (("train", "--out", "x", "--minutes", "0"), "minutes must be above 0"),
        (("train", "--out", "x", "--device", "gpu9"), "device"),
        (("evaluate", "--run", "nowhere"), "no shapes model"),
        (("evaluate", "--prompts", "0"), "prompts"),
        (("evaluate", "--seed", "1000"), "seed must be a whole number in [0, 1000)"),
        (("evaluate", "--dtype", "int8"), "must be 'float32' or 'bfloat16'"),
        (("evaluate", "--kernel", "fast"), "dense attention has no kernel 'fast'"),
        (("train", "--out", "x", "--dtype", "int8"), "dtype must be one of auto, bfloat16, float32"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["shapes", *words])
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
