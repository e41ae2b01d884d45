"""Tiny models with Wan's blocks."""

from typing import Any

import torch

from videosieve.testing.models.tiny import Case, TinyModel, blocks, frame, new, randn, times

_WAN: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 16,
    "freq_dim": 32,
    "ffn_dim": 32,
    "num_layers": 3,
    "cross_attn_norm": True,
    "rope_max_seq_len": 32,
}
_NORM = {"qk_norm": "rms_norm_across_heads"}
_CHILDREN = {"mlp": blocks("blocks", 3, "ffn"), "cross": blocks("blocks", 3, "attn2")}


def _arguments() -> dict[str, Any]:
    return {
        "hidden_states": randn(1, 4, 3, 8, 12),
        "timestep": times(),
        "encoder_hidden_states": randn(1, 7, 16),
    }


def _plain(cls: str, **config: Any) -> TinyModel:
    model = new(cls, **_WAN, **_NORM, **config)
    return TinyModel(model, _arguments(), blocks("blocks", 3, "attn1"), _CHILDREN)


def wan() -> TinyModel:
    """Wan 2.1."""
    return _plain("WanTransformer3DModel")


def wan_per_token() -> TinyModel:
    """Wan 2.2 TI2V: a timestep per token, 0 for the first frame, which is given."""
    tiny = wan()
    steps = torch.full((1, 72), 500.0)
    steps[:, :24] = 0
    return tiny.adapt(timestep=steps)


def vace() -> TinyModel:
    """Control blocks at layers 0 and 2; they run before all others, on the video plus their stream."""
    model = new("WanVACETransformer3DModel", **_WAN, **_NORM, vace_layers=[0, 2], vace_in_channels=6)
    both = [("vace_blocks", 2), ("blocks", 3)]
    names = {
        child: [name for prefix, count in both for name in blocks(prefix, count, child)]
        for child in ("attn1", "ffn", "attn2")
    }
    arguments = _arguments() | {"control_hidden_states": randn(1, 6, 3, 8, 12)}
    return TinyModel(model, arguments, names["attn1"], {"mlp": names["ffn"], "cross": names["attn2"]})


def animate() -> TinyModel:
    """512 text tokens and 5 of an image in cross-attention; a face adapter after every second block."""
    config = _WAN | {"in_channels": 12, "num_layers": 2}
    model = new(
        "WanAnimateTransformer3DModel", **config, **_NORM, latent_channels=4, image_dim=10, added_kv_proj_dim=48,
        motion_encoder_channel_sizes={"4": 8, "8": 8, "16": 8}, motion_encoder_size=16, motion_style_dim=8,
        motion_dim=4, motion_encoder_dim=8, face_encoder_hidden_dim=8, face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    )  # fmt: skip
    arguments = {
        "hidden_states": randn(1, 12, 3, 8, 12),
        "timestep": times(),
        "encoder_hidden_states": randn(1, 512, 16),
        "encoder_hidden_states_image": randn(1, 5, 10),
        "pose_hidden_states": randn(1, 4, 2, 8, 12),
        "face_pixel_values": randn(1, 3, 5, 16, 16),
    }
    children = {"mlp": blocks("blocks", 2, "ffn"), "cross": blocks("blocks", 2, "attn2")}
    return TinyModel(model, arguments, blocks("blocks", 2, "attn1"), children)


def chronoedit() -> TinyModel:
    """While temporal reasoning runs: more than two frames."""
    return _plain("ChronoEditTransformer3DModel")


def skyreels() -> TinyModel:
    """One timestep for all frames."""
    return _plain("SkyReelsV2Transformer3DModel")


def skyreels_forcing() -> TinyModel:
    """Diffusion forcing: a timestep per frame."""
    return skyreels().adapt(timestep=torch.tensor([[0, 500, 900]]), enable_diffusion_forcing=True)


def skyreels_causal() -> TinyModel:
    """Diffusion forcing in blocks of two frames: a mask [1, 1, tokens, tokens] between frames."""
    tiny = _plain("SkyReelsV2Transformer3DModel", num_frame_per_block=2)
    tiny.grid = (4, 4, 6)
    times = torch.tensor([[0, 200, 500, 900]])
    return tiny.adapt(hidden_states=randn(1, 4, 4, 8, 12), timestep=times, enable_diffusion_forcing=True)


def anyflow() -> TinyModel:
    """Both branches in one batch; frames before channels; where the flow starts and ends, per frame."""
    model = new("AnyFlowTransformer3DModel", **_WAN)
    arguments = {
        "hidden_states": randn(1, 3, 4, 8, 12).repeat(2, 1, 1, 1, 1),
        "timestep": torch.full((2, 3), 500.0),
        "r_timestep": torch.full((2, 3), 400.0),
        "encoder_hidden_states": randn(2, 7, 16),
    }
    tiny = TinyModel(model, arguments, blocks("blocks", 3, "attn1"), _CHILDREN)
    tiny.disturb = lambda arguments: frame(arguments["hidden_states"], 1).add_(1)
    return tiny


CASES = {
    "wan": Case("WanTransformer3DModel", wan),
    "wan, a time per token": Case("WanTransformer3DModel", wan_per_token),
    "wan vace": Case("WanVACETransformer3DModel", vace),
    "wan animate": Case("WanAnimateTransformer3DModel", animate),
    "chronoedit": Case("ChronoEditTransformer3DModel", chronoedit),
    "skyreels": Case("SkyReelsV2Transformer3DModel", skyreels),
    "skyreels, a time per frame": Case("SkyReelsV2Transformer3DModel", skyreels_forcing),
    "anyflow": Case("AnyFlowTransformer3DModel", anyflow),
}
