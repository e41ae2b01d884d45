"""The table of all methods: nobody is left out, knobs are found, what is measured is what is said."""

import json
from dataclasses import asdict

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.methods import table
from benchmarks.methods_figure import draw
from benchmarks.methods_rows import KNOBS, OPTIONS, Bench, Probe, Row, calibrate
from benchmarks.rows import read_rows
from videosieve import DenseFirst, Recipe, Run, VideoLayout
from videosieve.methods import METHODS, attend_selected, make_method
from videosieve.metrics import relative_l1
from videosieve.testing.factories import make_call

VIDEO = {name for name in METHODS if not make_method(name).is_causal} - {"dense"}


def test_every_method_has_a_row_and_a_knob():
    assert set(OPTIONS) >= VIDEO
    for name in VIDEO:
        options = OPTIONS[name]
        knob = KNOBS.get(name, "density")
        low, high = (make_method(name, **options | {knob: value}) for value in (0.3, 0.9))
        call = make_call(VideoLayout.of(16, 8, 8, text_last=24))
        selected = [method.select(call, None)[0].mask.density for method in (low, high)]
        first_is_full = {"adaspa", "window_residual"}
        assert selected[0] < selected[1] or name in first_is_full


def test_what_stands_behind_a_plus_is_an_option_of_the_recipe():
    bench = Bench.__new__(Bench)
    shared = bench.recipe("sieve+shared", 0.3)
    assert shared.shared_selection
    assert shared.method == bench.recipe("sieve", 0.3).method
    recipe = bench.recipe("svg+centroids", 0.3)
    assert (recipe.method, recipe.compensate, recipe.shared_selection) == (
        make_method("svg", density=0.3, block=32),
        "centroids",
        False,
    )
    assert {name.split("+")[0] for name in OPTIONS} == VIDEO


def test_a_probe_of_a_compensated_recipe_judges_what_is_compensated():
    call = make_call(VideoLayout.of(4, 8, 8))
    method = make_method("random_blocks", density=0.5, block=16)
    errors = []
    for compensate in (False, True):
        probe = Probe(method, compensate)
        Run(Recipe(probe, DenseFirst(0, 0), min_tokens=0)).attend(call)
        errors.append(probe.seen[0])
    assert errors[0][0] == pytest.approx(errors[1][0])  # recall counts what was computed
    assert errors[0][1] != pytest.approx(errors[1][1])


@pytest.mark.parametrize("target", [0.2, 0.5, 0.93])
@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_a_knob_is_found_whatever_the_curve(target, power):
    tried = []
    knob, density = calibrate(lambda value: tried.append(value) or value**power, target)
    assert density == knob**power
    assert abs(density - target) < 0.03
    assert len(tried) <= 7


def test_a_target_out_of_reach_gives_the_nearest():
    assert calibrate(lambda knob: 0.4 + knob / 10, 0.2)[1] < 0.402


def test_a_probe_judges_on_the_dense_trajectory():
    call = make_call(VideoLayout.of(4, 8, 8))
    method = make_method("random_blocks", density=0.5, block=16)
    probe = Probe(method)
    output = Run(Recipe(probe, DenseFirst(0, 0), min_tokens=0)).attend(call)
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    torch.testing.assert_close(output, dense)
    result = attend_selected(call, method.select(call, None)[0])
    weights = (call.q @ call.k.mT * call.scale).softmax(-1)
    kept = float((weights * result.mask.to_dense()).sum(-1).mean())
    assert probe.seen == [
        (pytest.approx(kept, abs=1e-5), pytest.approx(relative_l1(result.output, dense), abs=1e-4))
    ]


def test_a_probe_passes_states_on_and_skips_full_searches():
    call = make_call(VideoLayout.of(4, 8, 8))
    probe = Probe(make_method("adaspa", density=0.3, block=16))
    run = Run(Recipe(probe, DenseFirst(0, 0), min_tokens=0))
    run.attend(call)
    assert probe.seen == []
    run.attend(call)
    assert len(probe.seen) == 1


def rows():
    row = Row("svg", 0.3, 0.2, 0.31, 0.22, 0.8, 0.79, 0.1, 25.0, 0.9, 0.5, 32, 1.0, 1.2)
    return [asdict(row), asdict(row) | {"method": "random_blocks", "psnr": 20.0}]


def test_the_table_is_ordered_by_fidelity_and_drawn(tmp_path):
    text = table(rows()[::-1], 0.75)
    assert text.index("`svg`") < text.index("`random_blocks`")
    assert "| 0.3 | `svg` | 0.310 | 0.790 | 0.100 | 25.00 | 0.900 | 0.50 | 1.20 |" in text
    draw({"rows": rows()}, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text().count("<svg") == 1


def test_results_go_on_only_under_the_same_settings(tmp_path):
    path = tmp_path / "methods.json"
    assert read_rows(path, {"prompts": 2})["rows"] == []
    path.write_text(json.dumps({"settings": {"prompts": 2}, "rows": rows()}))
    assert read_rows(path, {"prompts": 2})["rows"] == rows()
    with pytest.raises(SystemExit, match="was made with"):
        read_rows(path, {"prompts": 16})
