"""A model folder that lost something, or whose parts are of several models, is refused; it never makes noise."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from videosieve import ModelError, Recipe
from videosieve.generation.generate import generate
from videosieve.generation.load import load_pipeline
from videosieve.generation.model_folder import made_up_weights
from videosieve.generation.request import Request
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.testing import pipelines as tiny

Change = Callable[[Path], object]
NETWORKS = ("transformer", "vae", "text_encoder")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wan") / "model"
    tiny.tiny_wan().save_pretrained(folder)
    return folder


def weights(folder: Path, part: str) -> Path:
    (path,) = (folder / part).glob("*.safetensors")
    return path


def lose(part: str) -> Change:
    def change(folder: Path) -> None:
        tensors = load_file(weights(folder, part))
        del tensors[min(tensors)]
        save_file(tensors, weights(folder, part), {"format": "pt"})

    return change


def cut(part: str) -> Change:
    return lambda folder: (path := weights(folder, part)).write_bytes(path.read_bytes()[:-100])


def pickle(part: str) -> Change:
    def change(folder: Path) -> None:
        path = weights(folder, part)
        torch.save(load_file(path), path.with_suffix(".bin"))
        path.unlink()

    return change


def written(name: str, text: str) -> Change:
    return lambda folder: (folder / name).write_text(text)


def edited(name: str, **values: object) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


CHANGES: dict[str, tuple[Change, str]] = {
    **{f"{part} without a tensor": (lose(part), "is incomplete: ") for part in NETWORKS},
    **{f"{part} cut": (cut(part), r"\.safetensors' is damaged or incomplete") for part in NETWORKS},
    **{f"{part} a pickle": (pickle(part), "are a pickle") for part in NETWORKS},
    **{f"{part} gone": (lambda folder, part=part: shutil.rmtree(folder / part), "cannot load the pipeline")
       for part in (*NETWORKS, "scheduler", "tokenizer")},
    **{f"{part} config {name}": (written(f"{part}/{file}", text), words)
       for part, file in (("vae", "config.json"), ("scheduler", "scheduler_config.json"))
       for name, text, words in (("a list", "[]", "must be a table"), ("nested", "[" * 10**5, "nested deeper"),
                                 ("torn", '{"a"', "it is not JSON"))},
    "fewer layers in the config": (edited("transformer/config.json", num_layers=1), "fit together: transformer has"),
    "more layers in the config": (edited("transformer/config.json", num_layers=3), "the weights of transformer lack"),
    "another width in the config": (edited("transformer/config.json", text_dim=64), "cannot load the pipeline"),
    "the index a list": (written("model_index.json", "[]"), "is damaged"),
    "the index nested": (written("model_index.json", '{"a":' * 10**5), "is damaged"),
    "a part of three words": (edited("model_index.json", vae=["a", "b", "c"]), "vae must be a library and a class"),
    "a part of numbers": (edited("model_index.json", vae=[1, 2]), "vae must be a library and a class"),
    "a part of no library": (edited("model_index.json", vae=["nowhere", "X"]), "cannot load the pipeline"),
    "a part of the system": (edited("model_index.json", vae=["os", "system"]), "cannot load the pipeline"),
    "weights of another kind": (lambda folder: (shutil.rmtree(folder / "transformer"),
        tiny.tiny_hunyuanvideo().transformer.save_pretrained(folder / "transformer")), "cannot load the pipeline"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_folder_that_is_not_whole_is_refused_with_the_cause(sound: Path, tmp_path: Path, name: str):
    folder = tmp_path / "model"
    shutil.copytree(sound, folder)
    change, words = CHANGES[name]
    change(folder)
    with pytest.raises(ModelError, match=words) as caught:
        load_pipeline(str(folder), "cpu")
    assert "\n" not in str(caught.value)


def test_a_whole_folder_is_loaded_though_more_lies_in_it(sound: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(sound, folder)
    torch.save({}, folder / "vae" / "diffusion_pytorch_model.bin")  # the safetensors beside it are taken
    (folder / "vae" / "notes.txt").write_text("mine")
    (folder / "vae" / "training.bin").write_bytes(b"")
    assert load_pipeline(str(folder), "cpu").transformer.num_parameters() > 0


@pytest.mark.parametrize("verbosity", [logging.ERROR, logging.WARNING, logging.INFO])
def test_made_up_weights_are_heard_of_at_any_verbosity_which_stays_as_it_was(verbosity: int):
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(verbosity)
    try:
        with made_up_weights() as said:
            transformers_logging.get_logger("transformers.x").warning("a was newly initialized")
            transformers_logging.get_logger("transformers.x").warning("b was not")
        assert said == ["a was newly initialized"]
        assert transformers_logging.get_verbosity() == verbosity
    finally:
        transformers_logging.set_verbosity(before)


@pytest.mark.parametrize("part", ["text_encoder", "transformer"])
def test_parts_of_two_models_are_a_sentence(tmp_path: Path, part: str):
    small, large = (
        ShapesPipeline.from_networks(build_networks(name)) for name in ("shapes-nano", "shapes-s")
    )
    small.save_pretrained(tmp_path)
    shutil.rmtree(tmp_path / part)
    getattr(large, part).save_pretrained(tmp_path / part)
    with pytest.raises(ModelError, match="do not fit together|is not a complete"):
        generate(
            load_pipeline(str(tmp_path), "cpu"),
            Request("a red circle moves left", steps=1),
            Recipe.of("dense"),
        )


@pytest.mark.parametrize("model", ["~nobody/model", "a\0b", "x" * 300, "~", "", ".", "model_index.json"])
def test_names_that_are_no_model_are_sentences(model: str):
    with pytest.raises(ModelError):
        load_pipeline(model, "cpu")
