"""Tiny LTX pipelines, built in code without any download: 3 × 2 × 3 tokens of video."""

from typing import Any

import torch
from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler
from transformers import T5Config, T5EncoderModel

from videosieve.testing.models.forwards import noise, seeded
from videosieve.testing.models.ltx import ltx, ltx2_newer

_CALL: dict[str, Any] = {"height": 64, "width": 96, "num_frames": 17, "num_inference_steps": 3}


def tiny_ltx(kind: str = "LTXPipeline") -> Any:
    """A pipeline of LTX-Video; call it with `**ltx_call()`.

    Args:
        kind: Its class.
    """
    import diffusers

    sizes: dict[str, Any] = {
        "vocab_size": 32,
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 1,
        "num_heads": 2,
    }
    pipe = getattr(diffusers, kind)(
        transformer=ltx().model,
        vae=_video_autoencoder(AutoencoderKLLTXVideo, 4),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=seeded(T5EncoderModel, config=T5Config(**sizes)),
        tokenizer=None,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ltx_call(seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Arguments for a quick call of `tiny_ltx()`, guidance in one batch."""
    text = {"prompt_embeds": noise(1, 7, 16), "negative_prompt_embeds": noise(1, 7, 16) / 2}
    masks = {name: torch.ones(1, 7) for name in ("prompt_attention_mask", "negative_prompt_attention_mask")}
    return _call(seed, {**text, **masks, **changes})


def tiny_ltx2() -> Any:
    """LTX-2 with the attention of 2.3; call it with `**ltx2_call()`."""
    from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video, LTX2Pipeline
    from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder

    heads = {
        f"{part}_connector_{name}": value
        for part in ("video", "audio")
        for name, value in (("num_attention_heads", 2), ("attention_head_dim", 8), ("num_layers", 1))
    }
    registers = {f"{part}_connector_num_learnable_registers": None for part in ("video", "audio")}
    cls: Any = LTX2Pipeline
    pipe = cls(
        transformer=ltx2_newer().model,
        vae=_video_autoencoder(AutoencoderKLLTX2Video, 3),
        audio_vae=seeded(
            AutoencoderKLLTX2Audio, base_channels=4, output_channels=2, ch_mult=(1,), num_res_blocks=1,
            in_channels=2, resolution=32, latent_channels=2, sample_rate=16000, mel_hop_length=160, mel_bins=8,
        ),
        connectors=seeded(
            LTX2TextConnectors, caption_channels=16, text_proj_in_factor=2, **heads, **registers,
            connector_rope_base_seq_len=32, rope_double_precision=False, rope_type="split",
        ),
        vocoder=seeded(LTX2Vocoder, in_channels=16, hidden_channels=8, upsample_kernel_sizes=[4], upsample_factors=[2]),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=None,
        tokenizer=None,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ltx2_call(seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Arguments for a quick call of `tiny_ltx2()`: guidance, spatio-temporal guidance in block 1, and of modalities."""
    text = {"prompt_embeds": noise(1, 8, 32), "negative_prompt_embeds": noise(1, 8, 32) / 2}
    masks = {name: torch.ones(1, 8) for name in ("prompt_attention_mask", "negative_prompt_attention_mask")}
    return _call(seed, {**text, **masks, "spatio_temporal_guidance_blocks": [1], **changes})


def _call(seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    return {**_CALL, "generator": torch.Generator().manual_seed(seed), "output_type": "latent", **changes}


def _video_autoencoder(cls: Any, decoder: int) -> Any:
    """32 pixels and 8 frames to a latent, as the released ones; `decoder` counts its stages."""
    layers = {"layers_per_block": (1,) * 5, "decoder_layers_per_block": (1,) * (decoder + 1)}
    widths = {"block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * decoder}
    strides = {"spatial_compression_ratio": 32, "temporal_compression_ratio": 8}
    return seeded(cls, latent_channels=4, **widths, **layers, **strides)
