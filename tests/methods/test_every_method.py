"""What holds for all methods of the registry: their pages, recipes and tests exist; batches, bad numbers and memory."""

import math
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from videosieve import AttentionCall, Recipe, Site, VideoLayout
from videosieve.methods import METHODS, attend_selected, make_method
from videosieve.recipe import bundled_recipes
from videosieve.testing.factories import make_call

ROOT = Path(__file__).parents[2]
AIDS = {"dense", "spatial_only", "temporal_only", "oracle_top_k", "random_blocks"}
"""No papers: full attention, two ablations of one, two bounds."""
PAPERS = sorted(set(METHODS) - AIDS)
LAYOUT = VideoLayout.of(4, 8, 10, text_last=9)
every_paper = pytest.mark.parametrize("name", PAPERS)
every_method = pytest.mark.parametrize("name", sorted(set(METHODS) - {"dense"}))


def stem(name):
    return METHODS[name].__module__.split(".")[-1]


@every_paper
def test_a_method_has_its_paper_page_recipe_tests_and_rows(name):
    assert "arXiv:" in (sys.modules[METHODS[name].__module__].__doc__ or "")
    assert (ROOT / "tests/methods" / f"test_{stem(name)}.py").is_file()
    recipes = [recipe for recipe in map(Recipe.of, bundled_recipes()) if recipe.method.name == name]
    assert recipes
    assert all(recipe.provenance.get("source") for recipe in recipes)
    assert f"`{name}`" in (ROOT / "README.md").read_text("utf-8")
    index = (ROOT / "docs/methods/README.md").read_text("utf-8").splitlines()
    (row,) = [line for line in index if line.startswith(f"| `{name}` |")]
    page = re.search(rf"\[`{stem(name)}.py`\]\((\w+.md)\)", row)[1]
    assert re.search(r"\]\(https://arxiv.org/abs/[\d.]+\)", row)
    assert "https://arxiv.org/abs/" in (ROOT / "docs/methods" / page).read_text("utf-8")
    assert all(f"`{recipe.name}`" in row for recipe in recipes)
    benchmark = "benchmarks/prefill_rows.py" if name == "minference_causal" else "benchmarks/methods_rows.py"
    assert f'"{name}"' in (ROOT / benchmark).read_text("utf-8")


@every_method
def test_every_batch_element_gets_what_it_gets_alone(name):
    call = make_call(LAYOUT, batch=2, site=Site(0, 1, 20, 50))
    together = outputs(name, call)
    for b in range(2):
        alone = AttentionCall(*(x[b : b + 1] for x in (call.q, call.k, call.v)), LAYOUT, call.site)
        torch.testing.assert_close(outputs(name, alone)[0], together[b])


def outputs(name, call):
    method = make_method(name)
    selection, state = method.select(call, None)
    result = attend_selected(call, selection)
    state = method.observe(call, result, state)
    return attend_selected(call, method.select(call, state)[0]).output


@every_method
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, math.nan, math.inf])
def test_constant_and_unreal_inputs_leave_no_query_without_keys(name, value):
    call = make_call(LAYOUT)
    call.q.fill_(value)
    if value == 1.0:
        call.k.fill_(value)
    selection, state = make_method(name).select(call, None)
    assert selection.mask.keep.any(-1)[expand_sizes(selection.mask) > 0].all()
    if math.isfinite(value):
        result = attend_selected(call, selection)
        assert result.output.isfinite().all()
        selection, _ = make_method(name).select(call, make_method(name).observe(call, result, state))
        assert attend_selected(call, selection).output.isfinite().all()


def expand_sizes(mask):
    return mask.query_sizes.expand(mask.keep.shape[:-1])


@every_method
def test_a_selection_leaves_the_call_as_it_was(name):
    call = make_call(LAYOUT)
    before = [x.clone() for x in (call.q, call.k, call.v)]
    make_method(name).select(call, None)
    assert all(torch.equal(x, y) for x, y in zip((call.q, call.k, call.v), before, strict=True))


def test_the_example_that_adds_a_method_runs_and_is_short(capsys):
    path = ROOT / "examples" / "add_a_method.py"
    code = path.read_text("utf-8").split('"""')[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        METHODS.pop("long_keys", None)
    assert "output [1, 4, 8256, 64], density 0.2" in capsys.readouterr().out


LONG = """
import sys, torch
from videosieve import AttentionCall, Site, VideoLayout
from videosieve.methods import make_method
layout = VideoLayout.of(33, 45, 80, text_last=256)
q, k, v = torch.randn(3, 1, 2, layout.tokens, 64, dtype=torch.bfloat16)
parameters = {"svg2": {"first_iterations": 1}, "xattention": {"stride": 16}}.get(sys.argv[1], {})
call = AttentionCall(q, k, v, layout, Site(0, 1, 20, 50))
selection, _ = make_method(sys.argv[1], **parameters).select(call, None)
assert max(selection.mask.keep.shape) < 5000
from videosieve.testing.peak import peak_resident_gib
print(peak_resident_gib())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PAPERS) | {"spatial_only", "temporal_only", "random_blocks"}))
def test_selecting_at_119056_tokens_needs_less_than_two_gib(name):
    run = subprocess.run([sys.executable, "-c", LONG, name], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 2
