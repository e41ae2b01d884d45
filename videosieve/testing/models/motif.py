"""Tiny Motif-Video: padded text behind the video, and a last layer that attends over the video twice."""

from typing import Any

import torch

from videosieve.layout import Grid
from videosieve.testing.models.sequences import (
    GRID,
    SequenceCase,
    SequenceModel,
    draw,
    lay,
    make,
    names,
    valid,
)

CLASS = "MotifVideoTransformer3DModel"
DECODER = "single_transformer_blocks.2.attn"
"""The self-attention of the decoder layer."""


def tiny_transformer(decoders: int = 1, doubles: int = 1) -> Any:
    """Double blocks and three single blocks, the last of which belong to the decoder."""
    return make(
        CLASS,
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=doubles,
        num_single_layers=3,
        num_decoder_layers=decoders,
        mlp_ratio=2.0,
        text_embed_dim=12,
        image_embed_dim=6,
        rope_axes_dim=(4, 6, 6),
        enable_text_cross_attention_dual=True,
        enable_text_cross_attention_single=True,
    )


def build(image: bool = True, left: bool = False, decoders: int = 1) -> SequenceModel:
    """Two prompts of 5 and 9 valid rows.

    Args:
        image: 4 rows of an image stand before the text.
        left: Text padding stands before the text and not behind it.
        decoders: Decoder layers.
    """
    mask = valid(9, 5, 9)
    arguments = {
        "hidden_states": draw(2, 9, 3, 10, 8),
        "timestep": torch.full((2,), 500.0),
        "encoder_hidden_states": draw(2, 9, 12, seed=1),
        "encoder_attention_mask": mask.flip(1) if left else mask,
    }
    if image:
        arguments["image_embeds"] = draw(2, 4, 6, seed=2)
    both = lay(grid=Grid(2 * GRID.frames, GRID.height, GRID.width))
    encoders = [*names("transformer_blocks", 1, "attn"), *names("single_transformer_blocks", 3, "attn")]
    crossed = [*names("transformer_blocks", 1, "cross_attn")]
    crossed += names("single_transformer_blocks", 3 - decoders, "cross_attn")
    return SequenceModel(
        tiny_transformer(decoders),
        arguments,
        encoders,
        tuple(lay(text_last=4 * image + text) for text in (5, 9)),
        others={DECODER: (both,)} if decoders else {},
        reusable={
            "mlp": names("transformer_blocks", 1, "ff", "ff_context"),
            "cross": crossed,
            "joint": names("single_transformer_blocks", 3, "proj_out"),
        },
    )


CASES = {
    "motif": SequenceCase(CLASS, build),
    "motif, padding first": SequenceCase(CLASS, lambda: build(left=True)),
    "motif, no decoder": SequenceCase(CLASS, lambda: build(image=False, decoders=0)),
}
