"""Tiny random video pipelines, built in code without any download: for tests, benchmarks and trying things out.

They have the real classes of diffusers and transformers with a few thousand random weights, so they draw noise, in
about a second. Grids are not square: 32 × 48 pixels and 9 frames are 3 × 4 × 6 latent positions or so, so that a
mix-up of the axes shows.
"""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

WORDS = [
    "a", "red", "blue", "green", "cat", "dog", "sun", "sea", "runs", "sleeps", "over", "under", "the", "in",
]  # fmt: skip
HEIGHT, WIDTH = 32, 48
T5_SIZES: dict[str, Any] = {
    "vocab_size": 32,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 37,
    "num_layers": 1,
    "num_heads": 4,
}


def tiny_hunyuanvideo(*, layers: int = 1, single_layers: int = 1) -> HunyuanVideoPipeline:
    """HunyuanVideo, text to video.

    Args:
        layers: Dual-stream blocks.
        single_layers: Single-stream blocks.

    Returns:
        The pipeline; call it with `**hunyuanvideo_call()`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return HunyuanVideoPipeline(
            transformer=tiny_hunyuanvideo_transformer(layers=layers, single_layers=single_layers),
            vae=hunyuanvideo_vae(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
            text_encoder=_llama(),
            tokenizer=tokenizer(),
            text_encoder_2=clip_text(),
            tokenizer_2=tokenizer(),
        )


def tiny_hunyuanvideo_transformer(
    *, layers: int = 1, single_layers: int = 1, condition: str | None = None
) -> HunyuanVideoTransformer3DModel:
    """HunyuanVideo's transformer alone; `condition` is None, "latent_concat" or "token_replace"."""
    channels = 9 if condition == "latent_concat" else 4
    return HunyuanVideoTransformer3DModel(
        in_channels=channels,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=layers,
        num_single_layers=single_layers,
        num_refiner_layers=1,
        patch_size=1,
        patch_size_t=1,
        guidance_embeds=condition is None,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(4, 6, 6),
        image_condition_type=condition,
    ).eval()


def tiny_cogvideox(*, version: str = "1.0", image: bool = False, layers: int = 2) -> Any:
    """CogVideoX, text to video or image to video.

    Args:
        version: "1.0" (sincos positions, frame patch 1) or "1.5" (RoPE, frame patch 2).
        image: Build the image-to-video pipeline.
        layers: Transformer blocks.

    Returns:
        The pipeline; call it with `**cogvideox_call(image=image)`.
    """
    newer = version == "1.5"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=4,
            attention_head_dim=16,
            in_channels=8 if image else 4,
            out_channels=4,
            time_embed_dim=4,
            text_embed_dim=32,
            num_layers=layers,
            sample_width=WIDTH // 8,
            sample_height=HEIGHT // 8,
            sample_frames=9,
            patch_size=2,
            patch_size_t=2 if newer else None,
            temporal_compression_ratio=4,
            max_text_seq_length=16,
            use_rotary_positional_embeddings=newer,
            patch_bias=not newer,
            ofs_embed_dim=4 if newer and image else None,
        ).eval()
        cls: Any = CogVideoXImageToVideoPipeline if image else CogVideoXPipeline
        text_encoder = T5EncoderModel(T5Config(**T5_SIZES)).eval()
        return cls(tokenizer(), text_encoder, cogvideox_vae(), transformer, CogVideoXDDIMScheduler())


def tiny_wan(*, image: bool = False, two: bool = False, layers: int = 2) -> Any:
    """Wan 2.1 or 2.2, text to video or image to video.

    Args:
        image: Build the 2.1 image-to-video pipeline with its CLIP image encoder.
        two: Build 2.2 with a second transformer for timesteps below half.
        layers: Transformer blocks.

    Returns:
        The pipeline; call it with `**wan_call(image=image)`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts: dict[str, Any] = {
            "tokenizer": tokenizer(),
            "text_encoder": UMT5EncoderModel(UMT5Config(**T5_SIZES)).eval(),
            "transformer": tiny_wan_transformer(image=image, layers=layers),
            "transformer_2": tiny_wan_transformer(image=image, layers=layers) if two else None,
            "boundary_ratio": 0.5 if two else None,
            "vae": wan_vae(),
            "scheduler": FlowMatchEulerDiscreteScheduler(shift=1.0),
        }
        if image:
            return WanImageToVideoPipeline(
                **parts,
                image_encoder=clip_vision(),
                image_processor=CLIPImageProcessor(crop_size=32, size=32),
            )
        return WanPipeline(**parts)


def tiny_wan_transformer(*, image: bool = False, layers: int = 2) -> WanTransformer3DModel:
    """Wan's transformer alone; arguments as for `tiny_wan`."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=36 if image else 16,
        out_channels=16,
        text_dim=32,
        freq_dim=32,
        ffn_dim=32,
        num_layers=layers,
        rope_max_seq_len=32,
        image_dim=8 if image else None,
        added_kv_proj_dim=32 if image else None,
    ).eval()


def hunyuanvideo_call(
    prompt: str | list[str] = "a red cat runs", seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """Arguments for a quick call of `tiny_hunyuanvideo()`: 72 video tokens, 16 text tokens."""
    template = {"template": "{}", "crop_start": 0}
    return _call(prompt, seed, {"prompt_template": template, "max_sequence_length": 16, **changes})


def cogvideox_call(
    prompt: str | list[str] = "a red cat runs", seed: int = 0, *, image: bool = False, **changes: Any
) -> dict[str, Any]:
    """Arguments for a quick call of `tiny_cogvideox()`: 18 video tokens (12 in 1.5), 16 text tokens, batched CFG."""
    picture = {"image": _picture()} if image else {}
    return _call(prompt, seed, {"max_sequence_length": 16, **picture, **changes})


def wan_call(
    prompt: str | list[str] = "a red cat runs", seed: int = 0, *, image: bool = False, **changes: Any
) -> dict[str, Any]:
    """Arguments for a quick call of `tiny_wan()`: 18 video tokens, CFG in two calls."""
    # Wan's image-to-video attention takes the last 512 context tokens for text.
    extra = {"image": _picture()} if image else {}
    return _call(prompt, seed, {"max_sequence_length": 512 if image else 16, **extra, **changes})


def _call(prompt: str | list[str], seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "height": HEIGHT,
        "width": WIDTH,
        "num_frames": 9,
        "num_inference_steps": 3,
        "generator": torch.Generator().manual_seed(seed),
        "output_type": "pt",
        **changes,
    }


def _picture() -> torch.Tensor:
    return torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def tokenizer() -> Any:
    """Splits at white space; knows `WORDS`, and everything else as unknown."""
    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", "<s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])  # type: ignore[assignment]
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=16, **names)


def _llama() -> LlamaModel:
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=3,
    )  # fmt: skip
    return LlamaModel(config).eval()


def clip_text() -> CLIPTextModel:
    """CLIP's text side."""
    config = CLIPTextConfig(
        vocab_size=32, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=8, pad_token_id=0, eos_token_id=1, bos_token_id=3,
    )  # fmt: skip
    return CLIPTextModel(config).eval()


def clip_vision() -> CLIPVisionModel:
    """CLIP's picture side, 32 pixels wide."""
    config = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    return CLIPVisionModel(config).eval()


def hunyuanvideo_vae() -> AutoencoderKLHunyuanVideo:
    """4 channels, 4 × 8 × 8."""
    widths: Any = (8, 8, 8, 8)
    return AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=widths, layers_per_block=1, norm_num_groups=4
    ).eval()


def cogvideox_vae() -> AutoencoderKLCogVideoX:
    """4 channels, 4 × 8 × 8."""
    widths: Any = (8, 8, 8, 8)
    return AutoencoderKLCogVideoX(
        latent_channels=4, block_out_channels=widths, layers_per_block=1, norm_num_groups=2,
        temporal_compression_ratio=4,
    ).eval()  # fmt: skip


def wan_vae() -> AutoencoderKLWan:
    """16 channels, 4 × 8 × 8."""
    return AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    ).eval()
