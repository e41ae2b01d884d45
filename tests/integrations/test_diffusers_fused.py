"""fused=True: QK-norm and rotary positions in one pass, equal to diffusers' own code to rounding."""

import functools
import sys

import pytest
import torch
import torch.nn.functional as F
from diffusers.hooks import apply_group_offloading
from diffusers.models.normalization import RMSNorm

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import describe, sparsify
from videosieve.integrations.diffusers import fused as fused_module
from videosieve.integrations.diffusers.fused import FUSED, fuse_processors, why_not_fused
from videosieve.testing.pipelines import tiny_cogvideox, tiny_hunyuanvideo_transformer, tiny_wan_transformer
from videosieve.testing.tolerances import assert_within


def processors_of(target):
    return [module.processor for found in describe(target) for module in found.attentions.values()]


def with_true_pairs(angles):
    return angles.cos().repeat_interleave(2, 1), angles.sin().repeat_interleave(2, 1)


def attention_inputs(kind, text):
    generator = torch.Generator().manual_seed(2)
    width = 64 if kind == "cogvideox" else 32

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    hidden, words = draw(2, 13, width), draw(2, 5, width)
    cos, sin = with_true_pairs(draw(13, 8))
    if kind == "wan":
        return {"hidden_states": hidden, "rotary_emb": (cos[None, :, None], sin[None, :, None])}
    inputs = {"hidden_states": hidden, "image_rotary_emb": (cos, sin)}
    return inputs | ({"encoder_hidden_states": words} if text else {})


def keep_fp64(monkeypatch):
    """diffusers rotates and takes the variance of its RMSNorm in fp32, whatever the dtype; the truth must not."""
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)
    monkeypatch.setattr(RMSNorm, "forward", lambda norm, x: F.rms_norm(x, norm.dim, norm.weight, norm.eps))


MODULES = {
    "hunyuanvideo double": lambda: (tiny_hunyuanvideo_transformer().transformer_blocks[0].attn, True),
    "hunyuanvideo single": lambda: (tiny_hunyuanvideo_transformer().single_transformer_blocks[0].attn, True),
    "hunyuanvideo no text": lambda: (tiny_hunyuanvideo_transformer().single_transformer_blocks[0].attn, False),
    "cogvideox": lambda: (tiny_cogvideox(version="1.5").transformer.transformer_blocks[0].attn1, True),
    "wan": lambda: (tiny_wan_transformer().blocks[0].attn1, False),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rotated", [True, False], ids=["rotated", "plain"])
@pytest.mark.parametrize("name", MODULES)
def test_a_fused_attention_is_as_near_to_the_truth_as_diffusers_own(name, rotated, dtype, monkeypatch):
    module, text = MODULES[name]()
    generator = torch.Generator().manual_seed(3)
    for parameter in module.requires_grad_(
        False
    ).parameters():  # norms of one would hide a mix-up of their weights
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.3
    inputs = attention_inputs(name.split()[0], text)
    if not rotated:
        inputs.pop("rotary_emb" if "rotary_emb" in inputs else "image_rotary_emb")

    def run(processor, dtype):
        module.processor = processor
        cast = {
            k: tuple(t.to(torch.promote_types(dtype, torch.float32)) for t in v)
            if isinstance(v, tuple)
            else v.to(dtype)
            for k, v in inputs.items()
        }
        outputs = module.to(dtype)(**cast)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    own = module.processor
    [stand_in] = fuse_processors([own], name)
    rough, actual = run(own, dtype), run(stand_in, dtype)
    module.to(dtype)  # fp64 has the rounded weights
    keep_fp64(monkeypatch)
    exact = run(own, torch.float64)
    for got, plain, want in zip(actual, rough, exact, strict=True):
        if want is None:
            assert got is None
            continue
        assert got.dtype == plain.dtype == dtype
        assert got.shape == want.shape
        assert_within(got, plain, want, name)
    if dtype == torch.float32:
        assert (run(stand_in, torch.float64)[0] - exact[0]).abs().max() < 1e-12


def test_every_model_generates_the_same_to_rounding(case):
    with torch.no_grad():
        expected = case.generate()
    with sparsify(case.target, "dense", fused=True, **case.options) as run:
        assert all(type(p).__mro__[1] in FUSED.values() for p in processors_of(case.target))
        output = case.generate()
    assert not any(type(p).__mro__[1] in FUSED.values() for p in processors_of(case.target))
    assert len(run.trace) >= 3 * len(case.branches) * case.layers
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-4)
    assert torch.equal(case.generate(), expected)


def test_sparse_attention_sees_the_same_calls(family, sparse):
    records, outputs = [], []
    for fused in (False, True):
        case = family()
        with sparsify(case.target, "svg", fused=fused, **sparse) as run:
            outputs.append(case.generate())
        records.append([(r.step, r.branch, r.layer, r.action, r.pairs, r.density) for r in run.trace.records])
    assert records[0] == records[1]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-3)


def test_it_comes_off_without_a_trace(family):
    case = family()
    before, modules = processors_of(case.target), set(sys.modules)
    run = sparsify(case.target, "dense", fused=True)
    inside = processors_of(case.target)
    assert all(isinstance(ours, type(own)) for ours, own in zip(inside, before, strict=True))
    run.remove()
    assert all(a is b for a, b in zip(before, processors_of(case.target), strict=True))
    assert not [name for name in set(sys.modules) - modules if "seam" in name]


def test_on_the_cpu_it_is_off_by_itself(family):
    case = family()
    found = describe(case.target)[0]
    attention = next(iter(found.attentions.values()))
    reason = why_not_fused([attention.processor], attention, found.heads, found.head_dim)
    assert reason == "the transformer is on cpu, not on a CUDA device"
    with sparsify(case.target, "dense"):
        assert not any(isinstance(p, tuple(FUSED.values())) for p in processors_of(case.target))


def test_where_nothing_speaks_against_it_it_is_on_by_itself(family, monkeypatch):
    monkeypatch.setattr(fused_module, "why_not_fused", lambda *_: None)
    case = family()
    with sparsify(case.target, "dense"):
        assert all(isinstance(p, tuple(FUSED.values())) for p in processors_of(case.target))
    with sparsify(case.target, "dense", fused=False):
        assert not any(isinstance(p, tuple(FUSED.values())) for p in processors_of(case.target))


class Mine(type(tiny_wan_transformer().blocks[0].attn1.processor)):
    pass


def test_a_processor_of_another_make_is_refused_in_a_sentence_and_left_alone_by_default(wan):
    wan.target.transformer.blocks[1].attn1.processor = Mine()
    before = processors_of(wan.target)
    with pytest.raises(
        IntegrationError,
        match="diffusers itself gives to its models: .* transformer has test_diffusers_fused.Mine",
    ):
        sparsify(wan.target, "dense", fused=True)
    assert all(a is b for a, b in zip(before, processors_of(wan.target), strict=True))
    assert not wan.target.transformer._forward_pre_hooks
    attention = wan.target.transformer.blocks[1].attn1
    assert (
        why_not_fused(before, attention, 2, 16)
        == "there is nothing fused in place of test_diffusers_fused.Mine"
    )
    with sparsify(wan.target, "dense"):
        wan.generate()


def test_a_processor_class_that_another_library_has_patched_keeps_its_patch(wan, monkeypatch):
    cls = type(wan.target.transformer.blocks[0].attn1.processor)
    original = cls.__call__

    @functools.wraps(original)
    def patched(self, *args, **kwargs):
        return original(self, *args, **kwargs)

    monkeypatch.setattr(cls, "__call__", patched)
    with pytest.raises(IntegrationError, match="transformer has a patched transformer_wan.WanAttnProcessor"):
        sparsify(wan.target, "dense", fused=True)
    attention = wan.target.transformer.blocks[0].attn1
    reason = why_not_fused(processors_of(wan.target), attention, 2, 16)
    assert reason == "there is nothing fused in place of a patched transformer_wan.WanAttnProcessor"


def test_joint_projections_are_used_where_the_model_has_them(wan, cogvideox):
    for case in (wan, cogvideox):
        expected = case.untouched
        case.target.transformer.fuse_qkv_projections()
        with sparsify(case.target, "dense", fused=True):
            torch.testing.assert_close(case.generate(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("feature", ["leaf offload", "layerwise casting"])
def test_norms_that_live_behind_hooks_are_called_as_modules(family, feature):
    case, outputs = family(), []
    if feature == "layerwise casting":
        case.target.transformer.enable_layerwise_casting(
            torch.bfloat16, torch.float32, skip_modules_pattern=("proj_in",)
        )
    else:
        cpu = torch.device("cpu")
        apply_group_offloading(case.target.transformer, cpu, offload_device=cpu, offload_type="leaf_level")
    for fused in (False, True):
        with sparsify(case.target, "dense", fused=fused):
            outputs.append(case.generate())
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-3)


def test_a_norm_with_a_hook_is_called(wan):
    norm, calls = wan.target.transformer.blocks[0].attn1.norm_q, []
    handle = norm.register_forward_pre_hook(lambda *_: calls.append(1))
    with sparsify(wan.target, "dense", fused=True):
        torch.testing.assert_close(wan.generate(), wan.untouched, rtol=0, atol=1e-4)
    handle.remove()
    assert len(calls) == 2 * 6  # once fused, once untouched: three steps of two branches


def test_gradients_flow_through_it(wan):
    transformer = wan.target.transformer
    with sparsify(transformer, "dense", steps=1, fused=True):
        transformer(torch.randn(1, 16, 3, 4, 6), torch.tensor([500]), torch.randn(1, 4, 32))[
            0
        ].sum().backward()
    assert transformer.blocks[0].attn1.norm_q.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["hunyuanvideo", "wan"])
def test_fullgraph_compile_takes_it_as_one_operator(name, sparse, request):
    torch._dynamo.reset()
    case = request.getfixturevalue(name)
    with sparsify(case.target, "svg", fused=True, **sparse):
        expected = case.generate()
    transformer = case.target.transformer
    with sparsify(case.target, "svg", fused=True, **sparse) as run:
        if getattr(transformer, "_repeated_blocks", None):
            transformer.compile_repeated_blocks(fullgraph=True, backend="aot_eager")
        else:
            for block in transformer.transformer_blocks:
                block.compile(fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(case.generate(), expected, rtol=0, atol=1e-4)
        assert run.summary().sparse_calls > 0


def test_anything_but_a_yes_a_no_or_nothing_is_refused(wan):
    before = processors_of(wan.target)
    with pytest.raises(IntegrationError, match="fused must be True, False or None, got 'auto'"):
        sparsify(wan.target, "dense", fused="auto")
    assert all(a is b for a, b in zip(before, processors_of(wan.target), strict=True))
