"""Recipes from what a person types, the catalogue and the findings of doctor."""

import dataclasses

import pytest

from videosieve.errors import MetricError, RecipeError
from videosieve.generation.capabilities import examine
from videosieve.generation.catalogue import common_settings, describe_methods, describe_reuse
from videosieve.generation.machine import describe_machine, describe_versions
from videosieve.generation.recipes import make_recipe, make_recipes, parse_densities, parse_settings
from videosieve.methods import METHODS
from videosieve.metrics import METRICS


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


def test_the_catalogue_names_every_method_with_its_parameters():
    entries = {entry.name: entry for entry in describe_methods()}
    assert list(entries) == list(METHODS)
    assert "arXiv:2502.01776" in entries["svg"].paper
    assert "density=0.3" in entries["svg"].parameters
    assert entries["dense"].paper == ""
    assert "dense_steps=0.2" in common_settings()
    assert "arXiv:2408.12588" in describe_reuse().paper
    assert "reuse_range=2" in describe_reuse().parameters


def test_doctor_looks_at_everything_and_says_why_not():
    findings = examine()
    assert {finding.topic for finding in findings} == {"machine", "packages", "kernels", "metrics", "models"}
    ready = {finding.name for finding in findings if finding.ready}
    assert {"cpu", "torch", "ffmpeg", "block_sparse_attention / reference"} <= ready
    assert all(finding.detail for finding in findings if not finding.ready)


def test_doctor_lists_every_metric_and_why_one_is_missing(monkeypatch: pytest.MonkeyPatch):
    def missing(_: object) -> None:
        raise MetricError("no weights here")

    monkeypatch.setitem(METRICS, "lpips", dataclasses.replace(METRICS["lpips"], require=missing))
    found = {finding.name: finding for finding in examine() if finding.topic == "metrics"}
    assert list(found) == list(METRICS)
    assert (found["psnr"].ready, found["psnr"].detail) == (True, "higher is better")
    assert (found["lpips"].ready, found["lpips"].detail) == (False, "no weights here")


def test_doctor_has_a_sample_call_for_every_kernel():
    assert [finding.name for finding in examine() if "no sample call" in finding.detail] == []


def test_the_machine_is_described_in_words():
    import torch

    described = describe_machine(torch.device("cpu"))
    assert described["device"] == "cpu"
    assert all(described.values())
    assert {"videosieve", "torch", "diffusers", "python"} <= set(describe_versions())
