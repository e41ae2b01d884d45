"""What holds for every model whose latents, or whose sequence, are packed before its forward: by hand against ours."""

from collections.abc import Callable

import diffusers
import pytest
import torch

from videosieve.integrations.diffusers import MODELS, describe, sparsify
from videosieve.testing.models import cosmos3 as of_cosmos3
from videosieve.testing.models import ltx as of_ltx
from videosieve.testing.models import minimax_h3 as of_h3
from videosieve.testing.models.forwards import Forward, observed

SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 0, "dense_layers": 0, "block": 8}
MAKERS: dict[str, list[Callable[[], Forward]]] = {
    "LTXVideoTransformer3DModel": [of_ltx.ltx, of_ltx.ltx_condition, of_ltx.ltx_window],
    "LTX2VideoTransformer3DModel": [of_ltx.ltx2, of_ltx.ltx2_newer, of_ltx.ltx2_keyframes],
    "MiniMaxH3Transformer3DModel": [of_h3.keyframe, of_h3.references, of_h3.keyframe_without_audio],
    "Cosmos3OmniTransformer": [of_cosmos3.video, of_cosmos3.picture_and_sound, of_cosmos3.odd_sides],
}
CASES = [
    pytest.param(
        make,
        id=make.__name__,
        marks=pytest.mark.skipif(not hasattr(diffusers, name), reason=f"this diffusers has no {name}"),
    )
    for name, makers in MAKERS.items()
    for make in makers
]


@pytest.fixture(scope="module", params=CASES)
def given(request) -> Forward:
    return request.param()


def calls_of(given: Forward, **changes) -> list:
    """The attention calls of one forward that the run is handed."""
    calls = []
    with sparsify(given.model, "dense", steps=3) as run:
        attend = run.attend
        run.attend = lambda call, owner="": (calls.append(call), attend(call, owner))[1]
        given.run(**changes)
    return calls


def test_the_description_names_the_video_self_attentions_in_call_order(given):
    (found,) = describe(given.model)
    assert tuple(found.attentions) == given.attentions
    assert found.row is MODELS[type(given.model).__name__]
    with observed(given.model) as calls:
        given.run()
    assert tuple(dict.fromkeys(name for name, *_ in calls if name in found.attentions)) == given.attentions


def test_a_dense_recipe_is_the_untouched_model(given):
    untouched = given.run()
    with sparsify(given.model, "dense", steps=3) as run:
        outputs = given.run()
    for one, other in zip(outputs, untouched, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
    assert run.summary().dense_reasons == {"the method is dense": len(given.attentions)}


def test_every_video_self_attention_is_sparse_and_nothing_else(given):
    untouched = given.run()
    with sparsify(given.model, "svg", **SPARSE, steps=3) as run:
        outputs = given.run()
    assert [(r.layer, r.action) for r in run.trace.records] == [
        (layer, "sparse") for layer in range(len(given.attentions))
    ]
    assert not run.summary().dense_reasons
    assert run.summary().sparse_density < 0.95
    assert any(not torch.allclose(a, b, rtol=0, atol=5e-5) for a, b in zip(outputs, untouched, strict=True))


def test_the_layout_is_the_model_s_own_and_as_long_as_its_attention(given):
    with observed(given.model) as seen:
        given.run()
    keys = {keys for name, _, keys in seen if name in given.attentions}
    calls = calls_of(given)
    assert {call.layout for call in calls} == {given.layout}
    assert {call.q.shape[2] for call in calls} == {given.layout.tokens}
    assert max(keys) == given.layout.tokens


@pytest.mark.parametrize("method", ["svg", "random_blocks"])
def test_keeping_everything_is_dense_attention(given, method):
    untouched = given.run()
    with sparsify(given.model, method, **{**SPARSE, "density": 1.0}, steps=3) as run:
        outputs = given.run()
    for one, other in zip(outputs, untouched, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=5e-5)
    assert run.summary().sparse_calls == run.summary().calls == len(given.attentions)


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_a_frame_lies_where_the_layout_says(given, frame):
    """Values of the first layer depend on their own token only, so disturbed latents show where their tokens are."""
    before, after = calls_of(given)[0], calls_of(given, **given.moved(frame))[0]
    moved = (before.v - after.v).abs().amax(dim=(0, 1, 3)).gt(1e-6).nonzero().flatten().tolist()
    grid, start = before.layout.grid, before.layout.video.start
    first = start + frame * grid.tokens_per_frame
    assert moved == list(range(first, first + grid.tokens_per_frame))


@pytest.mark.parametrize("coarse", [False, True])
def test_steps_and_branches_are_those_of_the_loop_in_two_generations(given, coarse):
    """Also where neighbouring timesteps coincide, as they do in bfloat16."""
    scheduler = given.scheduler()
    scheduler.set_timesteps(3)
    with sparsify(given.model, "svg", **{**SPARSE, "dense_steps": 1}) as run:
        first = given.generate(coarse=coarse)
        calls = len(run.trace)
        second = given.generate(coarse=coarse)
        seen = [(r.generation, r.step, r.branch, r.layer, r.action) for r in run.trace.records]
    walk = [
        (step, branch, layer, "sparse" if step else "dense")
        for step in range(len(scheduler.timesteps))
        for branch in given.branches
        for layer in range(len(given.attentions))
    ]
    start = seen[0][0]
    assert seen[:calls] == [(start, *one) for one in walk]
    assert seen[calls:] == [(start + 1, *one) for one in walk]
    assert torch.equal(first, second)


def test_removal_restores_processors_and_bits(given):
    untouched = given.run()
    before = [module.processor for module in describe(given.model)[0].attentions.values()]
    attributes = set(given.model.__dict__)
    run = sparsify(given.model, "svg", **SPARSE, steps=3)
    given.run()
    run.remove()
    after = [module.processor for module in describe(given.model)[0].attentions.values()]
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert set(given.model.__dict__) == attributes
    assert not given.model._forward_pre_hooks
    assert all(torch.equal(a, b) for a, b in zip(given.run(), untouched, strict=True))


def test_the_modules_whose_outputs_can_be_reused_are_found(given):
    row = MODELS[type(given.model).__name__]
    for kind in ("mlp", "cross", "joint"):
        assert tuple(row.reusable(given.model, kind)) == given.reusable.get(kind, ())
    assert tuple(row.reusable(given.model, "attention")) == given.attentions
