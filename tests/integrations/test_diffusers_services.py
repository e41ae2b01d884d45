"""What pipelines do around the transformer: model offload, tiles of the VAE, interruption by a callback."""

from types import SimpleNamespace

import accelerate
import pytest
import torch

from videosieve.integrations.diffusers import sparsify
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
    wan_call,
)

FAMILIES = {
    "wan": (tiny_wan, wan_call),
    "wan 2.2": (lambda: tiny_wan(two=True), wan_call),
    "hunyuanvideo": (tiny_hunyuanvideo, hunyuanvideo_call),
    "cogvideox": (tiny_cogvideox, cogvideox_call),
}
STEPS = 4
TILES = {
    "AutoencoderKLWan": {
        "tile_sample_min_height": 16, "tile_sample_min_width": 16,
        "tile_sample_stride_height": 8, "tile_sample_stride_width": 8,
    },
    "AutoencoderKLHunyuanVideo": {
        "tile_sample_min_height": 16, "tile_sample_min_width": 16,
        "tile_sample_stride_height": 8, "tile_sample_stride_width": 8,
    },
    "AutoencoderKLCogVideoX": {"tile_sample_min_height": 16, "tile_sample_min_width": 16},
}  # fmt: skip
SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 1, "block": 8}
REUSING = {"reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0, "reuse_mlp": 2}


@pytest.fixture(params=list(FAMILIES))
def case(request):
    make, call = FAMILIES[request.param]
    pipe = make()
    pipe.set_progress_bar_config(disable=True)
    return SimpleNamespace(
        pipe=pipe, draw=lambda **more: pipe(**call(num_inference_steps=STEPS), **more).frames
    )


def model_offload(pipe):
    """Whole models come and go; here from the CPU to the CPU, by the same hooks."""
    pipe.enable_model_cpu_offload(device="cpu")


def sequential_offload(pipe):
    """Weights are on "meta" but for the forward of their module: the transformers' part of what diffusers does."""
    for name in ("transformer", "transformer_2"):
        if (transformer := getattr(pipe, name, None)) is not None:
            accelerate.cpu_offload(transformer, torch.device("cpu"), offload_buffers=True)


@pytest.mark.filterwarnings("default")  # accelerate's own, about devices
@pytest.mark.parametrize("order", ["offload first", "sparsify first"])
@pytest.mark.parametrize("offload", [model_offload, sequential_offload])
def test_the_hooks_of_model_offload_and_ours_stand_in_any_order(case, offload, order):
    bare = case.draw()
    with sparsify(case.pipe, "svg", **SPARSE):
        expected = case.draw()
    if order == "offload first":
        offload(case.pipe)
    run = sparsify(case.pipe, "svg", **SPARSE)
    if order == "sparsify first":
        offload(case.pipe)
    assert torch.equal(case.draw(), expected)
    assert torch.equal(case.draw(), expected)
    run.remove()
    assert torch.equal(case.draw(), bare)
    if offload is sequential_offload:
        assert next(case.pipe.transformer.parameters()).device.type == "meta"


def test_tiles_and_slices_of_the_vae_decode_as_without_us(case):
    """Tiles of 16 × 16 pixels, so that these small videos have several."""
    vae = case.pipe.vae
    whole = case.draw()
    vae.enable_slicing()
    vae.enable_tiling(**TILES[type(vae).__name__])
    expected = case.draw()
    with sparsify(case.pipe, "dense") as run:
        torch.testing.assert_close(case.draw(), expected, rtol=0, atol=5e-5)
    assert len(run.trace) > 0
    assert not torch.equal(whole, expected)  # it is really tiled
    assert torch.equal(case.draw(), expected)


@pytest.mark.parametrize(
    "options", [SPARSE, {**SPARSE, **REUSING}, {**SPARSE, "dense_steps": 2}], ids=["svg", "reuse", "adaspa"]
)
def test_a_generation_that_a_callback_interrupts_leaves_the_next_one_right(case, options, request):
    method = "adaspa" if "adaspa" in request.node.callspec.id else "svg"

    def interrupt(pipe, step, _timestep, tensors):
        pipe._interrupt = step == 1
        return tensors

    with sparsify(case.pipe, method, **options) as run:
        expected = case.draw()
        first = run.trace.records
        run.warns = False  # it had fewer steps than were announced, and says so
        case.draw(callback_on_step_end=interrupt)
        cut = run.trace.records[len(first) :]
        assert {record.step for record in cut} == {0, 1}
        assert torch.equal(case.draw(), expected)
        last = run.trace.records[len(first) + len(cut) :]
    assert [(r.step, r.layer, r.action) for r in last] == [(r.step, r.layer, r.action) for r in first]
    assert len({first[0].generation, cut[0].generation, last[0].generation}) == 3
