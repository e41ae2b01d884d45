"""Rows of your own, the recipe that a family begins with, and its frame rate."""

from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
import torch
from conftest import SPARSE, build  # type: ignore[import-not-found]
from torch import nn

import videosieve
from videosieve import plugins
from videosieve.errors import IntegrationError, PluginError, RecipeError
from videosieve.integrations.diffusers import (
    MODELS,
    describe,
    frame_rate_of,
    register_model,
    sparsify,
    start_of,
)
from videosieve.integrations.diffusers.models import find_named
from videosieve.integrations.transformers.recipes import FAMILIES
from videosieve.recipe import Recipe, bundled_recipes


@pytest.fixture
def models(monkeypatch):
    """The table, put back afterwards."""
    before = dict(MODELS)
    monkeypatch.setattr(plugins, "_done", set())
    yield MODELS
    MODELS.clear()
    MODELS.update(before)


ROW = replace(MODELS["WanTransformer3DModel"], name="WanOfMine", family="Mine", recipe="", like="")


def wan_of_mine():
    """A class of one's own whose modules are Wan's."""
    tiny = build("wan")
    cls = type(tiny.transformer)
    tiny.transformer.__class__ = type("WanOfMine", (cls,), {})
    return tiny


def test_a_row_of_ones_own_goes_before_that_of_the_class_it_inherits_from(models):
    tiny = wan_of_mine()
    assert describe(tiny.transformer)[0].row.family == "Wan"
    assert videosieve.register_model(ROW) is ROW
    assert describe(tiny.transformer)[0].row is ROW
    with sparsify(tiny.transformer, "svg", **SPARSE) as run:
        tiny()
    assert {record.action for record in run.trace.records} == {"sparse"}
    assert models["WanOfMine"] is register_model(ROW)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("WanOfMine", "must be a ModelRow, got 'WanOfMine'"),
        (replace(ROW, attentions="blocks.("), "is no regular expression"),
        (replace(ROW, sequence="lattice"), "must name how its sequence is built"),
        (replace(ROW, name="WanTransformer3DModel"), r"has a row already \(Wan\)"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(models, row, words):
    before = dict(models)
    with pytest.raises(PluginError, match=words):
        register_model(row)
    assert before == models


@pytest.mark.usefixtures("models")
def test_an_installed_package_brings_rows(monkeypatch):
    mine = type("WanOfMine", (nn.Module,), {})()
    with pytest.raises(IntegrationError, match="videosieve.register_model"):
        sparsify(mine, "svg")
    monkeypatch.setattr(plugins, "_done", set())
    point = EntryPoint("mine", f"{__name__}:ROW", "videosieve.models")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == point.group else [])
    with pytest.raises(IntegrationError, match="must have self-attentions with processors"):
        sparsify(mine, "svg")  # the row is known now, and its modules are asked for


@pytest.mark.parametrize("row", [row for row in MODELS.values() if not row.dense], ids=lambda row: row.family)
def test_every_family_begins_with_a_recipe_of_its_own_or_says_that_it_is_a_starting_point(row):
    recipe = start_of(row)
    if row.recipe:
        assert recipe.name == row.recipe
        assert recipe.family in (row.family, row.like)
        assert "starting_point" not in recipe.provenance
    else:
        assert (recipe.name, recipe.family) == ("sieve", "")
        assert row.family in recipe.provenance["starting_point"]


def test_without_a_recipe_the_family_s_own_is_taken():
    for recipe in (None, "auto"):
        with sparsify(build("wan").transformer, recipe, steps=4) as run:
            assert run.recipe.name == "svg-wan"
        with sparsify(build("allegro").transformer, recipe, steps=4, density=0.2) as run:
            assert (run.recipe.name, run.recipe.method.density) == ("sieve", 0.2)
            assert "Allegro" in run.recipe.provenance["starting_point"]


def test_a_starting_point_shares_its_selection_only_where_that_can_be():
    row = find_named("MotifVideoTransformer3DModel")
    assert start_of(row).shared_selection
    assert not start_of(row, shares=False).shared_selection
    told = start_of(row, shares=False).provenance["starting_point"]
    assert "each branch chooses for itself" in told
    assert "chooses" not in start_of(row).provenance["starting_point"]


def test_a_pipeline_with_a_recipe_of_its_own_begins_with_that():
    row = find_named("HunyuanVideoTransformer3DModel")
    own = type("Own", (), {"recipe": "radial"})
    assert start_of(row, own()).name == start_of(row, own).name == "radial"
    assert start_of(row, object()).name == "svg-hunyuanvideo"


def test_every_model_runs_with_the_recipe_that_it_begins_with(tiny):
    with sparsify(tiny.transformer, steps=2, dense_steps=0, dense_layers=0, min_tokens=0) as run:
        output = tiny()
    assert torch.isfinite(output).all()
    assert {record.action for record in run.trace.records} == {"sparse"}


def test_a_recipe_for_another_family_is_refused_unless_it_names_none():
    tiny = build("wan")
    with pytest.raises(
        RecipeError, match="'svg-cogvideox' was made for CogVideoX, and this is a Wan; take 'svg-wan'"
    ):
        sparsify(tiny.transformer, "svg-cogvideox", steps=4)
    with pytest.raises(RecipeError, match="made for Nobody, which is no family that is known here"):
        sparsify(tiny.transformer, Recipe.of("svg", family="Nobody"), steps=4)
    assert not tiny.transformer._forward_pre_hooks
    sparsify(tiny.transformer, Recipe.of("svg-cogvideox", family=""), steps=4).remove()


def test_families_with_the_same_blocks_share_recipes():
    sparsify(build("wan vace").transformer, "svg-wan", steps=4).remove()
    sparsify(build("consisid").transformer, "svg-cogvideox", steps=4).remove()
    with pytest.raises(RecipeError, match="made for HunyuanVideo"):
        sparsify(build("wan vace").transformer, "svg-hunyuanvideo", steps=4)


@pytest.mark.parametrize("name", [name for name in bundled_recipes() if "-" in name])
def test_bundled_recipes_for_a_model_name_its_family(name):
    recipe = Recipe.of(name)
    assert recipe.family.lower() == name.rpartition("-")[2]
    assert recipe.family in {row.family for row in MODELS.values()} | set(FAMILIES)


RATES = {
    "wan": 16,
    "cogvideox": 8,
    "cogvideox 1.5": 16,
    "cosmos": 30,
    "cosmos 2.5": 16,
    "allegro": 15,
    "skyreels": 24,
}


@pytest.mark.parametrize("name", RATES)
def test_frame_rates_are_those_of_the_family_and_its_variants(name):
    assert frame_rate_of(build(name).transformer) == RATES[name]


def test_a_pipeline_s_own_frame_rate_goes_before_its_family_s(nano):
    assert frame_rate_of(nano.transformer) == 24
    assert frame_rate_of(nano) == 8


UNKNOWN = {
    "UNetMotionModel": "attends within a frame and along time, never over both",
    "FluxTransformer2DModel": "makes images",
    "UNet2DConditionModel": "makes images",
    "StableAudioDiTModel": "makes sound",
    "SomethingElse": "has no video transformer that videosieve knows; it has transformer: SomethingElse",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_classes_without_a_row_get_a_reason_and_the_classes_that_work(name):
    with pytest.raises(IntegrationError, match=UNKNOWN[name]) as caught:
        sparsify(type(name, (nn.Module,), {})(), "svg")
    assert "Known: HunyuanVideoTransformer3DModel, " in str(caught.value)
    assert "Latte" not in str(caught.value)
