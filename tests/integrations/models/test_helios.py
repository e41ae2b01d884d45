"""Helios: three lengths of history before the video, chunk after chunk; text through cross-attention."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from sequence_claims import SPARSE, Claims, build, calls_of  # type: ignore[import-not-found]

from videosieve.integrations.diffusers import describe, sparsify
from videosieve.layout import Grid
from videosieve.testing.models.helios import CASES
from videosieve.testing.models.sequences import draw, lay


class TestWithHistory(Claims):
    case = CASES["helios"]


class TestFirstChunk(Claims):
    case = CASES["helios, first chunk"]


@pytest.fixture
def model():
    return build(CASES["helios"])


def test_changed_history_moves_no_video_row(model):
    """Values of the first layer depend on their own token only: long, mid and short history, in this order."""
    before = calls_of(model)[0][1]
    for name, rows in (("long", range(2)), ("mid", range(2, 8)), ("short", range(8, 48))):
        argument = f"latents_history_{name}"
        after = calls_of(model, **{argument: model.arguments[argument] + 1})[0][1]
        assert (before.v != after.v).any(dim=(0, 1, 3)).nonzero().flatten().tolist() == list(rows)
    assert before.layout.video.start == 48


def test_history_without_its_places_is_left_out_as_the_model_does(model):
    assert {call.layout for _, call in calls_of(model, indices_latents_history_long=None)} == {
        lay(extra_first=46)
    }


def test_amplified_history_keys_are_what_a_method_sees(model):
    """They are scaled before attention, so pooled keys and sampled rows have the scale as well."""
    before = calls_of(model)[0][1]
    first = next(iter(describe(model.transformer)[0].attentions.values()))
    with torch.no_grad():
        first.history_key_scale += 1
    after = calls_of(model)[0][1]
    moved = (before.k != after.k).any(dim=(0, 1, 3))
    assert moved.tolist() == [True] * 48 + [False] * 60


def test_every_stage_of_a_pyramid_is_a_generation_with_its_own_grid(model):
    """Each sets the scheduler's timesteps anew, at twice the size of the one before."""
    scheduler, layouts = FlowMatchEulerDiscreteScheduler(), []
    stages = [(1, 1), (2, 2)]
    with (
        sparsify(model.transformer, "svg", **(SPARSE | {"dense_steps": 1, "steps": None})) as run,
        torch.no_grad(),
    ):
        attend = run.attend
        run.attend = lambda call, owner="": (layouts.append(call.layout.grid), attend(call, owner))[1]
        for rows, columns in stages:
            scheduler.set_timesteps(2)
            for time in scheduler.timesteps:
                latents = draw(2, 4, 3, 10 * rows, 8 * columns)
                model(hidden_states=latents, timestep=time.expand(2))
                scheduler.step(latents, time, latents)
    assert list(dict.fromkeys(layouts)) == [Grid(3, 5, 4), Grid(3, 10, 8)]
    assert list(dict.fromkeys((r.generation, r.step, r.action) for r in run.trace.records)) == [
        (generation, step, "sparse" if step else "dense") for generation in (0, 1) for step in (0, 1)
    ]
