"""EasyAnimate: two texts before the video, padding and all; guidance in one batch."""

import pytest
import torch
from sequence_claims import SPARSE, Claims, build, calls_of, generate  # type: ignore[import-not-found]

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import describe, sparsify
from videosieve.testing.models.easyanimate import CASES


class TestTwoTexts(Claims):
    case = CASES["easyanimate"]


class TestInpaintingWithOneText(Claims):
    case = CASES["easyanimate, inpainting with one text"]


@pytest.fixture
def model():
    return build(CASES["easyanimate"])


def test_both_texts_stand_before_the_video_in_their_order(model):
    before = calls_of(model)[0][1]
    for name, rows in (("encoder_hidden_states", range(9)), ("encoder_hidden_states_t5", range(9, 14))):
        after = calls_of(model, **{name: model.arguments[name] + draw_like(model.arguments[name])})[0][1]
        assert (before.v != after.v).any(dim=(0, 1, 3)).nonzero().flatten().tolist() == list(rows)


def draw_like(x):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(9))


def test_a_feed_forward_that_serves_video_and_text_is_not_stored(model):
    """The second block has no feed-forward for text alone: one module, two calls, two outputs."""
    (found,) = describe(model.transformer)
    assert "transformer_blocks.1.ff" in dict(model.transformer.named_modules())
    assert list(found.row.reusable(model.transformer, "mlp")) == [
        "transformer_blocks.0.ff", "transformer_blocks.0.txt_ff"
    ]  # fmt: skip
    window = {
        "reuse_range": 2,
        "reuse_mlp": 2,
        "reuse_start": 0.0,
        "reuse_stop": 1.0,
        "min_tokens": 0,
        "steps": 3,
    }
    with sparsify(model.transformer, "dense", **window) as run:
        run.warns = False
        generate(model)
    assert run.summary().reused_calls == 2


def test_rotation_in_place_leaves_the_model_s_values_alone(model):
    """q and k are written in place by the model; two forwards of a hooked model give the same."""
    with sparsify(model.transformer, "svg", **SPARSE):
        assert torch.equal(model(), model())


def test_a_bare_transformer_does_not_say_whether_its_batch_holds_both_branches(model):
    with pytest.raises(IntegrationError, match="does not say whether its batch"):
        sparsify(model.transformer, "xattention", shared_selection=True, steps=3)
