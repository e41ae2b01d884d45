"""What is known of a model before its weights are read: from a folder, from the hub's cache, or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from videosieve.errors import ModelError
from videosieve.generation import model_index
from videosieve.generation.load import load_pipeline
from videosieve.generation.model_index import frame_rate_for, require_sparse, resolve_recipe
from videosieve.generation.recipe_settings import make_recipe, make_recipes
from videosieve.recipe import Recipe


def index_of(pipeline: str, **parts: str) -> dict[str, Any]:
    return {"_class_name": pipeline, **{name: ["diffusers", cls] for name, cls in parts.items()}}


def write(folder: Path, index: dict[str, Any], config: dict[str, Any] | None = None) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index))
    if config is not None:
        (folder / "transformer").mkdir(exist_ok=True)
        (folder / "transformer" / "config.json").write_text(json.dumps(config))
    return str(folder)


LATTE = index_of("LattePipeline", transformer="LatteTransformer3DModel", vae="AutoencoderKL")
WAN = index_of("WanPipeline", transformer="WanTransformer3DModel", vae="AutoencoderKLWan")


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub cache in which the index of owner/latte is, and nothing else of it."""
    snapshot = tmp_path / "models--owner--latte" / "snapshots" / ("0" * 40)
    write(snapshot, LATTE)
    (tmp_path / "models--owner--latte" / "refs").mkdir()
    (tmp_path / "models--owner--latte" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model_index._from_hub.cache_clear()
    yield tmp_path
    model_index._from_hub.cache_clear()


WORDS = r"has a LatteTransformer3DModel: Latte attends within a frame and along time, .* can be made sparse"


def test_a_folder_whose_transformer_stays_dense_is_refused_before_its_weights(tmp_path: Path):
    with pytest.raises(ModelError, match=WORDS):
        load_pipeline(write(tmp_path / "latte", LATTE), device="cpu")


@pytest.mark.usefixtures("cached")
def test_a_hub_id_is_refused_from_its_index_alone():
    with pytest.raises(ModelError, match=f"^'owner/latte' {WORDS}"):
        load_pipeline("owner/latte", device="cpu")


def test_a_configuration_that_stays_dense_is_refused(tmp_path: Path):
    index = index_of("Kandinsky5T2VPipeline", transformer="Kandinsky5Transformer3DModel")
    require_sparse(write(tmp_path, index, {"attention_type": "regular"}))
    with pytest.raises(ModelError, match="already sparse"):
        require_sparse(write(tmp_path, index, {"attention_type": "nabla"}))


def test_a_unet_is_named_with_its_reason(tmp_path: Path):
    index = index_of("AnimateDiffPipeline", unet="UNetMotionModel", vae="AutoencoderKL")
    with pytest.raises(ModelError, match="UNetMotionModel attends within a frame and along time"):
        load_pipeline(write(tmp_path, index), device="cpu")


def test_a_second_transformer_keeps_a_pipeline_working(tmp_path: Path):
    both = index_of("Some", transformer="WanTransformer3DModel", other="LatteTransformer3DModel")
    require_sparse(write(tmp_path, both))


@pytest.mark.usefixtures("cached")
def test_what_cannot_be_read_is_not_refused():
    require_sparse("owner/unknown")
    assert frame_rate_for("owner/unknown") == 8
    with pytest.raises(
        ModelError, match="auto takes the recipe of the model's family, and which one 'owner/unknown'"
    ):
        make_recipe("auto", model="owner/unknown")


def test_auto_is_the_recipe_of_the_family(tmp_path: Path):
    wan = write(tmp_path / "wan", WAN)
    assert resolve_recipe("svg", wan) == "svg"
    assert make_recipe("auto", 0.2, model=wan) == Recipe.of("svg-wan", density=0.2)
    assert make_recipe("auto", model="shapes-s").name == "sieve"
    assert [recipe.name for recipe in make_recipes("auto,radial", model=wan)] == ["svg-wan", "radial"]
    allegro = index_of("AllegroPipeline", transformer="AllegroTransformer3DModel")
    assert "starting_point" in make_recipe("auto", model=write(tmp_path / "allegro", allegro)).provenance


def test_frame_rates_come_from_the_index_and_the_variant(tmp_path: Path):
    assert frame_rate_for(write(tmp_path / "wan", WAN, {"in_channels": 16})) == 16
    assert frame_rate_for(write(tmp_path / "ti2v", WAN, {"in_channels": 48})) == 24
    assert frame_rate_for(write(tmp_path / "shapes", index_of("ShapesPipeline"))) == 8
    assert frame_rate_for("shapes-m") == 8
