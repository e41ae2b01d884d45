"""Motif-Video: text padding on either side, and last layers that attend over the video twice."""

import pytest
import torch
from sequence_claims import SPARSE, Claims, build, calls_of, dense_errors  # type: ignore[import-not-found]

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import describe, sparsify
from videosieve.layout import Grid
from videosieve.methods import Dense
from videosieve.recipe import Recipe
from videosieve.schedule import Table
from videosieve.testing.models.motif import CASES, DECODER, tiny_transformer
from videosieve.testing.models.sequences import GRID, lay, names


class TestPaddingLast(Claims):
    case = CASES["motif"]


class TestPaddingFirst(Claims):
    case = CASES["motif, padding first"]


class TestNoDecoder(Claims):
    case = CASES["motif, no decoder"]


@pytest.fixture
def model():
    return build(CASES["motif"])


def of_layer(calls, layer):
    return [call for name, call in calls if name == layer]


def test_the_decoder_s_video_has_every_other_frame_of_the_layout(model):
    """What the first decoder layer gets from the decoder's side has attended to nothing yet."""
    (before,) = of_layer(calls_of(model), DECODER)
    (after,) = of_layer(calls_of(model, **model.disturbed(frame=1)), DECODER)
    moved = (before.v != after.v).any(dim=(0, 1, 3)).view(2 * GRID.frames, GRID.tokens_per_frame)
    assert moved[0::2].all(dim=1).tolist() == moved[0::2].any(dim=1).tolist() == [False, True, False]


def test_frames_of_one_moment_are_neighbours(model):
    """Without encoder layers the encoder hands on what the decoder gets: two videos with the same values."""
    model.transformer = tiny_transformer(decoders=3, doubles=0)
    model.attentions = names("single_transformer_blocks", 3, "attn")
    calls = calls_of(model)
    assert [name for name, _ in calls] == model.attentions  # one call each: these sequences have no text
    frames = calls[0][1].v.unflatten(2, (2 * GRID.frames, GRID.tokens_per_frame))
    assert torch.equal(frames[:, :, 0::2], frames[:, :, 1::2])
    assert not torch.equal(frames[:, :, 0], frames[:, :, 2])
    with sparsify(model.transformer, "dense"):
        output = model()
    dense_errors(model, output)


def test_observers_see_tokens_in_the_order_of_the_layout(model):
    seen = {}
    with sparsify(model.transformer, "svg", **SPARSE) as run:
        run.observers.append(lambda seen_one: seen.setdefault(seen_one.site.layer, seen_one))
        model()
    decoder = seen[model.attentions.index(DECODER)]
    assert decoder.layout == lay(grid=Grid(2 * GRID.frames, GRID.height, GRID.width))
    (call,) = of_layer(calls_of(model), DECODER)
    assert decoder.q.shape == call.q.shape


def shifted(model):
    """The same texts with padding before them; valid rows keep their order."""
    lengths, text = (5, 9), model.arguments["encoder_hidden_states"]
    moved = torch.stack([one.roll(9 - length, 0) for one, length in zip(text, lengths, strict=True)])
    return {
        "encoder_hidden_states": moved,
        "encoder_attention_mask": model.arguments["encoder_attention_mask"].flip(1),
    }


def test_it_does_not_matter_on_which_side_the_padding_stands(model):
    """Text has no positions here, so both are the same sequence once padding is left out."""
    for recipe, options in (("dense", {}), ("svg", SPARSE)):
        with sparsify(model.transformer, recipe, **options):
            last, first = model(), model(**shifted(model))
        torch.testing.assert_close(first, last, rtol=1e-4, atol=1e-4)
    for (_, one), (_, other) in zip(calls_of(model)[:2], calls_of(model, **shifted(model))[:2], strict=True):
        assert one.layout == other.layout
        torch.testing.assert_close(one.v, other.v)


@pytest.mark.parametrize("name", ["motif", "motif, padding first"])
def test_what_stands_in_the_padding_changes_no_latent(name):
    model = build(CASES[name])
    noise = model.arguments["encoder_hidden_states"].clone()
    noise[model.arguments["encoder_attention_mask"] == 0] += 3
    with sparsify(model.transformer, "svg", **SPARSE):
        assert torch.equal(model(), model(encoder_hidden_states=noise))


def test_without_a_mask_every_row_of_text_counts(model):
    calls = calls_of(model, encoder_attention_mask=None)
    assert [call.layout for name, call in calls if name != DECODER] == [lay(text_last=4 + 9)] * 3


def test_cross_attentions_to_text_are_not_hooked(model):
    (found,) = describe(model.transformer)
    assert not [name for name in found.attentions if "cross" in name]


def test_guidance_branches_share_no_outputs(model):
    with pytest.raises(IntegrationError, match="cannot share attention outputs"):
        sparsify(model.transformer, Recipe(Dense(), Table(("FFFF", "fFFF"))), steps=2)
