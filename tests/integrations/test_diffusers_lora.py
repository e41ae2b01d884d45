"""LoRA by peft, through diffusers' own loaders: before a run, during it, fused, unloaded, with other weights."""

from types import SimpleNamespace

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

peft = pytest.importorskip("peft", reason="peft is not installed, so no LoRA can be loaded: pip install peft")

FAMILIES = {
    "wan": (tiny_wan, wan_call),
    "hunyuanvideo": (tiny_hunyuanvideo, hunyuanvideo_call),
    "cogvideox": (tiny_cogvideox, cogvideox_call),
}
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "proj_mlp", "proj_out", "net.0.proj", "net.2"]
SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 1, "block": 8}
REUSING = {
    "density": 1.0, "min_tokens": 0, "dense_steps": 0, "reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0,
    "reuse_mlp": 2,
}  # fmt: skip


def make(family):
    build, call = FAMILIES[family]
    pipe = build()
    pipe.set_progress_bar_config(disable=True)
    return SimpleNamespace(
        pipe=pipe, draw=lambda steps=4, **more: pipe(**call(num_inference_steps=steps), **more).frames
    )


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request):
    return request.param


@pytest.fixture(scope="module")
def lora(family, tmp_path_factory):
    """A folder with a LoRA that changes the videos of a family, as diffusers saves one."""
    folder = tmp_path_factory.mktemp("lora")
    pipe = make(family).pipe
    torch.manual_seed(5)
    names = [name for name, _ in pipe.transformer.named_modules() if "blocks." in name]
    targets = [name for name in names if name.endswith(tuple(TARGETS)) and _is_linear(pipe, name)]
    pipe.transformer.add_adapter(
        peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False)
    )
    state = peft.get_peft_model_state_dict(pipe.transformer)
    type(pipe).save_lora_weights(folder, transformer_lora_layers=state)
    return folder


def _is_linear(pipe, name):
    return isinstance(pipe.transformer.get_submodule(name), torch.nn.Linear)


@pytest.mark.parametrize("options", [SPARSE, REUSING], ids=["sparse", "reusing outputs"])
def test_a_lora_loaded_before_or_during_a_run_draws_the_same(family, lora, options):
    before, during = make(family), make(family)
    before.pipe.load_lora_weights(lora)
    with sparsify(before.pipe, "svg", **options):
        expected = before.draw()
    with sparsify(during.pipe, "svg", **options):
        bare = during.draw()
        during.pipe.load_lora_weights(lora)
        torch.testing.assert_close(during.draw(), expected, rtol=0, atol=1e-5)
        during.pipe.unload_lora_weights()
        assert torch.equal(during.draw(), bare)
    assert (expected - bare).abs().max() > 1e-3


def test_a_dense_recipe_equals_the_lora_alone_also_fused(family, lora):
    case = make(family)
    bare = case.draw()
    case.pipe.load_lora_weights(lora)
    expected = case.draw()
    with sparsify(case.pipe, "dense"):
        torch.testing.assert_close(case.draw(), expected, rtol=0, atol=2e-5)
        case.pipe.fuse_lora()
        torch.testing.assert_close(case.draw(), expected, rtol=0, atol=1e-4)  # weights are rounded once more
        case.pipe.unfuse_lora()
        case.pipe.unload_lora_weights()
    torch.testing.assert_close(case.draw(), bare, rtol=0, atol=1e-4)


@pytest.mark.parametrize("options", [SPARSE, REUSING], ids=["sparse", "reusing outputs"])
def test_weights_that_change_between_steps_hold_from_the_next_step(family, lora, options):
    """The same callback, whether the LoRA was there before sparsify or came after."""

    def fade(pipe, step, _timestep, tensors):
        pipe.set_adapters("style", adapter_weights=1.0 - 0.3 * step)
        return tensors

    videos = []
    for loads_first in (True, False):
        case = make(family)
        if loads_first:
            case.pipe.load_lora_weights(lora, adapter_name="style")
        with sparsify(case.pipe, "svg", **options):
            if not loads_first:
                case.pipe.load_lora_weights(lora, adapter_name="style")
            steady = case.draw()
            videos.append(case.draw(callback_on_step_end=fade))
    torch.testing.assert_close(videos[0], videos[1], rtol=0, atol=1e-5)
    assert (videos[0] - steady).abs().max() > 1e-3
