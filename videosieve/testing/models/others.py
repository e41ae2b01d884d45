"""Tiny models with the video alone in self-attention: Allegro, Cosmos, Kandinsky."""

from typing import Any

import torch

from videosieve.testing.models.tiny import Case, TinyModel, blocks, frame, new, randn, times

_COSMOS: dict[str, Any] = {
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "mlp_ratio": 2.0,
    "text_embed_dim": 16,
    "adaln_lora_dim": 4,
    "max_size": (4, 32, 32),
    "patch_size": (1, 2, 2),
    "concat_padding_mask": False,
}
_KANDINSKY: dict[str, Any] = {
    "in_visual_dim": 4,
    "in_text_dim": 16,
    "in_text_dim2": 8,
    "time_dim": 8,
    "out_visual_dim": 4,
    "patch_size": (1, 2, 2),
    "model_dim": 32,
    "ff_dim": 32,
    "num_text_blocks": 1,
    "num_visual_blocks": 2,
    "axes_dims": (4, 6, 6),
}
_CHILDREN = {"mlp": blocks("transformer_blocks", 2, "ff"), "cross": blocks("transformer_blocks", 2, "attn2")}
_ATTENTIONS = blocks("transformer_blocks", 2, "attn1")


def _disturb_second_axis(arguments: dict[str, Any]) -> None:
    frame(arguments["hidden_states"], 1).add_(1)


def allegro() -> TinyModel:
    """Both branches in one batch; heads of 24 channels, a multiple of 6 as rotary positions on three axes need."""
    model = new(
        "AllegroTransformer3DModel", patch_size=2, patch_size_t=1, num_attention_heads=2, attention_head_dim=24,
        in_channels=4, out_channels=4, num_layers=2, cross_attention_dim=48, sample_height=8, sample_width=12,
        sample_frames=3, caption_channels=16,
    )  # fmt: skip
    axes = torch.meshgrid(torch.arange(3), torch.arange(4), torch.arange(6), indexing="ij")
    table = torch.linspace(0, 2, 9)[:, None] * torch.ones(8)
    arguments = {
        "hidden_states": randn(1, 4, 3, 8, 12).repeat(2, 1, 1, 1, 1),
        "timestep": times(2),
        "encoder_hidden_states": randn(2, 7, 16),
        "encoder_attention_mask": torch.ones(2, 7),
        "image_rotary_emb": ([(table.cos(), table.sin())] * 3, tuple(axis.reshape(1, -1) for axis in axes)),
    }
    return TinyModel(model, arguments, _ATTENTIONS, _CHILDREN)


def cosmos() -> TinyModel:
    """Cosmos 1: learnable positions, times of about half a unit."""
    model = new(
        "CosmosTransformer3DModel", **_COSMOS, in_channels=4, rope_scale=(2.0, 1.0, 1.0),
        extra_pos_embed_type="learnable",
    )  # fmt: skip
    arguments = {
        "hidden_states": randn(1, 4, 3, 8, 12),
        "timestep": times(1, 0.5),
        "encoder_hidden_states": randn(1, 7, 16),
        "fps": 24,
    }
    return TinyModel(model, arguments, _ATTENTIONS, _CHILDREN, dtype=torch.float32)


def cosmos_25() -> TinyModel:
    """A timestep per frame, the condition's a constant; text and image as a tuple; a condition mask as a channel."""
    model = new(
        "CosmosTransformer3DModel", **_COSMOS, in_channels=5, extra_pos_embed_type=None,
        use_crossattn_projection=True, crossattn_proj_in_channels=10, encoder_hidden_states_channels=16,
        img_context_dim_in=6, img_context_num_tokens=5, img_context_dim_out=32,
    )  # fmt: skip
    arguments = {
        "hidden_states": randn(1, 4, 3, 8, 12),
        "timestep": torch.tensor([0.1, 0.7, 0.7]).view(1, 1, 3, 1, 1),
        "encoder_hidden_states": (randn(1, 7, 10), randn(1, 5, 6)),
        "fps": 24,
        "condition_mask": torch.zeros(1, 1, 3, 8, 12),
    }
    return TinyModel(model, arguments, _ATTENTIONS, _CHILDREN)


def kandinsky_5(attention_type: str = "regular") -> TinyModel:
    """Channels last; self-attention in text blocks too, which is not the video's."""
    model = new("Kandinsky5Transformer3DModel", **_KANDINSKY, attention_type=attention_type)
    arguments = {
        "hidden_states": randn(1, 3, 8, 12, 4),
        "timestep": times(),
        "encoder_hidden_states": randn(1, 7, 16),
        "pooled_projections": randn(1, 8),
        "text_rope_pos": torch.arange(7),
        "visual_rope_pos": [torch.arange(3), torch.arange(4), torch.arange(6)],
    }
    children = {
        "mlp": blocks("visual_transformer_blocks", 2, "feed_forward"),
        "cross": blocks("visual_transformer_blocks", 2, "cross_attention"),
    }
    names = blocks("visual_transformer_blocks", 2, "self_attention")
    return TinyModel(model, arguments, names, children, disturb=_disturb_second_axis, dtype=torch.float32)


def kandinsky_6(**config: Any) -> TinyModel:
    """Video and audio blocks, each with self-attention; only the video's counts."""
    model = new(
        "Kandinsky6Transformer3DModel", **_KANDINSKY, in_audio_dim=4, out_audio_dim=4, visual_cond=False, **config
    )  # fmt: skip
    arguments = {
        "hidden_states": randn(1, 3, 8, 12, 4),
        "timestep": times(),
        "encoder_hidden_states": randn(1, 7, 16),
        "pooled_projections": randn(1, 8),
        "audio_hidden_states": randn(1, 11, 4),
    }
    block = "visual_transformer_blocks"
    children = {
        "mlp": blocks(block, 2, "video_dec_block.feed_forward"),
        "cross": blocks(block, 2, "video_dec_block.cross_attention"),
    }
    names = blocks(block, 2, "video_dec_block.self_attention")
    return TinyModel(model, arguments, names, children, disturb=_disturb_second_axis)


def kandinsky_6_reference() -> TinyModel:
    """Image to video: a reference frame behind the video, with the first frame's place in time."""
    tiny = kandinsky_6(visual_token_type_num_embeddings=2)
    tiny.after = 24
    return tiny.adapt(
        hidden_states=randn(1, 4, 8, 12, 4),
        visual_token_type_ids=torch.tensor([[0, 0, 0, 1]]),
        visual_rope_pos=(torch.tensor([0, 1, 2, 0]), torch.arange(4), torch.arange(6)),
    )


CASES = {
    "allegro": Case("AllegroTransformer3DModel", allegro),
    "cosmos": Case("CosmosTransformer3DModel", cosmos),
    "cosmos 2.5": Case("CosmosTransformer3DModel", cosmos_25),
    "kandinsky 5": Case("Kandinsky5Transformer3DModel", kandinsky_5),
    "kandinsky 6": Case("Kandinsky6Transformer3DModel", kandinsky_6),
    "kandinsky 6 with a reference": Case("Kandinsky6Transformer3DModel", kandinsky_6_reference),
}
