from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videosieve import Dense, DenseFirst, OutputError, Recipe, RecipeError, SparseVideoGen
from videosieve.methods import METHODS
from videosieve.recipe import bundled_recipes


def test_a_name_is_a_bundled_recipe_or_a_method():
    assert Recipe.of("svg").schedule == DenseFirst(steps=0.2, layers=0)
    assert isinstance(Recipe.of("svg").method, SparseVideoGen)
    assert Recipe.of("dense").is_dense


@pytest.mark.parametrize("name", bundled_recipes())
def test_every_bundled_recipe_loads_and_says_where_it_comes_from(name: str):
    recipe = Recipe.of(name)
    assert recipe.name == name
    assert recipe.provenance["source"]


@given(
    density=st.floats(0.01, 1.0),
    steps=st.one_of(st.integers(0, 50), st.floats(0, 1)),
    layers=st.one_of(st.integers(0, 50), st.floats(0, 1)),
    note=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
)
def test_toml_reads_back_to_an_equal_recipe(density, steps, layers, note):
    recipe = Recipe(SparseVideoGen(density=density), DenseFirst(steps, layers), "mine", 64, {"note": note})
    back = Recipe.from_toml(recipe.to_toml())
    assert back == recipe
    assert type(back.schedule.steps) is type(steps)


def test_save_and_load(tmp_path: Path):
    recipe = Recipe.of("svg-wan")
    recipe.save(tmp_path / "r.toml")
    assert Recipe.of(tmp_path / "r.toml") == recipe
    assert Recipe.of(str(tmp_path / "r.toml")) == recipe


def test_overrides_reach_method_and_schedule():
    recipe = Recipe.of("svg", density=0.5, dense_steps=3, dense_layers=0.5, min_tokens=9)
    assert recipe.method == SparseVideoGen(density=0.5)
    assert recipe.schedule == DenseFirst(3, 0.5)
    assert recipe.min_tokens == 9
    assert Recipe.of("svg").method == SparseVideoGen(density=0.3), "the bundled recipe must not change"


def test_a_method_object_is_a_recipe_with_the_default_schedule():
    assert Recipe.of(SparseVideoGen(density=0.4)) == Recipe(SparseVideoGen(density=0.4))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("swg", {}, "unknown method or recipe 'swg' .did you mean 'svg'"),
        ("svg", {"densty": 0.3}, "no option 'densty' .did you mean 'density'"),
        ("svg", {"density": 0.0}, "density"),
        ("svg", {"density": 1.5}, "density"),
        ("svg", {"min_tokens": -1}, "min_tokens"),
        ("dense", {"density": 0.3}, "no option 'density'"),
        ("dense", {"kernel": "nonsense"}, "no kernel 'nonsense'; there are flash-attn-3, .*reference"),
        ("missing.toml", {}, "cannot read recipe 'missing.toml'"),
    ],
)
def test_bad_requests_are_refused(source, options, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.of(source, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nam = 'x'\n[method]\nname = 'svg'", "no key 'nam' .did you mean 'name'"),
        ("[method]\nname = 'svg'\ndensiti = 0.3", "no parameter 'densiti' .did you mean 'density'"),
        ("[method]\nname = 'svg'\n[schedule]\nsteps = 3", r"\[schedule\] has no key 'steps'"),
        ("[method]\ndensity = 0.3", r"\[method\] needs a name"),
        ("method = 'svg'", r"\[method\] must be a table"),
        ("[method", "not valid TOML"),
    ],
)
def test_bad_files_are_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.from_toml(text)


def test_an_unwritable_path_is_an_output_error(tmp_path: Path):
    with pytest.raises(OutputError, match=r"cannot write .*r\.toml"):
        Recipe(Dense()).save(tmp_path / "missing" / "r.toml")


def test_compensation_is_an_option_of_every_recipe_that_leaves_blocks_out(tmp_path: Path):
    recipe = Recipe.of("svg", compensate="centroids")
    assert recipe.compensate == "centroids"
    assert Recipe.of("svg").compensate == "none"
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert "compensate" not in Recipe.of("svg").to_toml()
    for name in set(METHODS) - {"dense", "window_residual", "minference_causal"}:
        assert Recipe.of(name, compensate="centroids").override(compensate="none").compensate == "none"


@pytest.mark.parametrize(
    ("source", "value", "message"),
    [
        ("svg", "means", "compensate must be 'none', 'centroids' or 'tangents', got compensate='means'"),
        ("svg", True, "compensate must be 'none', 'centroids' or 'tangents', got compensate=True"),
        ("dense", "centroids", "'dense' leaves none"),
        ("window_residual", "centroids", "'window_residual' does so in its own way"),
        ("minference_causal", "centroids", "'minference_causal' keeps single keys"),
    ],
)
def test_compensation_that_makes_no_sense_is_refused(source, value, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.of(source, compensate=value)
