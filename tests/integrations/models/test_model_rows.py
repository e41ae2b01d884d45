"""Claims about the parts of a row and about what a forward may look like."""

from typing import ClassVar

import diffusers
import pytest
import torch
import torch.nn.functional as F
from conftest import SPARSE  # type: ignore[import-not-found]
from torch import nn

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import MODELS, ModelRow, describe, sparsify
from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.heads import count_heads
from videosieve.integrations.diffusers.models.parts import Condition, Extra, Text
from videosieve.integrations.diffusers.models.sequences import sequence_of
from videosieve.layout import VideoLayout
from videosieve.testing.models.joint import hunyuanvideo
from videosieve.testing.models.others import kandinsky_5
from videosieve.testing.models.wan import vace, wan


def row(**changes) -> ModelRow:
    given = {
        "name": "MyTransformer", "family": "Mine", "attentions": r"blocks\.\d+\.attn", "axes": "BCTHW",
        "patch": (1, 2, 2), "text": "none", "branches": ("cond",), "notes": "",
    }  # fmt: skip
    return ModelRow(**{**given, **changes})


class Config:
    def __init__(self, **config):
        self.config = config


def arrange(row, arguments, **config):
    sequence = sequence_of(row)(row, Config(**config), arguments)
    return sequence.arrange([part.double() for part in sequence.reads()])


def latents(batch=1):
    return {"hidden_states": torch.zeros(batch, 4, 3, 8, 12), "timestep": torch.zeros(batch)}


def test_patch_sides_may_be_numbers_or_entries():
    assert row(patch=(2, "side", "side")).patch_sides({"side": 4}) == (2, 4, 4)


def test_channels_may_come_last():
    assert row(axes="BTHWC").grid((1, 3, 8, 12, 4), {}) == VideoLayout.of(3, 4, 6).grid


def test_text_arguments_are_named_exactly_where_text_is_in_the_sequence():
    for wrong in ({"text": "last"}, {"texts": (Text(),)}):
        with pytest.raises(IntegrationError, match="must name its text arguments exactly"):
            row(**wrong)


def test_an_unknown_kind_of_sequence_is_named():
    with pytest.raises(IntegrationError, match=r"one of latents, marked_frames, .*, or a subclass"):
        sequence_of(row(sequence="lattice"))


def test_several_texts_add_their_valid_rows_for_every_item():
    texts = (
        Text("image"),
        Text("words", mask="words_mask"),
        Text("empty", zero_is_padding=True),
        Text("absent"),
    )
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    arguments = latents(2) | {
        "image": torch.ones(2, 4, 8), "words": torch.ones(2, 3, 8), "words_mask": mask, "empty": torch.zeros(2, 5, 8),
    }  # fmt: skip
    (found,) = arrange(row(text="last", texts=texts), arguments)
    assert [group.layout for group in found.groups] == [
        VideoLayout.of(3, 4, 6, text_last=n) for n in (4 + 2, 4 + 1)
    ]
    assert [group.items for group in found.groups] == [(0,), (1,)]
    assert (found.tokens, found.padded) == (72 + 4 + 3 + 5, True)


def test_extra_tokens_stand_where_the_row_says():
    made = row(
        text="last",
        texts=(Text(),),
        before=(Extra("old", (1, 4, 4)), Extra("clean", (1, 2, 2), needs="where")),
        after=(Extra("audio"),),
    )
    arguments = latents() | {
        "encoder_hidden_states": torch.ones(1, 7, 8), "old": torch.ones(1, 4, 1, 9, 12),
        "clean": torch.ones(1, 4, 2, 8, 12), "audio": torch.ones(1, 11, 4),
    }  # fmt: skip
    (found,) = arrange(made, arguments)
    kinds = [(segment.kind, segment.tokens) for segment in found.groups[0].layout.segments]
    assert kinds == [
        ("extra", 3 * 3),
        ("video", 72),
        ("text", 7),
        ("extra", 11),
    ]  # without `where` none are clean
    (found,) = arrange(made, arguments | {"where": torch.arange(2)})
    assert found.groups[0].layout.segments[0].tokens == 3 * 3 + 2 * 4 * 6


def test_reference_frames_stand_behind_the_video():
    made = row(sequence="marked_frames")
    marked = {"visual_token_type_ids": torch.tensor([[0, 0, 1]])}
    (found,) = arrange(made, latents() | marked)
    assert found.groups[0].layout == VideoLayout.of(2, 4, 6, extra_last=24)
    elsewhere = {"visual_token_type_ids": torch.tensor([[1, 0, 0]])}
    assert arrange(made, latents() | elsewhere).startswith("visual_token_type_ids must mark the last of 3")


def test_conditions_of_a_configuration():
    assert Condition("kind", "why", equals="mine").holds({"kind": "mine"})
    assert not Condition("kind", "why", equals="mine").holds({})
    assert [Condition("n", "why", least=2).holds({"n": n}) for n in (1, 2, 3, None)] == [
        False,
        True,
        True,
        False,
    ]


def test_calls_by_item_have_the_layout_of_their_item():
    each = Arrangement.one_by_one([VideoLayout.of(3, 4, 6, text_last=n) for n in (2, 5)])
    assert [each.of_call(n).tokens for n in range(2)] == [74, 77]
    assert each.of_call(2) is None


class Attention(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def test_heads_are_never_the_hidden_size_divided():
    assert count_heads(Attention(heads=7, to_q=nn.Linear(30, 7 * 16))) == (7, 16)
    assert count_heads(Attention(num_heads=7, to_query=nn.Linear(30, 7 * 16))) == (7, 16)
    assert count_heads(Attention(heads=7, to_qkv=nn.Linear(30, 3 * 7 * 16))) == (7, 16)
    with pytest.raises(IntegrationError, match="Attention has no such projection"):
        count_heads(Attention(heads=7))


def test_control_blocks_come_first_where_the_model_calls_them_first():
    tiny = vace()
    with sparsify(tiny.transformer, "svg", **{**SPARSE, "dense_layers": 1}) as run:
        tiny()
    assert [r.action for r in run.trace.records] == ["dense", *["sparse"] * 4]
    (found,) = describe(tiny.transformer)
    assert next(iter(found.attentions)) == "vace_blocks.0.attn1"


class TwoInOne(nn.Module):
    """A pipeline's parts, some of them of other kinds."""

    def __init__(self, **parts):
        super().__init__()
        self.components = parts


RECOGNISED = {
    "LatteTransformer3DModel": "within a frame and along time",
    "SanaVideoTransformer3DModel": "linear attention",
    "SanaWMTransformer3DModel": "recurrent linear attention",
    "SanaWMLTX2RefinerTransformer3DModel": "key-value cache",
    "AnyFlowFARTransformer3DModel": "key-value cache",
    "WanAnimate2Transformer3DModel": "key-value cache",
    "Kandinsky6SRTransformer3DModel": "already sparse",
}


@pytest.mark.parametrize("name", RECOGNISED)
def test_a_class_that_stays_dense_is_refused_with_its_reason(name):
    stand_in = type(name, (nn.Module,), {})()
    with pytest.raises(IntegrationError, match=f"^{name}: .*{RECOGNISED[name]}"):
        sparsify(stand_in, "svg")
    assert MODELS[name].dense


def test_a_pipeline_with_another_transformer_keeps_working():
    tiny = wan()
    latte = type("LatteTransformer3DModel", (nn.Module,), {})()
    assert [one.component for one in describe(TwoInOne(transformer=tiny.transformer, other=latte))] == [
        "transformer"
    ]


def needs(name):
    return pytest.mark.skipif(
        not hasattr(diffusers, name), reason=f"diffusers {diffusers.__version__} has no {name}"
    )


@needs("Kandinsky5Transformer3DModel")
def test_a_checkpoint_that_is_sparse_already_is_refused_with_the_way_out():
    with pytest.raises(IntegrationError, match=r"already sparse \(NABLA\).* attention_type to 'regular'"):
        sparsify(kandinsky_5("nabla").transformer, "svg")


@needs("Kandinsky5Transformer3DModel")
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_a_mask_that_is_no_tensor_goes_to_the_model_s_own_attention():
    """NABLA's block mask, of a transformer whose config does not tell of it: every bit stays as it was."""
    from diffusers.models.attention_dispatch import AttentionBackendName

    tiny = kandinsky_5().adapt(
        hidden_states=torch.randn(1, 2, 16, 32, 4, generator=torch.Generator().manual_seed(0)),
        visual_rope_pos=[torch.arange(2), torch.arange(8), torch.arange(16)],
        sparse_params={"to_fractal": True, "P": 0.9, "sta_mask": torch.eye(4, dtype=torch.bool)[None, None]},
    )
    for name in tiny.attentions:
        processor = tiny.transformer.get_submodule(name).processor
        processor._attention_backend = AttentionBackendName.FLEX
    untouched = tiny()
    with sparsify(tiny.transformer, "svg", **SPARSE) as run:
        output = tiny()
        run.warns = False
    assert torch.equal(output, untouched)
    assert run.summary().dense_reasons == {"the model brings its own block mask": 2}


class Block(nn.Module):
    """A self-attention that may pass its values on, as spatio-temporal guidance wants of some blocks."""

    class Processor:
        def __call__(self, attn, hidden_states, skip):
            heads = hidden_states.unflatten(2, (2, -1)).transpose(1, 2)
            if skip:
                return hidden_states
            return F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)

    def __init__(self):
        super().__init__()
        self.attn = Attention(heads=2, to_q=nn.Linear(8, 8))
        self.attn.processor = self.Processor()

    def forward(self, hidden_states, skip):
        return self.attn.processor(self.attn, hidden_states, skip)


class Skipping(nn.Module):
    """Three blocks, of which a forward may leave out any."""

    config: ClassVar = {}

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, hidden_states, timestep, without=()):
        rows = hidden_states.flatten(2).transpose(1, 2)
        for number, block in enumerate(self.blocks):
            rows = block(rows, number in without)
        return rows


@pytest.fixture
def skipping(monkeypatch):
    known = row(name="Skipping", patch=(1, 1, 1), skipped_blocks="without")
    monkeypatch.setitem(MODELS, "Skipping", known)
    return Skipping()


def test_blocks_that_pass_their_values_on_are_no_error(skipping):
    arguments = {"hidden_states": torch.randn(1, 8, 3, 4, 6), "timestep": torch.zeros(1)}
    with torch.no_grad(), sparsify(skipping, "svg", **SPARSE) as run:
        skipping(**arguments, without=[1])
    assert [(r.layer, r.action) for r in run.trace.records] == [(0, "sparse"), (2, "sparse")]


def test_blocks_that_skip_attention_unasked_are_an_error(skipping, monkeypatch):
    monkeypatch.setitem(MODELS, "Skipping", row(name="Skipping", patch=(1, 1, 1)))
    arguments = {"hidden_states": torch.randn(1, 8, 3, 4, 6), "timestep": torch.zeros(1)}
    with (
        torch.no_grad(),
        sparsify(skipping, "svg", **SPARSE),
        pytest.raises(IntegrationError, match="ran without"),
    ):
        skipping(**arguments, without=[1])


def test_padded_texts_are_known():
    assert MODELS["HunyuanVideoTransformer3DModel"].is_padded
    assert not MODELS["CogVideoXTransformer3DModel"].is_padded
    assert len(hunyuanvideo().text) == 2
