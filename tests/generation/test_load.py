"""Finding a model, a device and a dtype; every refusal is one line with a way out."""

from pathlib import Path
from typing import Any

import pytest
import torch

from videosieve.errors import ModelError, PromptError
from videosieve.generation import load


@pytest.fixture(scope="module")
def nano_folder(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    nano.save_pretrained(folder)
    return folder


def write_index(folder: Path, text: str) -> Path:
    (folder / "model_index.json").write_text(text)
    return folder


def test_a_saved_pipeline_is_loaded_with_its_dtype(nano_folder: Path):
    pipe = load.load_pipeline(str(nano_folder), device="cpu", dtype="bfloat16")
    assert type(pipe).__name__ == "ShapesPipeline"
    assert pipe.transformer.dtype == torch.bfloat16


def test_loading_leaves_the_progress_bars_of_diffusers_as_they_were(nano_folder: Path):
    from diffusers.utils import logging

    before = logging.is_progress_bar_enabled(), logging.get_verbosity()
    load.load_pipeline(str(nano_folder), device="cpu")
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == before


def test_shapes_models_are_known_by_name_and_by_folder(nano_folder: Path, tmp_path: Path):
    assert load.is_shapes("shapes")
    assert load.is_shapes("shapes-s")
    assert load.is_shapes(str(nano_folder))
    assert not load.is_shapes("owner/shapes")
    assert not load.is_shapes(str(write_index(tmp_path, '{"_class_name": "WanPipeline"}')))


def test_words_are_checked_without_loading():
    load.check_words("shapes-s", "a red circle moves left", "")
    load.check_words("owner/name", "an elephant")
    with pytest.raises(PromptError, match="elephant"):
        load.check_words("shapes-s", "a red elephant")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "no readable model_index.json"),
        ("{", "damaged"),
        ("{}", "damaged"),
        ("[]", "damaged"),
        ('{"_class_name": "NoSuchPipeline"}', "which diffusers .* lacks"),
        ('{"_class_name": "StableDiffusionPipeline"}', "makes no video"),
        (
            '{"_class_name": "WanPipeline", "vae": ["diffusers", "AutoencoderKLWan"]}',
            "cannot load the pipeline",
        ),
    ],
)
def test_folders_without_a_video_pipeline_are_refused(tmp_path: Path, index: str | None, message: str):
    if index is not None:
        write_index(tmp_path, index)
    with pytest.raises(ModelError, match=message):
        load.load_pipeline(str(tmp_path), device="cpu")


@pytest.mark.parametrize("model", ["nowhere", "./missing", "a/b/c"])
def test_missing_folders_are_refused(model: str):
    with pytest.raises(ModelError, match="is not here: give shapes-s, a folder"):
        load.load_pipeline(model, device="cpu")


def test_a_hub_model_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch):
    from diffusers import DiffusionPipeline

    def fail(*_: object, **__: object) -> None:
        raise OSError("Cannot load model owner/name\nno network (traceback follows)")

    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", fail)
    with pytest.raises(ModelError, match="check the name and the network") as caught:
        load.load_pipeline("owner/name", device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["gpu", "xpu", "", "cuda:first"])
def test_unknown_devices_are_refused(device: str):
    with pytest.raises(ModelError, match="device must be cpu, cuda"):
        load.check_device(device)


def test_devices_that_are_not_here_are_refused():
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ModelError, match="is not in this machine .* there is 1 × cpu"):
        load.check_device(missing)


def test_defaults_fit_the_device():
    assert load.check_device("cpu") == torch.device("cpu")
    assert load.check_dtype(None, torch.device("cpu")) == torch.float32
    assert load.check_dtype(None, torch.device("cuda")) == torch.bfloat16
    with pytest.raises(ModelError, match="dtype must be one of float32"):
        load.check_dtype("int8", torch.device("cpu"))
