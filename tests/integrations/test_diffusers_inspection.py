"""inspect_attention on every family: the video keeps its bits, and what is shown is what was computed."""

from functools import partial

import pytest
import torch
from diffusers import FirstBlockCacheConfig

import videosieve
from videosieve.errors import IntegrationError, PromptError
from videosieve.integrations.diffusers import describe, inspect_attention, sparsify
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
    wan_call,
)

SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 1, "dense_layers": 0, "block": 8}


def nano():
    return ShapesPipeline.from_networks(build_networks("shapes-nano"))


def nano_call(**changes):
    words = {
        "prompt": "a red circle moves left",
        "num_frames": 4,
        "num_inference_steps": 3,
        "output_type": "pt",
    }
    return {**words, "generator": torch.Generator().manual_seed(0), **changes}


FAMILIES = {
    "hunyuanvideo": (tiny_hunyuanvideo, hunyuanvideo_call),
    "cogvideox 1.0": (tiny_cogvideox, cogvideox_call),
    "cogvideox 1.5": (partial(tiny_cogvideox, version="1.5"), cogvideox_call),
    "wan 2.1": (tiny_wan, wan_call),
    "wan 2.2": (partial(tiny_wan, two=True), wan_call),
    "shapes": (nano, nano_call),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    make, call = FAMILIES[request.param]
    pipe = make()
    pipe.set_progress_bar_config(disable=True)
    return pipe, call


def look(pipe, call, **options):
    arguments = call()
    return inspect_attention(pipe, arguments.pop("prompt"), **{**arguments, **options})


def processors_of(pipe):
    return [module.processor for found in describe(pipe) for module in found.attentions.values()]


def test_the_video_keeps_its_bits_and_nothing_stays_behind(family):
    pipe, call = family
    untouched, before = pipe(**call()).frames[0], processors_of(pipe)
    found = look(pipe, call, layers=[0, 1], heads=[1], steps=[0, 2])
    assert torch.equal(found.video, untouched)
    assert all(a is b for a, b in zip(before, processors_of(pipe), strict=True))
    assert torch.equal(pipe(**call()).frames[0], untouched)
    assert list(found.readings) == [(0, 1, 0), (0, 1, 2), (1, 1, 0), (1, 1, 2)]
    assert not found.missing
    assert found.atlas.isfinite().all()
    assert found.atlas.shape == (6, 2, describe(pipe)[0].layers, describe(pipe)[0].heads)
    for reading in found.readings.values():
        assert (reading.density, reading.order, reading.view.measures["recall"]) == (1, "", 1)
        assert reading.view.attention.isfinite().all()
        assert reading.view.attention.std() > 0


def test_a_sparse_generation_shows_its_executed_masks(family):
    pipe, call = family
    with sparsify(pipe, "svg", **SPARSE) as run:
        sparse = pipe(**call()).frames[0]
        run.trace.clear()
        inside = look(pipe, call, heads=[0, 1], steps=[0, 2], recipe=run)
        records = [r for r in run.trace.records if r.step == 2 and r.branch != "uncond"]
        assert not run.witnesses
    assert torch.equal(inside.video, sparse)
    found = look(pipe, call, heads=[0, 1], steps=[0, 2], recipe=videosieve.Recipe.of("svg", **SPARSE))
    assert torch.equal(found.video, sparse)
    for spot, reading in found.readings.items():
        if spot.step == 0:
            assert (reading.density, reading.order) == (1, "")  # dense warm-up
            continue
        record = next(record for record in records if record.layer == spot.layer)
        assert reading.density == pytest.approx(record.density)
        assert reading.pattern in ("spatial", "temporal")
        assert reading.order == ("token-major" if reading.pattern == "temporal" else "frame-major")
        assert reading.view.measures["recall"] < 1
        assert 0 < reading.view.computed.mean() < 1


@pytest.mark.parametrize("name", ["cogvideox 1.0", "wan 2.1"])
def test_guidance_is_looked_at_in_its_conditional_branch(name):
    make, call = FAMILIES[name]
    pipe = make()
    options = {"steps": [0], "layers": [0], "heads": [0]}
    guided = look(pipe, call, guidance_scale=4.0, negative_prompt="sea", **options)
    alone = look(pipe, call, guidance_scale=1.0, **options)
    other = look(pipe, partial(call, prompt="sea"), guidance_scale=1.0, layers=[1], steps=[0], heads=[0])
    mine = look(pipe, call, guidance_scale=1.0, layers=[1], steps=[0], heads=[0])
    first, second = (found.readings[0, 0, 0].view.attention for found in (guided, alone))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    if name.startswith("cog"):  # text is in the sequence, so another prompt would have shown
        assert not torch.allclose(*(f.readings[1, 0, 0].view.attention for f in (mine, other)), rtol=1e-3)


def test_defaults_spread_over_layers_heads_and_take_the_middle_step():
    pipe = nano()
    found = look(pipe, nano_call)
    assert (found.layers, found.heads, found.steps, found.all_steps) == ((0, 1), (0, 1), (1,), 3)
    assert found.frame_of == (0, 1, 2, 3)
    latent = look(pipe, partial(nano_call, output_type="latent"))
    assert latent.video is None


def test_calls_that_were_not_computed_are_named():
    pipe = tiny_cogvideox(layers=3)
    call = partial(cogvideox_call, num_inference_steps=4)
    with sparsify(pipe, "pab", reuse_range=2, reuse_start=0.0, reuse_stop=1.0, min_tokens=0) as run:
        found = look(pipe, call, layers=[0, 2], steps=range(4), recipe=run)
    reused = {(record.layer, record.step) for record in run.trace.records if record.action == "reuse"}
    assert set(found.missing) == {(layer, step) for layer, step in reused if layer != 1}
    assert found.missing
    seen = {(spot.layer, spot.step) for spot in found.readings}
    assert seen == {(layer, step) for layer in (0, 2) for step in range(4)} - set(found.missing)
    layer, step = found.missing[0]
    assert found.atlas[:, step, layer].isnan().all()


def test_where_nothing_was_computed_that_is_an_error():
    pipe = tiny_cogvideox(layers=3)
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=1e9))
    with pytest.raises(IntegrationError, match="no self-attention over the whole video"):
        look(pipe, cogvideox_call, layers=[2], steps=[1])
    assert processors_of(pipe)[0].__class__.__name__ == "CogVideoXAttnProcessor2_0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [2]}, "layers must be at least one of 0 … 1"),
        ({"heads": [-1]}, "heads must be at least one of 0 … 1"),
        ({"heads": []}, "heads must be at least one"),
        ({"steps": [3]}, "steps must be at least one of 0 … 2"),
        (
            {"steps": range(30), "layers": [0, 1], "heads": [0, 1], "num_inference_steps": 30},
            "2 × 2 × 30 = 120",
        ),
    ],
)
def test_bad_places_are_refused(options, message):
    pipe = nano()
    with pytest.raises(IntegrationError, match=message):
        look(pipe, nano_call, **options)
    assert torch.equal(pipe(**nano_call()).frames[0], nano()(**nano_call()).frames[0])


def test_several_prompts_are_refused():
    with pytest.raises(PromptError, match="one video of one prompt"):
        videosieve.inspect_attention(nano(), ["a red circle"] * 2)
