"""Empty texts for one forward: what the prompt becomes, and the images that stand beside it."""

from collections.abc import Mapping
from typing import Any

import torch

TEXT_WIDTHS = ("text_embed_dim", "text_dim", "in_text_dim", "caption_channels")
POOLED_WIDTHS = ("pooled_projection_dim", "in_text_dim2")
GLYPHS = 256
"""Rows of a second text: ByT5's of HunyuanVideo-1.5, T5's of EasyAnimate 5."""
SIGLIP = 729
"""Rows of an image in the sequence, 27 × 27: HunyuanVideo-1.5, Framepack, Motif."""
CLIP = 257
"""Rows of an image in Wan Animate's cross-attention."""


def text_arguments(config: Mapping[str, Any], text: int, batch: int) -> dict[str, Any]:
    """Every text and image that a forward may ask for, by name, as far as the config gives their widths.

    Args:
        config: The transformer's.
        text: Rows of the prompt, all of them valid.
        batch: Batch elements.

    Returns:
        Tensors on the default device; masks, and images whose zeros say "none", on the CPU.
    """
    pooled = torch.empty(batch, first_of(config, POOLED_WIDTHS))
    known: dict[str, Any] = {
        "encoder_hidden_states": torch.empty(batch, text, first_of(config, TEXT_WIDTHS)),
        "encoder_attention_mask": _valid(batch, text),
        "pooled_projections": pooled,
        "text_rope_pos": torch.arange(text),
    }
    if config.get("text_embed_2_dim"):
        known["encoder_hidden_states_2"] = torch.empty(batch, GLYPHS, config["text_embed_2_dim"])
        known["encoder_attention_mask_2"] = _valid(batch, GLYPHS)
    if config.get("text_embed_dim_t5"):
        known["encoder_hidden_states_t5"] = torch.empty(batch, GLYPHS, config["text_embed_dim_t5"])
    if width := first_of(config, ("image_embed_dim", "image_proj_dim")):
        known["image_embeds"] = torch.zeros(batch, SIGLIP, width, device="cpu")
    if config.get("image_dim"):
        known["encoder_hidden_states_image"] = torch.empty(batch, CLIP, config["image_dim"])
    return known


def first_of(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """The first of these entries that a config has, or 0."""
    return int(next((value for name in names if (value := config.get(name))), 0))


def _valid(batch: int, rows: int) -> torch.Tensor:
    return torch.ones(batch, rows, dtype=torch.bool, device="cpu")
