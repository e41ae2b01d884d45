"""Framepack: history before the video in three lengths, image and text behind it, section after section."""

import pytest
import torch
from sequence_claims import SPARSE, Claims, build, calls_of  # type: ignore[import-not-found]

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import sparsify
from videosieve.methods import Dense
from videosieve.recipe import Recipe
from videosieve.schedule import Table
from videosieve.testing.models.framepack import CASES, PIPELINE_HISTORY, pipeline_call, tiny_pipeline
from videosieve.testing.models.sequences import draw, lay
from videosieve.testing.tolerances import assert_within


class TestOnePrompt(Claims):
    case = CASES["framepack"]


class TestTwoPrompts(Claims):
    case = CASES["framepack, two prompts"]


@pytest.fixture
def model():
    return build(CASES["framepack"])


def test_history_is_in_the_sequence_as_it_is_handed_over(model):
    """Whatever its length: 16 frames at a quarter of the size, as in the released models."""
    longer = {"latents_history_4x": draw(1, 4, 16, 10, 8), "indices_latents_history_4x": torch.arange(16)}
    assert {call.layout for _, call in calls_of(model, **longer)} == {
        lay(extra_first=8 + 6 + 40, text_last=9)
    }


def test_changed_history_moves_no_video_row(model):
    """Values of the first layer depend on their own token only: what moves lies before the video."""
    before = calls_of(model)[0][1]
    for name, rows in (("4x", range(2)), ("2x", range(2, 8))):
        changed = {f"latents_history_{name}": model.arguments[f"latents_history_{name}"] + 1}
        after = calls_of(model, **changed)[0][1]
        assert (before.v != after.v).any(dim=(0, 1, 3)).nonzero().flatten().tolist() == list(rows)
    after = calls_of(model, latents_clean=model.arguments["latents_clean"] + 1)[0][1]
    assert (before.v != after.v).any(dim=(0, 1, 3)).nonzero().flatten().tolist() == list(range(8, 48))
    assert before.layout.video.start == 48


@pytest.mark.parametrize("name", CASES)
def test_fused_norms_and_rotations_differ_by_rounding(name):
    """Rotary positions cover history and video; text has none."""
    model = build(CASES[name])
    with sparsify(model.transformer, "dense", fused=True):
        fused = model()
    assert_within(fused, model(), model.double(), "output")
    with sparsify(model.transformer, "svg", fused=True, **SPARSE) as run:
        model()
    assert {r.action for r in run.trace.records} == {"sparse"}


def test_guidance_branches_share_no_outputs(model):
    with pytest.raises(IntegrationError, match="cannot share attention outputs"):
        sparsify(model.transformer, Recipe(Dense(), Table(("FFF", "fFF"))), steps=2)


@pytest.mark.parametrize("true_cfg", [False, True])
def test_every_section_of_the_pipeline_is_a_generation_with_the_planned_steps(true_cfg):
    pipe = tiny_pipeline()
    untouched = pipe(**pipeline_call(true_cfg)).frames
    with sparsify(pipe, "svg", **(SPARSE | {"dense_steps": 1, "steps": None})) as run:
        run.trace.keep = "all"
        layouts, attend = [], run.attend
        run.attend = lambda call, owner="": (layouts.append(call.layout), attend(call, owner))[1]
        videos = [pipe(**pipeline_call(true_cfg)).frames for _ in range(2)]
    for one, other in zip(*videos, strict=True):
        assert torch.equal(one, other)
    assert not torch.allclose(videos[0][-1], untouched[-1], atol=1e-3)
    branches = ("cond", "uncond") if true_cfg else ("cond",)
    assert list(dict.fromkeys((r.generation, r.step, r.branch, r.action) for r in run.trace.records)) == [
        (section, step, branch, "sparse" if step else "dense")
        for section in range(4)  # two generations of two sections
        for step in range(3)
        for branch in branches
    ]
    expected = [lay(extra_first=PIPELINE_HISTORY, text_last=4 + text) for text in (5, 2)[: len(branches)]]
    assert list(dict.fromkeys(layouts)) == expected
    for one, other in zip(pipe(**pipeline_call(true_cfg)).frames, untouched, strict=True):
        assert torch.equal(one, other)
