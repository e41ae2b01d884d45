"""Tiny EasyAnimate: two texts before the video, padding and all."""

from typing import Any

import torch

from videosieve.testing.models.sequences import SequenceCase, SequenceModel, draw, lay, make, names

CLASS = "EasyAnimateTransformer3DModel"


def build(inpaint: bool = False, second: bool = True) -> SequenceModel:
    """9 rows of the first text, 5 of the second; one layer with weights for text, one without.

    Args:
        inpaint: Inpainting latents and a mask join the channels.
        second: Whether there is a second text.
    """
    config: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "in_channels": 9 if inpaint else 4,
        "out_channels": 4,
        "patch_size": 2,
        "sample_width": 8,
        "sample_height": 10,
        "num_layers": 2,
        "mmdit_layers": 1,
        "time_embed_dim": 8,
        "text_embed_dim": 12,
        "text_embed_dim_t5": 10 if second else None,
        "time_position_encoding_type": "3d_rope",
    }
    arguments = {
        "hidden_states": draw(2, 4, 3, 10, 8),
        "timestep": torch.full((2,), 500.0),
        "encoder_hidden_states": draw(2, 9, 12, seed=1),
    }
    if second:
        arguments["encoder_hidden_states_t5"] = draw(2, 5, 10, seed=2)
    if inpaint:
        arguments["inpaint_latents"] = draw(2, 5, 3, 10, 8, seed=3)
    return SequenceModel(
        make(CLASS, **config),
        arguments,
        names("transformer_blocks", 2, "attn1"),
        (lay(text_first=9 + 5 * second),),
        reusable={"mlp": names("transformer_blocks", 2, "ff", "txt_ff")[:2]},
    )


CASES = {
    "easyanimate": SequenceCase(CLASS, build),
    "easyanimate, inpainting with one text": SequenceCase(CLASS, lambda: build(inpaint=True, second=False)),
}
