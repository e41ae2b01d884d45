"""HunyuanVideo-1.5: three texts behind the video, valid rows first, and no mask of every token with every token."""

from copy import deepcopy

import pytest
import torch
from sequence_claims import SPARSE, Claims, build, calls_of, dense_errors  # type: ignore[import-not-found]
from torch.utils._python_dispatch import TorchDispatchMode

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import describe, sparsify
from videosieve.integrations.diffusers.unmasked import UNMASKED, without_square_mask
from videosieve.methods import Dense
from videosieve.recipe import Recipe
from videosieve.schedule import Table
from videosieve.testing.models.hunyuanvideo15 import CASES, CLASS, pipeline_call, tiny_pipeline
from videosieve.testing.models.sequences import draw, valid


class TestTextToVideo(Claims):
    case = CASES["hunyuanvideo 1.5"]


class TestImageToVideo(Claims):
    case = CASES["hunyuanvideo 1.5, image"]


@pytest.fixture
def model():
    return build(CASES["hunyuanvideo 1.5, image"])


class Shapes(TorchDispatchMode):
    """Notes how large every tensor is that an operation makes."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        for one in output if isinstance(output, list | tuple) else (output,):
            if isinstance(one, torch.Tensor) and one.ndim > 1:
                self.seen.add((one.dtype, *one.shape[-2:]))
        return output


def test_no_tensor_has_a_place_for_every_pair_of_tokens(model):
    """The stock processor makes one in every layer; ours makes none, dense or sparse."""
    with Shapes() as stock:
        model()
    assert (torch.bool, 80, 80) in stock.seen  # 60 + 4 + 7 + 9 tokens
    for recipe, options in (("dense", {}), ("svg", SPARSE)):
        with sparsify(model.transformer, recipe, **options), Shapes() as ours:
            model()
        assert not [shape for shape in ours.seen if shape[1] == shape[2] and 72 <= shape[1] <= 80]


def test_where_a_call_stays_dense_for_a_reason_padding_is_masked(model):
    """Gradients are needed: the one-row mask says the same as the stock square one."""
    with sparsify(model.transformer, "svg", **SPARSE) as run:
        run.warns = False
        output = model.transformer(**model.arguments, return_dict=False)[0]
    assert output.requires_grad
    assert run.summary().dense_reasons == {"gradients are needed": 2}
    dense_errors(model, output.detach())


def test_a_patched_processor_is_left_as_it_is(model, monkeypatch):
    """Its square mask may say more than padding: dense, with that reason."""
    stock = next(iter(UNMASKED))
    original = stock.__call__
    monkeypatch.setattr(stock, "__call__", lambda self, *args, **kwargs: original(self, *args, **kwargs))
    processor = describe(model.transformer)[0].attentions["transformer_blocks.0.attn"].processor
    assert without_square_mask(processor) is processor


def test_a_square_mask_of_somebody_else_stays_dense_and_says_so(model):
    class Other(next(iter(UNMASKED))):
        __call__ = next(iter(UNMASKED)).__call__

    untouched = model()
    for module in describe(model.transformer)[0].attentions.values():
        module.processor = Other()
    with sparsify(model.transformer, "svg", **SPARSE) as run:
        run.warns = False
        output = model()
    assert run.summary().dense_reasons == {"an attention mask that is not text padding": 2}
    assert torch.equal(output, untouched)


def test_settings_of_a_processor_come_along(model):
    processor = describe(model.transformer)[0].attentions["transformer_blocks.0.attn"].processor
    processor._attention_backend = "native"
    assert without_square_mask(processor)._attention_backend == "native"
    with sparsify(model.transformer, "svg", **SPARSE):
        copied = deepcopy(model.transformer)
    assert type(describe(copied)[0].attentions["transformer_blocks.0.attn"].processor) in UNMASKED


def test_an_image_of_zeros_is_padding_only_where_it_is_zero_for_the_whole_batch(model):
    model.arguments["image_embeds"][0] = 0
    assert [call.layout.other_tokens for _, call in calls_of(model)][:2] == [4 + 8, 4 + 8]
    model.arguments["image_embeds"][:] = 0
    assert [call.layout.other_tokens for _, call in calls_of(model)][:2] == [8, 8]


def test_text_masks_in_bfloat16_are_counted_exactly(model):
    """The pipeline rounds its masks to the transformer's dtype, and the sum of 259 ones in bfloat16 is 260."""
    long = {
        "encoder_hidden_states": draw(2, 300, 12),
        "encoder_attention_mask": valid(300, 259, 2).bfloat16(),
    }
    seen = [call.layout.other_tokens for _, call in calls_of(model, **long)]
    assert seen[:2] == [4 + 3 + 259, 4 + 0 + 2]


def test_guidance_branches_share_no_outputs(model):
    """Their texts differ in length, and so do their sequences."""
    recipe = Recipe(Dense(), Table(("FF", "fF")))
    with pytest.raises(IntegrationError, match="cannot share attention outputs"):
        sparsify(model.transformer, recipe, steps=2)


def steps_and_branches(run):
    return list(dict.fromkeys((r.generation, r.step, r.branch, r.action) for r in run.trace.records))


def test_the_pipeline_runs_with_the_planned_steps_and_branches():
    pipe = tiny_pipeline()
    untouched = pipe(**pipeline_call()).frames
    with sparsify(pipe, "dense"):
        dense = pipe(**pipeline_call()).frames
    assert float((dense - untouched).abs().max()) < 1e-4 * float(untouched.abs().max())
    with sparsify(pipe, "svg", **(SPARSE | {"dense_steps": 1, "steps": None})) as run:
        videos = [pipe(**pipeline_call()).frames for _ in range(2)]
    assert torch.equal(*videos)
    assert steps_and_branches(run) == [
        (generation, step, branch, "sparse" if step else "dense")
        for generation in (0, 1)
        for step in range(3)
        for branch in ("cond", "uncond")
    ]
    assert {(r.branch, r.pass_number) for r in run.trace.records} == {("cond", 0), ("uncond", 0)}
    assert torch.equal(pipe(**pipeline_call()).frames, untouched)


def test_steps_that_coincide_in_bfloat16_are_steps():
    """With shift 12 the timesteps of 30 steps have 29 values in bfloat16."""
    pipe, times = tiny_pipeline(bf16=True, shift=12.0), []
    pipe.transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: times.append(float(kwargs["timestep"][0])), with_kwargs=True
    )
    with sparsify(pipe, "svg", **(SPARSE | {"dense_steps": 10, "steps": None})) as run:
        pipe(**pipeline_call(steps=30))
    assert len(times) == 60
    assert len(set(times)) == 29
    assert [(step, branch) for _, step, branch, _ in steps_and_branches(run)] == [
        (step, branch) for step in range(30) for branch in ("cond", "uncond")
    ]
    assert {r.action for r in run.trace.records if r.step < 10} == {"dense"}
    assert {r.action for r in run.trace.records if r.step >= 10} == {"sparse"}


def test_the_class_is_the_one_that_the_stand_in_is_for():
    assert CLASS.startswith("HunyuanVideo15")
    assert [cls.__name__ for cls in UNMASKED] == ["HunyuanVideo15AttnProcessor2_0"]
