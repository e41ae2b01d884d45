"""Counting the work of models whose forwards take more than latents and a text."""

import json

import diffusers
import pytest

from videosieve.errors import IntegrationError, ModelError
from videosieve.planning.blueprints import BLUEPRINTS
from videosieve.planning.budget import read_blueprint
from videosieve.planning.flops import count_work

H3, LATTE = "MiniMaxH3Transformer3DModel", "LatteTransformer3DModel"
LTX2 = BLUEPRINTS["ltx-2"]


@pytest.mark.skipif(not hasattr(diffusers, LTX2.transformer), reason="this diffusers has no LTX-2")
def test_ltx2_attends_over_its_video_and_pays_for_audio_and_text_beside_it():
    """Two blocks instead of forty-eight, which cost the same each."""
    latents = LTX2.latents(*LTX2.size)
    work = count_work(LTX2.transformer, {"num_layers": 2}, latents, LTX2.text, LTX2.batch)
    assert (work.tokens, work.grid.tokens) == (24_576, 24_576)
    assert work.attention == 4.0 * 2 * 2 * 24_576**2 * 4096
    # per token and block: self-attention 8 · width², queries and output of cross-attention 4, MLP 16, the attentions
    # between video and audio, half as wide, 4; and the products with the text's keys and values
    linear = 2 * 2 * 24_576 * 32 * 4096**2
    text = 4.0 * 2 * 2 * 24_576 * 1024 * 4096
    assert work.rest == pytest.approx(linear + text, rel=0.02)


@pytest.mark.skipif(not hasattr(diffusers, H3), reason=f"this diffusers has no {H3}")
def test_minimax_h3_attends_over_text_audio_and_video():
    """At the size that it is made for; two blocks instead of fifty, which cost the same each."""
    work = count_work(H3, {"num_layers": 2}, (37, 48, 84), 100, 1)
    audio = 2 * round(124 / 24 * 40)
    assert work.grid.tokens == 37_296
    assert work.tokens == 37_296 + audio + 100
    assert (work.heads, work.head_dim) == (56, 128)
    assert work.attention == 4.0 * 2 * work.tokens**2 * 56 * 128
    # four projections of 5376 × 7168 and three matrices of the gated MLP, per token and block
    linear = 2 * 2 * work.tokens * (4 * 5376 * 7168 + 3 * 5376 * 14336)
    assert work.rest == pytest.approx(linear, rel=0.02)


def test_a_model_that_cannot_be_counted_is_refused_by_name(tmp_path):
    with pytest.raises(IntegrationError, match=f"counted for .*LTXVideo.*got '{LATTE}'"):
        count_work(LATTE, {}, (16, 64, 64), 100, 1)
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps({"_class_name": LATTE}))
    with pytest.raises(ModelError, match=f"is a {LATTE}: .*never over both"):
        read_blueprint(str(tmp_path))
