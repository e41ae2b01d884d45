"""Tiny models with text in the sequence of the video."""

from typing import Any

import torch
from torch import Tensor

from videosieve.testing.models.tiny import Case, TinyModel, blocks, new, randn, times

_HUNYUAN: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 1,
    "num_single_layers": 2,
    "num_refiner_layers": 1,
    "mlp_ratio": 2.0,
    "patch_size": 2,
    "patch_size_t": 1,
    "guidance_embeds": True,
    "text_embed_dim": 16,
    "pooled_projection_dim": 8,
    "rope_axes_dim": (4, 6, 6),
}
_COG: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 4,
    "out_channels": 4,
    "time_embed_dim": 8,
    "text_embed_dim": 16,
    "num_layers": 2,
    "sample_width": 12,
    "sample_height": 8,
    "patch_size": 2,
    "max_text_seq_length": 9,
    "use_rotary_positional_embeddings": True,
}


def prefix_mask(rows: int, *valid: int) -> Tensor:
    """int64 [items, rows]: so many first rows of every item are valid."""
    return (torch.arange(rows) < torch.tensor(valid)[:, None]).long()


def hunyuanvideo() -> TinyModel:
    """Two prompts of 5 and 9 tokens behind the video, in double and single blocks."""
    arguments = {
        "hidden_states": randn(2, 4, 3, 8, 12),
        "timestep": times(2),
        "encoder_hidden_states": randn(2, 9, 16),
        "encoder_attention_mask": prefix_mask(9, 5, 9),
        "pooled_projections": randn(2, 8),
        "guidance": times(2, 6000.0),
    }
    names = [*blocks("transformer_blocks", 1, "attn"), *blocks("single_transformer_blocks", 2, "attn")]
    children = {
        "mlp": [f"transformer_blocks.0.{child}" for child in ("ff", "ff_context")],
        "joint": blocks("single_transformer_blocks", 2, "proj_out"),
    }
    model = new("HunyuanVideoTransformer3DModel", **_HUNYUAN)
    return TinyModel(model, arguments, names, children, text=(5, 9), place="last", padded=72 + 9)


def angles(tokens: int, channels: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions [tokens, channels]."""
    table = torch.linspace(0, 3, tokens)[:, None] * torch.ones(channels)
    return table.cos(), table.sin()


def _cogvideox(cls: str, frames: int = 3, **config: Any) -> TinyModel:
    arguments = {
        "hidden_states": randn(1, frames, 4, 8, 12).repeat(2, 1, 1, 1, 1),
        "timestep": times(2),
        "encoder_hidden_states": randn(2, 9, 16),
        "image_rotary_emb": angles(72, 16),
    }
    children = {"mlp": blocks("transformer_blocks", 2, "ff")}
    names = blocks("transformer_blocks", 2, "attn1")
    side = frames // 3
    return TinyModel(
        new(cls, **_COG, **config),
        arguments,
        names,
        children,
        text=(9,),
        place="first",
        disturb=lambda arguments: arguments["hidden_states"].narrow(1, side, side).add_(1),
    )


def cogvideox() -> TinyModel:
    """CogVideoX 1.0."""
    return _cogvideox("CogVideoXTransformer3DModel", sample_frames=9)


def cogvideox_15() -> TinyModel:
    """Two latent frames are one of tokens."""
    return _cogvideox(
        "CogVideoXTransformer3DModel", frames=6, sample_frames=21, patch_size_t=2, patch_bias=False
    )


def consisid() -> TinyModel:
    """Without a face."""
    return _cogvideox("ConsisIDTransformer3DModel", sample_frames=9, is_train_face=False)


CASES = {
    "hunyuanvideo": Case("HunyuanVideoTransformer3DModel", hunyuanvideo),
    "cogvideox": Case("CogVideoXTransformer3DModel", cogvideox),
    "cogvideox 1.5": Case("CogVideoXTransformer3DModel", cogvideox_15),
    "consisid": Case("ConsisIDTransformer3DModel", consisid),
}
