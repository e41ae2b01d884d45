"""Recipes from what a person types."""

import pytest

from videosieve.errors import RecipeError
from videosieve.generation.recipe_settings import make_recipe, make_recipes, parse_densities, parse_settings


def test_settings_find_their_types():
    values = parse_settings(["a=1", "b=0.5", "c=true", "d=official", "e = x=y"])
    assert values == {"a": 1, "b": 0.5, "c": True, "d": "official", "e": "x=y"}
    assert [type(value) for value in values.values()] == [int, float, bool, str, str]
    assert parse_settings(["a=[0.2, 6]", 'b=["x", "y"]']) == {"a": [0.2, 6], "b": ["x", "y"]}


def test_a_list_that_cannot_be_read_is_refused():
    with pytest.raises(RecipeError, match=r"a list is written \[0.2, 0.6\] or .*, got '\[0.2; 0.6\]'"):
        parse_settings(["search_steps=[0.2; 0.6]"])


def test_a_list_reaches_the_method():
    assert make_recipe("adaspa", settings=["search_steps=[0.1, 20]"]).method.search_steps == (0.1, 20)


@pytest.mark.parametrize("setting", ["density", "=3", ""])
def test_settings_without_a_key_are_refused(setting: str):
    with pytest.raises(RecipeError, match="key=value"):
        parse_settings([setting])


def test_nothing_is_given_twice():
    with pytest.raises(RecipeError, match="given twice"):
        parse_settings(["a=1", "a=2"])
    with pytest.raises(RecipeError, match="give the density once"):
        make_recipe("svg", 0.3, ["density=0.4"])


def test_overrides_reach_every_method_but_dense():
    dense, svg, spatial = make_recipes("dense, svg,spatial_only", 0.4, ["min_tokens=7"])
    assert dense.is_dense
    assert (svg.method.density, svg.min_tokens) == (0.4, 7)
    assert (spatial.method.density, spatial.min_tokens) == (0.4, 7)


def test_a_density_goes_to_sparse_methods_and_not_to_output_reuse():
    svg, pab = make_recipes("svg,pab", 0.4, ["reuse_range=3"])
    assert svg.method.density == 0.4
    assert svg.schedule.parts[1] == pab.schedule
    assert pab.schedule.range == 3


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean"):
        make_recipes("svg,spatial_onyl")
    with pytest.raises(RecipeError, match="at least one method"):
        make_recipes(" , ")


def test_densities_are_sorted_numbers():
    assert parse_densities("0.5, 0.2,1") == [0.2, 0.5, 1.0]


@pytest.mark.parametrize("text", ["0.5", "0.2,0.2", "0,0.5", "0.5,2", "a,b", "", "nan,0.5"])
def test_densities_outside_the_range_are_refused(text: str):
    with pytest.raises(RecipeError, match="densities must be"):
        parse_densities(text)


def test_a_causal_method_is_refused_before_a_model_is_loaded():
    with pytest.raises(RecipeError, match="'minference_causal' is causal"):
        make_recipe("minference_causal")
    with pytest.raises(RecipeError, match="leave causal out"):
        make_recipe("xattention", settings=["causal=true"])
