"""The seam: what reaches the router, what goes dense with a reason, and what is refused."""

import pytest
import torch

from videosieve.errors import IntegrationError, VideosieveWarning
from videosieve.integrations.diffusers import describe, sparsify
from videosieve.testing.pipelines import tiny_wan_transformer


def processors_of(target):
    return [module.processor for found in describe(target) for module in found.attentions.values()]


def test_processors_lost_after_sparsify_are_an_error_with_the_way_out(cogvideox, sparse):
    cogvideox.untouched  # noqa: B018 - computed before anything is hooked
    run = sparsify(cogvideox.target, "svg", **sparse)
    cogvideox.target.fuse_qkv_projections()
    with pytest.raises(IntegrationError, match=r"call fuse_qkv_projections\(\) or .* before sparsify"):
        cogvideox.generate()
    run.remove()
    cogvideox.generate()  # the fused processors are left alone
    cogvideox.target.unfuse_qkv_projections()  # puts ours back, which the run no longer knows
    torch.testing.assert_close(cogvideox.generate(), cogvideox.untouched, rtol=0, atol=2e-5)
    assert len(run.trace) == 0


def test_fusing_before_sparsify_works(cogvideox, sparse):
    cogvideox.target.fuse_qkv_projections()
    with sparsify(cogvideox.target, "dense"):
        output = cogvideox.generate()
    assert torch.equal(output, cogvideox.generate())
    with sparsify(cogvideox.target, "svg", **sparse) as run:
        cogvideox.generate()
    assert run.summary().sparse_calls == 4


@pytest.mark.parametrize("when", ["before", "after"])
def test_wan_may_be_fused_before_and_after(wan, sparse, when):
    if when == "before":
        wan.target.transformer.fuse_qkv_projections()
    with sparsify(wan.target, "svg", **sparse) as run:
        wan.target.transformer.fuse_qkv_projections()
        wan.generate()
    assert run.summary().sparse_calls == 8


def test_a_module_that_runs_without_reaching_the_router_is_an_error(wan):
    with sparsify(wan.target, "dense"):
        processor = wan.target.transformer.blocks[1].attn1.processor
        original = type(processor).__call__

        def bypass(self, attn, hidden_states, *args, **kwargs):
            self.videosieve_layer.entered += 1  # as the re-bound processor does on entry
            return hidden_states

        type(processor).__call__ = bypass
        with pytest.raises(
            IntegrationError, match=r"2 self-attentions .* without reaching videosieve.*blocks\.0\.attn1"
        ):
            wan.generate()
        type(processor).__call__ = original
        wan.generate()


@pytest.mark.parametrize("rows", [1, 18])  # of the mask; one row is the shape of a padding mask
def test_an_attention_mask_of_the_users_own_goes_dense_with_the_reason(wan, rows):
    attention = wan.target.transformer.blocks[0].attn1
    hidden = torch.randn(1, 18, 32)
    mask = torch.rand(1, 1, rows, 18) < 0.8
    mask[..., 0] = True
    with torch.no_grad():
        expected = attention(hidden, None, mask)
        with sparsify(wan.target, "svg", min_tokens=0, dense_steps=0) as run:
            original = attention.forward
            attention.forward = lambda h, e=None, m=None, r=None: original(h, e, mask, r)
            wan.generate()
            del attention.forward
            assert {r.reason for r in run.trace.records if r.layer == 0} == {
                "an attention mask that is not text padding"
            }
            assert {r.action for r in run.trace.records if r.layer == 1} == {"sparse"}
            torch.testing.assert_close(attention(hidden, None, mask), expected)


def test_a_call_that_does_not_fit_the_layout_goes_dense_with_the_reason(wan):
    attention = wan.target.transformer.blocks[0].attn1
    hidden = torch.randn(1, 7, 32)
    with torch.no_grad(), sparsify(wan.target, "svg", min_tokens=0, dense_steps=0) as run:
        output = attention(hidden)
        wan.generate()
        again = attention(hidden)
    assert torch.equal(output, again)
    assert run.trace.records[0].reason == "the transformer's forward was not seen"
    assert run.trace.records[-1].reason == "7 tokens instead of the layout's 18"


def test_gradients_flow_through_dense_attention_and_the_trace_says_why(wan):
    transformer = tiny_wan_transformer()
    arguments = torch.randn(1, 16, 3, 4, 6), torch.tensor([500]), torch.randn(1, 4, 32)
    transformer(*arguments).sample.square().sum().backward()
    expected = transformer.blocks[0].attn1.to_q.weight.grad.clone()
    transformer.zero_grad()
    run = sparsify(transformer, "svg", min_tokens=0, dense_steps=0)
    with pytest.warns(VideosieveWarning, match="nothing was sparse: gradients are needed"), run:
        transformer(*arguments).sample.square().sum().backward()
    torch.testing.assert_close(transformer.blocks[0].attn1.to_q.weight.grad, expected)
    assert run.summary().dense_reasons == {"gradients are needed": 2}
