"""Tensors that no attention is defined for are refused; weights that are no numbers never make a video."""

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import videosieve
from videosieve import METHODS, ModelError, NumericsError, Recipe, ShapeError, VideoLayout, VideosieveError
from videosieve.cli import app
from videosieve.generation.generate import generate
from videosieve.generation.load import load_pipeline
from videosieve.generation.request import Request
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.testing import pipelines as tiny

LAYOUT = VideoLayout.of(2, 4, 4)
PROMPT = "a red circle moves left"


def qkv(dtype: torch.dtype = torch.float32) -> list[Any]:
    return [torch.zeros(1, 2, LAYOUT.tokens, 16, dtype=dtype) for _ in range(3)]


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(
    "dtype",
    [torch.int32, torch.int64, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn],
    ids=str,
)
def test_tensors_that_are_no_floating_point_numbers_are_refused(method: str, dtype: torch.dtype):
    with pytest.raises(
        ShapeError, match=r"q must be a dense tensor of .*convert it with .to\(torch.float32\)"
    ):
        videosieve.attention(*qkv(dtype), LAYOUT, method)


@pytest.mark.parametrize("wrong", [None, 1.0, "q", [[0.0]], torch.zeros(2, 2).to_sparse()], ids=repr)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_tensor_is_refused(wrong: object, place: int):
    tensors = qkv()
    tensors[place] = wrong
    with pytest.raises(ShapeError, match=f"{'qkv'[place]} must be a dense tensor"):
        videosieve.attention(*tensors, LAYOUT, "dense")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layout": (2, 4, 4)}, "layout must be a VideoLayout"),
        ({"layout": None}, "layout must be a VideoLayout"),
        ({"method": 5}, "method must be a Method"),
        ({"method": None}, "method must be a Method"),
        ({"method": METHODS["svg"]}, "method must be a Method"),
        ({"scale": float("nan")}, "scale must be a finite number"),
        ({"scale": float("inf")}, "scale must be a finite number"),
        ({"scale": "0.1"}, "scale must be a finite number"),
        ({"site": (0, 1)}, "site must be a Site"),
        ({"density": "0.3"}, "density is the share"),
        ({"dnsity": 0.3}, "did you mean 'density'"),
    ],
)
def test_arguments_of_attention_are_sentences(arguments: dict[str, Any], words: str):
    with pytest.raises(VideosieveError, match=words):
        videosieve.attention(*qkv(), **{"layout": LAYOUT, **arguments})


def spoil(module: torch.nn.Module, value: float) -> None:
    with torch.no_grad():
        next(iter(module.parameters())).view(-1)[0] = value


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundled kind of model and a user's, each with one weight that is no number."""
    ours = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    spoil(ours.transformer, float("nan"))
    theirs = tiny.tiny_wan()
    spoil(theirs.transformer, float("nan"))
    folder = tmp_path_factory.mktemp("damaged")
    for name, pipe in (("ours", ours), ("theirs", theirs)):
        pipe.save_pretrained(folder / name)
    return {name: folder / name for name in ("ours", "theirs")}


@pytest.mark.parametrize(
    ("kind", "prompt", "words"),
    [
        ("ours", PROMPT, "is damaged: transformer holds NaN or infinity in"),
        ("theirs", "a red cat runs", "of WanPipeline must be finite, got NaN or infinity in"),
    ],
)
def test_a_model_with_weights_that_are_no_numbers_ends_in_a_line_and_exit_code_2(
    folders: dict[str, Path], tmp_path: Path, kind: str, prompt: str, words: str
):
    out = tmp_path / "v.mp4"
    size = ("--height", "32", "--width", "48", "--frames", "9") if kind == "theirs" else ()
    result = CliRunner(env={"COLUMNS": "300"}).invoke(
        app,
        ["generate", prompt, "--model", str(folders[kind]), "--steps", "2", *size, "-o", str(out), "--method", "dense",
         "--device", "cpu"],
    )  # fmt: skip
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("part", ["transformer", "text_encoder"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_every_part_of_a_bundled_kind_of_model_is_looked_at(tmp_path: Path, part: str, value: float):
    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    spoil(getattr(pipe, part), value)
    pipe.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"{part} holds NaN or infinity"):
        load_pipeline(str(tmp_path), device="cpu")


def test_a_pipeline_that_goes_wrong_in_memory_makes_no_clip():
    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano"))
    pipe.set_progress_bar_config(disable=True)
    spoil(pipe.transformer, float("nan"))
    for recipe in ("dense", "svg"):
        with pytest.raises(NumericsError, match="must be finite, got NaN or infinity in"):
            generate(pipe, Request(PROMPT, steps=1), Recipe.of(recipe, min_tokens=0))
