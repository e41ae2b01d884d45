"""Tiny Helios: three lengths of history before the video, whose keys are amplified."""

from typing import Any

import torch

from videosieve.testing.models.sequences import SequenceCase, SequenceModel, draw, lay, make, names

CLASS = "HeliosTransformer3DModel"
HISTORY = 2 + 6 + 40
"""Tokens of 4, 2 and 2 latent frames of 10 × 8, in pieces of 4 × 8 × 8, 2 × 4 × 4 and 1 × 2 × 2, rounded up."""


def tiny_transformer() -> Any:
    """Two layers."""
    return make(
        CLASS,
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=4,
        out_channels=4,
        text_dim=12,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        rope_dim=(8, 8, 8),
        is_amplify_history=True,
    )


def build(history: bool = True) -> SequenceModel:
    """Two prompts; text is in cross-attention.

    Args:
        history: The first chunk of a video has none.
    """
    arguments = {
        "hidden_states": draw(2, 4, 3, 10, 8),
        "timestep": torch.full((2,), 500.0),
        "encoder_hidden_states": draw(2, 7, 12, seed=1),
        "indices_hidden_states": torch.arange(8, 11)[None].repeat(2, 1),
    }
    lengths, first = (("long", 4), ("mid", 2), ("short", 2)) if history else (), 0
    for seed, (name, frames) in enumerate(lengths, start=2):
        arguments[f"latents_history_{name}"] = draw(2, 4, frames, 10, 8, seed=seed)
        arguments[f"indices_latents_history_{name}"] = torch.arange(first, first + frames)[None].repeat(2, 1)
        first += frames
    return SequenceModel(
        tiny_transformer(),
        arguments,
        names("blocks", 2, "attn1"),
        (lay(extra_first=HISTORY * history),),
        reusable={"mlp": names("blocks", 2, "ffn"), "cross": names("blocks", 2, "attn2")},
    )


CASES = {
    "helios": SequenceCase(CLASS, build),
    "helios, first chunk": SequenceCase(CLASS, lambda: build(history=False)),
}
