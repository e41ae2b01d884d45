"""What people get wrong with saliency, at the command line: one sentence, exit code 2, and no folder left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from videosieve.cli import app
from videosieve.integrations.diffusers.concepts import memory
from videosieve.scenes import Scene, write_scene
from videosieve.testing.models.pipelines.images import HEIGHT, IMAGE_CASES, WIDTH
from videosieve.testing.pipelines import tiny_cogvideox

SIZES = {
    "flux": ("--height", str(HEIGHT), "--width", str(WIDTH)),
    "cogvideox": ("--height", "32", "--width", "48", "--frames", "9"),
    "nano": ("--frames", "4"),
}
QUICK = ("--steps", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def models(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of a tiny image pipeline, a tiny video pipeline, and the smallest bundled one."""
    root = tmp_path_factory.mktemp("models")
    for name, pipe in (("flux", IMAGE_CASES["flux"].make()), ("cogvideox", tiny_cogvideox()), ("nano", nano)):
        pipe.save_pretrained(root / name)
    return {name: str(root / name) for name in SIZES}


@pytest.fixture(scope="module")
def scenes(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of the bundled world's size; the second has two masks."""
    folder, side = tmp_path_factory.mktemp("scenes"), nano.vae.sample_size
    truth = torch.zeros(3, 4, side, side, dtype=torch.bool)
    truth[0, :, :4], truth[1, :, 4:8], truth[2, :, 8:] = True, True, True
    words = ("red circle", "blue square", "background")
    write_scene(folder, Scene("one", torch.rand(4, 3, side, side), truth[1:], words[1:], "a blue square"))
    write_scene(folder, Scene("two", torch.rand(4, 3, side, side), truth, words, "a red circle"))
    return folder


def refused(words: tuple[str, ...], output: Path) -> str:
    """The one sentence; a traceback, another exit code and anything left behind are failures."""
    result = CliRunner().invoke(app, [*words, "-o", str(output)])
    assert result.exit_code == 2, result.output
    assert not output.exists()
    lines = [line for line in result.stderr.splitlines() if "Error: " in line]
    assert len(lines) == 1
    return " ".join(result.stderr.split())


LOOKS = {
    "not in the vocabulary": ("nano", ("red", "Kreis"), (), "unknown: 'kreis'"),
    "no token, image": ("flux", ("qqq", "cat"), (), "'qqq' has no token in the model's vocabulary"),
    "no token, video": ("cogvideox", ("qqq", "cat"), (), "'qqq' has no token in the model's vocabulary"),
    "the same": ("nano", ("red", " red "), (), "every concept must be given once"),
    "the same tokens, image": ("flux", ("cat qqq", "cat zzz"), (), "are the same tokens to this model"),
    "the same tokens, video": ("cogvideox", ("cat qqq", "cat zzz"), (), "are the same tokens to this model"),
    "nothing": ("nano", ("", "red"), (), "none of them empty"),
    "an image model, a video": ("flux", ("cat",), ("--video", "x.mp4"), "makes images and takes no --video"),
    "an image model, frames": ("flux", ("cat",), ("--frames", "8"), "makes images and takes no --frames"),
    "an image model, a rate": ("flux", ("cat",), ("--fps", "8"), "makes images and takes no --fps"),
    "an image model, a method": (
        "flux",
        ("cat", "sea"),
        ("--recipe", "svg"),
        "makes images: a few thousand tokens",
    ),
    "a video model, a picture": (
        "cogvideox",
        ("cat",),
        ("--picture", "x.png"),
        "makes videos and takes no --picture",
    ),
    "a layer too far": ("flux", ("cat", "sea"), ("--layers", "99"), "layers must be at least one of 0 … 3"),
    "a step too far": ("nano", ("red", "left"), ("--look-at", "9"), "steps must be at least one of 0 … 1"),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_that_cannot_be(name: str, models: dict[str, str], tmp_path: Path):
    model, concepts, options, message = LOOKS[name]
    named = [word for concept in concepts for word in ("--concept", concept)]
    prompt = "a red circle" if model == "nano" else "a red cat"
    size = () if "--frames" in options else SIZES[model]
    words = ("saliency", prompt, *named, "--model", models[model], *QUICK, *size, *options)
    assert message in refused(words, tmp_path / "o")


@pytest.mark.parametrize("verb", ["look", "score", "ablate"])
def test_more_concepts_than_memory_allows(
    verb: str, models: dict[str, str], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    words = {
        "look": ("saliency", "a red circle", "--concept", "red", "--concept", "left", *SIZES["nano"]),
        "score": ("saliency-score", str(scenes)),
        "ablate": ("saliency", "--ablate", "--scenes", str(scenes)),
    }[verb]
    message = refused((*words, "--model", models["nano"], *QUICK), tmp_path / "o")
    assert "ask for fewer concepts" in message


def shrink(folder: Path) -> None:
    for file in (folder / "two-mask-1").iterdir():
        with Image.open(file) as image:
            small = image.resize((image.width // 2, image.height))
        small.save(file)


def drop_frame(folder: Path) -> None:
    max((folder / "two-mask-1").iterdir()).unlink()


def change_line(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        lines = [json.loads(line) for line in (folder / "scenes.jsonl").read_text().splitlines()]
        lines[1] |= values
        (folder / "scenes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    return change


SCENES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a mask of another size": (shrink, "pixels, its mask"),
    "a mask of fewer frames": (drop_frame, "has 4 frames, its mask"),
    "a mask that is not there": (
        lambda folder: shutil.rmtree(folder / "two-mask-0"),
        "'two-mask-0' is not in",
    ),
    "a concept twice": (change_line(rest="red circle"), "every concept must be given once"),
    "an unknown concept": (change_line(rest="Kreis"), "unknown: 'kreis'"),
    "a line that says something else": (change_line(others="tree"), "others must be a list"),
}


@pytest.mark.parametrize("verb", [("saliency-score",), ("saliency", "--ablate", "--scenes")])
@pytest.mark.parametrize("name", SCENES)
def test_scenes_that_cannot_be_scored(
    name: str, verb: tuple[str, ...], models: dict[str, str], scenes: Path, tmp_path: Path
):
    change, message = SCENES[name]
    folder = tmp_path / "scenes"
    shutil.copytree(scenes, folder)
    change(folder)
    assert message in refused((*verb, str(folder), "--model", models["nano"], *QUICK), tmp_path / "o")


def test_clips_for_an_image_model(models: dict[str, str], scenes: Path, tmp_path: Path):
    words = ("saliency-score", str(scenes), "--model", models["flux"], *QUICK)
    assert "is a clip of 4 frames, and FluxPipeline makes images" in refused(words, tmp_path / "o")
