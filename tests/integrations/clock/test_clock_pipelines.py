"""What forwards of whole pipelines are told: branch, steps, and which token is which for every prompt."""

import pytest
import torch
from diffusers import HunyuanVideoPipeline

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import sparsify
from videosieve.testing.pipelines import (
    hunyuanvideo_call,
    tiny_hunyuanvideo_transformer,
    tiny_wan,
    tiny_wan_transformer,
    wan_call,
)


def test_the_branch_is_heard_from_cache_context_until_removal():
    transformer, arguments = (
        tiny_wan_transformer(),
        (torch.randn(1, 16, 3, 4, 6), torch.tensor([9]), torch.randn(1, 4, 32)),
    )
    with sparsify(transformer, "dense", steps=2) as run, torch.no_grad():
        for name in ("uncond", "cond"):
            with transformer.cache_context(name):
                transformer(*arguments)
    assert [r.branch for r in run.trace.records] == ["uncond", "uncond", "cond", "cond"]
    assert "cache_context" not in transformer.__dict__


def test_steps_come_from_the_pipeline_and_not_from_the_scheduler_s_whole_range(wan):
    with sparsify(wan.target, "dense") as run:
        wan.target(**wan_call(num_inference_steps=5))
    assert max(record.step for record in run.trace.records) == 4


def test_a_fraction_of_dense_steps_follows_the_number_of_steps_of_each_generation(wan, sparse):
    with sparsify(wan.target, "svg", **{**sparse, "dense_steps": 0.5}) as run:
        for steps in (2, 4):
            wan.target(**wan_call(num_inference_steps=steps))
    dense = [(r.step, r.action) for r in run.trace.records if r.layer == 0 and r.branch == "cond"]
    assert dense == [
        (0, "dense"), (1, "sparse"),
        (0, "dense"), (1, "dense"), (2, "sparse"), (3, "sparse"),
    ]  # fmt: skip


def test_both_transformers_of_wan_2_2_share_the_step_axis(sparse):
    pipe = tiny_wan(two=True)
    pipe.set_progress_bar_config(disable=True)
    owners = []
    with sparsify(pipe, "svg", **sparse) as run:
        attend = run.attend
        run.attend = lambda call, owner="": (owners.append((call.site.step, owner)), attend(call, owner))[1]
        pipe(**wan_call(num_inference_steps=4))
    assert list(dict.fromkeys(owners)) == [
        (0, "transformer"), (1, "transformer"), (2, "transformer_2"), (3, "transformer_2"),
    ]  # fmt: skip
    assert {(r.step, r.action) for r in run.trace.records} == {
        (0, "dense"),
        (1, "sparse"),
        (2, "sparse"),
        (3, "sparse"),
    }


def test_one_timestep_per_token_is_read_as_the_largest():
    """Wan 2.2 TI2V gives the tokens of its image the timestep 0."""
    transformer = tiny_wan_transformer()
    times = torch.full((1, 18), 700.0)
    times[:, :6] = 0
    with sparsify(transformer, "dense", steps=2) as run, torch.no_grad():
        for factor in (1, 0.5):
            transformer(torch.randn(1, 16, 3, 4, 6), times * factor, torch.randn(1, 4, 32))
    assert [r.step for r in run.trace.records] == [0, 0, 1, 1]


def test_prompts_of_different_length_are_attended_by_length_and_equal_each_alone(hunyuanvideo, sparse):
    prompts = ["a cat", "a red dog runs over the sea"]
    latents = torch.randn(2, 4, 3, 4, 6, generator=torch.Generator().manual_seed(3))
    with sparsify(hunyuanvideo.target, "svg", **sparse) as run:
        both = hunyuanvideo.target(**hunyuanvideo_call(prompts, latents=latents)).frames
        calls = len(run.trace)
        alone = [
            hunyuanvideo.target(**hunyuanvideo_call(prompt, latents=latents[i : i + 1])).frames
            for i, prompt in enumerate(prompts)
        ]
    torch.testing.assert_close(both, torch.cat(alone), rtol=0, atol=2e-5)
    assert calls == 2 * 2 * 3  # lengths × layers × steps
    assert {r.pairs for r in run.trace.records} == {2 * (72 + 3) ** 2, 2 * (72 + 8) ** 2}  # words and </s>


def test_prompts_of_equal_length_are_attended_one_by_one_too(hunyuanvideo):
    """A prompt's selection and state must not depend on whether its neighbour happens to be as long."""
    with sparsify(hunyuanvideo.target, "dense") as run:
        hunyuanvideo.target(**hunyuanvideo_call(["a cat", "a dog"]))
    assert {r.pairs for r in run.trace.records} == {2 * (72 + 3) ** 2}
    assert len(run.trace) == 2 * 2 * 3  # prompts × layers × steps


def test_padded_text_rows_cannot_reach_the_video():
    """Whatever stands in the padding, the latents are the same: the router may put zeros there."""
    transformer = tiny_hunyuanvideo_transformer()
    latents, text, pooled = torch.randn(1, 4, 3, 4, 6), torch.randn(1, 9, 16), torch.randn(1, 8)
    mask, time, guidance = torch.arange(9)[None] < 5, torch.tensor([500]), torch.tensor([6.0])
    other = torch.where(mask[..., None], text, torch.randn(1, 9, 16))
    with sparsify(transformer, "dense"), torch.no_grad():
        first, second = (transformer(latents, time, t, mask, pooled, guidance).sample for t in (text, other))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


def test_a_subclassed_pipeline_on_a_stock_transformer_works(hunyuanvideo, sparse):
    class OtherPipeline(HunyuanVideoPipeline):
        pass

    pipe = OtherPipeline(**hunyuanvideo.target.components)
    pipe.set_progress_bar_config(disable=True)
    with sparsify(pipe, "svg", **sparse) as run:
        pipe(**hunyuanvideo_call())
    assert run.summary().sparse_calls == 4


def test_a_forward_without_its_arguments_says_what_is_missing():
    transformer = tiny_wan_transformer()
    with sparsify(transformer, "dense"), pytest.raises(IntegrationError, match="hidden_states and timestep"):
        transformer(hidden_states=torch.randn(1, 16, 3, 4, 6))
    with sparsify(transformer, "dense"), pytest.raises(IntegrationError, match="must have the axes BCTHW"):
        transformer(hidden_states=torch.randn(16, 3, 4, 6), timestep=torch.tensor([1]))
