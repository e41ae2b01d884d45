"""LTX-Video and LTX-2: what is special about them, and their pipelines."""

import diffusers
import pytest
import torch

from videosieve.integrations.diffusers import sparsify
from videosieve.integrations.diffusers.models.sequences.meshes import find_grid
from videosieve.layout import Grid, VideoLayout
from videosieve.testing.models import ltx as of_ltx
from videosieve.testing.models.forwards import sequence
from videosieve.testing.models.pipelines.ltx import ltx2_call, ltx_call, tiny_ltx, tiny_ltx2

SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 0, "dense_layers": 0, "block": 8}
has_ltx2 = pytest.mark.skipif(
    not hasattr(diffusers, "LTX2VideoTransformer3DModel"), reason="this diffusers has no LTX-2"
)


def reasons(given, **changes):
    """Why the calls of a forward were dense; the outputs are those of the untouched model."""
    untouched = given.run(**changes)
    with pytest.warns(UserWarning, match="nothing was sparse"), sparsify(given.model, "svg", **SPARSE) as run:
        outputs = given.run(**changes)
    for one, other in zip(outputs, untouched, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
    return run.summary().dense_reasons


def seen(pipe, call, **options):
    """Step, branch, layer and action of every call, and the layouts that the recipe was given."""
    layouts = set()
    with sparsify(pipe, "svg", **{**SPARSE, **options}) as run:
        attend = run.attend
        run.attend = lambda call, owner="": (layouts.add(call.layout), attend(call, owner))[1]
        pipe(**call)
    assert set(run.summary().dense_reasons) <= {"warm-up"}
    return [(r.step, r.branch, r.layer, r.action) for r in run.trace.records], layouts


def test_coordinates_without_a_video_leave_the_forward_dense():
    given = of_ltx.ltx_condition()
    still = torch.zeros_like(given.inputs["video_coords"])
    (reason,) = reasons(given, video_coords=still)
    assert "no video in 120 tokens" in reason


def test_frames_of_the_window_before_are_no_part_of_the_video():
    """As the long multi-prompt pipeline makes its coordinates: window of 4, 2 frames before, 1 of negative time."""
    module = "pipelines.ltx.pipeline_ltx_i2v_long_multi_prompt"
    long = pytest.importorskip(f"diffusers.{module}")
    latents = torch.empty(1, 4, 7, 4, 6)
    coordinates = long.build_video_coords_for_window(latents, 2, 0, 1, (8, 32, 32), 24)
    assert find_grid(coordinates[0].T.double()) == (Grid(4, 4, 6), 0)


@has_ltx2
def test_a_tile_of_the_video_stays_dense():
    given = of_ltx.ltx2()
    coordinates = given.model.rope.prepare_video_coords(2, 3, 4, 6, torch.device("cpu"))
    tile = {"hidden_states": given.inputs["hidden_states"][:, :48], "video_coords": coordinates[:, :, :48]}
    (reason,) = reasons(given, **tile)
    assert reason == "a tile of 48 tokens of the 72 of 3×4×6"


@has_ltx2
def test_a_forward_without_numbers_stays_dense():
    """The distilled frame-rate pipelines call the model so, whole and in tiles."""
    given = of_ltx.ltx2()
    coordinates = given.model.rope.prepare_video_coords(2, 3, 4, 6, torch.device("cpu"))
    (reason,) = reasons(given, video_coords=coordinates, num_frames=None, height=None, width=None)
    assert "names no num_frames" in reason


@has_ltx2
def test_references_below_full_strength_stay_dense_and_at_full_strength_sparse():
    given = of_ltx.ltx2_keyframes()
    mask = torch.ones(2, 96, 96)
    mask[:, :72, 72:] = 0.5
    (reason,) = reasons(given, video_self_attention_mask=mask)
    assert "IC-LoRA" in reason
    with sparsify(given.model, "svg", **SPARSE) as run:
        given.run(video_self_attention_mask=None)
    assert run.summary().sparse_calls == run.summary().calls == 2


@has_ltx2
def test_a_block_that_guidance_perturbs_attends_nowhere_and_raises_nothing():
    given = of_ltx.ltx2_newer()
    untouched = given.run(spatio_temporal_guidance_blocks=[1])
    with sparsify(given.model, "dense") as run:
        outputs = given.run(spatio_temporal_guidance_blocks=[1])
    assert [r.layer for r in run.trace.records] == [0]
    assert all(torch.equal(one, other) for one, other in zip(outputs, untouched, strict=True))


@has_ltx2
def test_a_block_that_is_perturbed_for_some_items_attends_for_all():
    given = of_ltx.ltx2_newer()
    half = {"spatio_temporal_guidance_blocks": [1], "perturbation_mask": torch.tensor([0.0, 1.0])}
    untouched = given.run(**half)
    with sparsify(given.model, "svg", **{**SPARSE, "density": 1.0}) as run:
        outputs = given.run(**half)
    assert [(r.layer, r.action) for r in run.trace.records] == [(0, "sparse"), (1, "sparse")]
    for one, other in zip(outputs, untouched, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=5e-5)


@has_ltx2
def test_audio_as_long_as_the_video_stays_dense():
    given = of_ltx.ltx2()
    audio = torch.cat([given.inputs["audio_hidden_states"]] * 7, dim=1)[:, :72]
    with sparsify(given.model, "svg", **SPARSE) as run:
        given.run(audio_hidden_states=audio, audio_num_frames=72)
    assert [(r.layer, r.action) for r in run.trace.records] == [(0, "sparse"), (1, "sparse")]


def test_the_text_pipeline_is_sparse_where_it_is_planned():
    pipe = tiny_ltx()
    walk, layouts = seen(pipe, ltx_call(), dense_steps=1)
    assert walk == [
        (step, "cond_uncond", layer, "sparse" if step else "dense") for step in range(3) for layer in range(2)
    ]
    assert layouts == {VideoLayout.of(3, 2, 3)}


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # how the pipeline hands its timesteps over
def test_the_condition_pipeline_is_sparse_with_its_condition_before_the_video():
    pipe = tiny_ltx("LTXConditionPipeline")
    clip = torch.rand(9, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    walk, layouts = seen(pipe, ltx_call(video=list(clip), frame_index=8), dense_steps=1)
    assert [one[:2] for one in walk[::2]] == [(step, "cond_uncond") for step in range(3)]
    assert {action for step, *_, action in walk if step} == {"sparse"}
    assert layouts == {sequence(before=6, video=(3, 2, 3))}


@has_ltx2
def test_every_guidance_of_ltx2_is_a_branch_of_its_own():
    pipe = tiny_ltx2()
    walk, layouts = seen(pipe, ltx2_call(), dense_steps=1)
    layers = {"cond_uncond": [0, 1], "uncond_stg": [0], "uncond_modality": [0, 1]}
    assert walk == [
        (step, branch, layer, "sparse" if step else "dense")
        for step in range(3)
        for branch, some in layers.items()
        for layer in some
    ]
    assert layouts == {VideoLayout.of(3, 2, 3)}


@pytest.mark.parametrize(
    ("make", "call"), [(tiny_ltx, ltx_call), pytest.param(tiny_ltx2, ltx2_call, marks=has_ltx2)]
)
def test_a_dense_recipe_is_the_untouched_pipeline(make, call):
    pipe = make()
    untouched = pipe(**call()).frames
    with sparsify(pipe, "dense"):
        frames = pipe(**call()).frames
    torch.testing.assert_close(frames, untouched, rtol=0, atol=2e-5)
    assert torch.equal(pipe(**call()).frames, untouched)
