"""DiTFastAttn in pipelines: plans with window steps, shared branches, and the search for a plan."""

import pytest
import torch

from videosieve import IntegrationError, Recipe, RecipeError, VideoLayout
from videosieve.integrations.diffusers import sparsify
from videosieve.integrations.diffusers.ditfastattn_search import plan_loss, search_plan
from videosieve.methods.window_residual import WindowResidual
from videosieve.planning.reuse_memory import reuse_memory
from videosieve.schedule import Table
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
    wan_call,
)

METHOD = WindowResidual(2, block=4)
CALLS = {
    "wan": (tiny_wan, wan_call),
    "cogvideox": (tiny_cogvideox, cogvideox_call),
    "hunyuanvideo": (tiny_hunyuanvideo, hunyuanvideo_call),
}


def make(name):
    build, call = CALLS[name]
    pipe = build()
    pipe.set_progress_bar_config(disable=True)
    return pipe, lambda **changes: call(num_inference_steps=4, **changes)


def recipe(*rows, method=METHOD):
    return Recipe(method, Table(rows), min_tokens=0)


def outputs_at(pipe, arguments, step, plan):
    """The transformer's outputs at one step under a plan."""
    seen = []
    with sparsify(pipe, plan, recall_rows=0) as run:
        steps = []

        def note(module, args, output):
            steps.append(run.trace.records[-1].step)
            seen.append(output[0])

        handle = pipe.transformer.register_forward_hook(note)
        pipe(**arguments)
        handle.remove()
    return [output for output, at in zip(seen, steps, strict=True) if at == step]


@pytest.mark.parametrize("name", CALLS)
def test_a_plan_runs_its_letters(name):
    pipe, arguments = make(name)
    with sparsify(pipe, recipe("FF", "WF", "AW", "WA")) as run:
        first = pipe(**arguments()).frames
        assert torch.equal(pipe(**arguments()).frames, first)
        assert run.memory().states > 0
    names = {"dense": "F", "sparse": "W", "reuse": "A"}
    letters = {(r.step, r.layer): names[r.action] for r in run.trace.records}
    assert ["".join(letters[step, layer] for layer in range(2)) for step in range(4)] == [
        "FF",
        "WF",
        "AW",
        "WA",
    ]
    assert {r.reason for r in run.trace.records if r.action == "dense"} == {"full in the plan"}


@pytest.mark.parametrize("name", ["wan", "cogvideox"])
def test_with_equal_branches_sharing_changes_nothing(name):
    pipe, arguments = make(name)
    same = {"negative_prompt": "a red cat runs"}
    with sparsify(pipe, recipe("FF", "WF", "FW", "WA")):
        expected = pipe(**arguments(**same)).frames
        different = pipe(**arguments()).frames
    with sparsify(pipe, recipe("FF", "wF", "fw", "WA")) as run:
        torch.testing.assert_close(pipe(**arguments(**same)).frames, expected, rtol=0, atol=5e-5)
        other = pipe(**arguments()).frames
    assert (other - different).abs().max() > 1e-6
    assert run.summary().reused_calls > 0


def test_the_conditional_residual_serves_the_branch_that_shared_it():
    """Step 1 is shared full attention; at step 2 both branches add the residual of the conditional one."""
    pipe, arguments = make("wan")
    with sparsify(pipe, recipe("FF", "ff", "WW", "FF")) as run:
        states = {}

        def look(module, args, output):
            if run.trace.records[-1].step == 1:
                states.update(run.states())

        handle = pipe.transformer.register_forward_hook(look)
        pipe(**arguments())
        handle.remove()
    for layer in range(2):
        assert states["transformer", layer, "uncond"] is states["transformer", layer, "cond"]
        assert states["transformer", layer, "cond"].step == 1


def test_the_residuals_are_told_before_the_run():
    pipe, arguments = make("wan")
    plan = recipe("FF", "WF", "AF", "WF")
    told = reuse_memory(pipe, plan, VideoLayout.of(3, 2, 3), steps=4, branches=2)
    one = 18 * 32 * 4 * 2
    assert told == {"attention": one, "residual": one}
    with sparsify(pipe, plan) as run:
        pipe(**arguments())
        assert (run.memory().states, run.memory().peak_outputs) == (one, one)


def test_the_loss_is_the_formula():
    a = [torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.tensor([[4.0]])]
    b = [torch.tensor([[2.0, -1.0], [0.5, -3.0]]), torch.tensor([[1.0]])]
    first = (1 / (2 + 1e-6) + 1 / (1 - 1e-6) + 0 + 6 / (3 + 1e-6)) / 4  # |(−2 + 1) / max(−2, −1)| is 1, not 0
    assert plan_loss(a, b) == pytest.approx((first + 3 / (4 + 1e-6)) / 2, rel=1e-5)
    assert plan_loss([torch.tensor([1e-9])], [torch.tensor([-1.0])]) == 10.0
    assert plan_loss([torch.tensor([-1e-9])], [torch.tensor([-1.0])]) == 10.0


def test_the_loss_sees_an_error_whatever_the_signs():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    for sign in (values.abs(), -values.abs()):  # all above zero, all below
        assert plan_loss([sign], [sign * 1.5]) == pytest.approx(
            0.5 / (1.5 if sign.sum() > 0 else 1.0), rel=1e-3
        )


def greedy(pipe, arguments, layers, steps, candidates, delta):
    """The search as loops over whole pipeline runs, through public doors only."""
    rows = ["F" * layers]
    for step in range(1, steps):
        rest = ["F" * layers] * (steps - step - 1)
        full = outputs_at(pipe, arguments(), step, recipe(*rows, "F" * layers, *rest))
        row = ""
        for layer in range(layers):
            for letter in candidates:
                trial = (row + letter).ljust(layers, "F")
                output = outputs_at(pipe, arguments(), step, recipe(*rows, trial, *rest))
                if plan_loss(full, output) < (layer + 1) / layers * delta:
                    break
            else:
                letter = "F"
            row += letter
        rows.append(row)
    return tuple(rows)


@pytest.mark.parametrize(("name", "delta"), [("wan", 0.004), ("cogvideox", 0.02), ("hunyuanvideo", 0.02)])
def test_the_search_is_the_greedy_one_written_as_whole_runs(name, delta):
    pipe, arguments = make(name)
    candidates = "AW" if name == "hunyuanvideo" else "AwWf"
    found = search_plan(pipe, arguments, delta=delta, method=METHOD, min_tokens=0)
    assert found.schedule.rows == greedy(pipe, arguments, 2, 4, candidates, delta)
    assert len({letter for row in found.schedule.rows[1:] for letter in row}) > 1, found.schedule.rows


def test_a_found_plan_is_saved_and_loaded_as_a_recipe(tmp_path):
    pipe, arguments = make("wan")
    before = pipe(**arguments()).frames
    seen = []
    found = search_plan(
        pipe, arguments, delta=10.0, method=METHOD, min_tokens=0, progress=lambda *at: seen.append(at)
    )
    assert found.schedule.rows == ("FF", "AA", "AA", "AA")
    assert seen == [(1, 4), (2, 4), (3, 4)]
    assert torch.equal(pipe(**arguments()).frames, before)  # the search leaves nothing behind
    found.save(tmp_path / "plan.toml")
    loaded = Recipe.load(tmp_path / "plan.toml")
    assert loaded == found
    with sparsify(pipe, tmp_path / "plan.toml") as run:
        pipe(**arguments())
    assert run.summary().run_density == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"delta": 0}, RecipeError, "must be > 0, got 0"),
        ({"delta": float("nan")}, RecipeError, "must be > 0, got nan"),
        ({"delta": True}, RecipeError, "got True"),
    ],
)
def test_bad_values_are_refused(options, error, message):
    pipe, arguments = make("wan")
    with pytest.raises(error, match=message):
        search_plan(pipe, arguments, **options)


def test_two_transformers_are_refused():
    pipe = tiny_wan(two=True)
    with pytest.raises(IntegrationError, match="one transformer, got 2"):
        search_plan(pipe, wan_call)
