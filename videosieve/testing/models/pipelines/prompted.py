"""Tiny pipelines with tokenizers and text encoders of their own, called with a prompt: `pipe(prompt=…, **call)`."""

from typing import Any

import diffusers as installed
import torch
from transformers import CLIPImageProcessor, LlamaConfig, LlamaModel, T5Config, T5EncoderModel

from videosieve.testing.models import CASES, easyanimate, helios, motif
from videosieve.testing.models.pipelines.usual import PassingChecker, PipelineCase
from videosieve.testing.models.tiny import new
from videosieve.testing.pipelines import (
    T5_SIZES,
    clip_text,
    clip_vision,
    cogvideox_vae,
    hunyuanvideo_vae,
    tokenizer,
    wan_vae,
)

diffusers: Any = installed
WIDTH, HEIGHT = 96, 64
"""Pixels: with 9 frames 3 × 4 × 6 tokens."""
CHAT = (
    "{% for one in messages %}{{ one.content if one.content is string else one.content[0].text }} {% endfor %}"
    "{% if add_generation_prompt %}over the{% endif %}"
)
_WAN: dict[str, Any] = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 16, "out_channels": 16,
    "text_dim": 16, "freq_dim": 32, "ffn_dim": 32, "num_layers": 3, "cross_attn_norm": True, "rope_max_seq_len": 32,
}  # fmt: skip
_PICTURED = {"in_channels": 36, "image_dim": 8, "added_kv_proj_dim": 48}


def t5(channels: int = 16) -> T5EncoderModel:
    """Of T5 the encoder."""
    sizes: dict[str, Any] = T5_SIZES | {"d_model": channels}
    return T5EncoderModel(T5Config(**sizes)).eval()


def llama(channels: int = 16, layers: int = 4) -> LlamaModel:
    """A causal text encoder."""
    config = LlamaConfig(
        vocab_size=32, hidden_size=channels, intermediate_size=32, num_hidden_layers=layers, num_attention_heads=2,
        max_position_embeddings=1200, pad_token_id=0, eos_token_id=1, bos_token_id=3,
    )  # fmt: skip
    return LlamaModel(config).eval()


def chat_tokenizer(side: str = "right") -> Any:
    """With a template for conversations, and padding on this side."""
    made = tokenizer()
    made.chat_template, made.padding_side = CHAT, side
    return made


class Processor:
    """A tokenizer that takes pictures too, and is given none."""

    def __init__(self) -> None:
        self.tokenizer = tokenizer()

    def __call__(self, text: list[str], images: Any = None, videos: Any = None, **options: Any) -> Any:
        """The tokens of texts."""
        del images, videos
        return self.tokenizer(text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


def _built(cls: Any, **parts: Any) -> Any:
    pipe = cls(**({"tokenizer": tokenizer(), "text_encoder": t5()} | parts))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _call(**changes: Any) -> dict[str, Any]:
    size = {"height": HEIGHT, "width": WIDTH, "num_frames": 9, "num_inference_steps": 4, "output_type": "pt"}
    return {**size, "generator": torch.Generator().manual_seed(0), "max_sequence_length": 24, **changes}


def _picture(side: int = 0) -> Any:
    from PIL import Image

    return Image.effect_noise((side or WIDTH, side or HEIGHT), 80).convert("RGB")


def _flow(name: str = "UniPCMultistepScheduler") -> Any:
    return getattr(diffusers, name)(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def _eyes() -> dict[str, Any]:
    return {
        "image_encoder": clip_vision(),
        "image_processor": CLIPImageProcessor(crop_size=32, size=32),
    }


def consisid() -> tuple[Any, dict[str, Any]]:
    """With a face. Its class is taken from its module: the package hides it where OpenCV is missing, which draws the
    points of a face (`kps_cond`) and nothing else of the pipeline asks for."""
    from diffusers.pipelines.consisid.pipeline_consisid import ConsisIDPipeline

    face = {
        "id_dim": 8,
        "vit_dim": 8,
        "depth": 5,
        "dim_head": 8,
        "num_heads": 2,
        "num_id_token": 2,
        "num_querie": 3,
    }
    transformer = new(
        "ConsisIDTransformer3DModel", num_attention_heads=2, attention_head_dim=16, in_channels=8, out_channels=4,
        time_embed_dim=8, text_embed_dim=16, num_layers=2, sample_width=12, sample_height=8, sample_frames=9,
        patch_size=2, max_text_seq_length=24, use_rotary_positional_embeddings=True, is_train_face=True,
        cross_attn_dim_head=8, cross_attn_num_heads=2, LFE_output_dim=21,
        **{f"LFE_{name}": value for name, value in face.items()},
    ).eval()  # fmt: skip
    pipe = _built(
        ConsisIDPipeline,
        vae=cogvideox_vae(),
        transformer=transformer,
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )
    draws = torch.Generator().manual_seed(1)
    seen = {
        "id_cond": torch.randn(1, 8, generator=draws),
        "id_vit_hidden": [torch.randn(1, 5, 8, generator=draws) for _ in range(5)],
    }
    return pipe, _call(image=_picture(), **seen)


def animate() -> tuple[Any, dict[str, Any]]:
    """A character, its poses and its face; one segment."""
    transformer = new(
        "WanAnimateTransformer3DModel", **(_WAN | _PICTURED | {"num_layers": 2}), latent_channels=16,
        motion_style_dim=8, motion_dim=4,
        motion_encoder_channel_sizes={"4": 8, "8": 8, "16": 8}, motion_encoder_size=16, motion_encoder_dim=8,
        face_encoder_hidden_dim=8, face_encoder_num_heads=2, inject_face_latents_blocks=2,
    ).eval()  # fmt: skip
    pipe = _built(
        diffusers.WanAnimatePipeline, vae=wan_vae(), transformer=transformer, scheduler=_flow(), **_eyes()
    )
    call = _call(max_sequence_length=512, segment_frame_length=9, image=_picture())
    del call["num_frames"]
    return pipe, call | {
        "pose_video": [_picture() for _ in range(9)],
        "face_video": [_picture(16) for _ in range(9)],
    }


def chronoedit(reasoning: int = 0) -> tuple[Any, dict[str, Any]]:
    """Two latent frames; with temporal reasoning three of them in so many first steps."""
    transformer = new("ChronoEditTransformer3DModel", **(_WAN | _PICTURED)).eval()
    pipe = _built(
        diffusers.ChronoEditPipeline, vae=wan_vae(), transformer=transformer, scheduler=_flow(), **_eyes()
    )
    thinks = (
        {"enable_temporal_reasoning": True, "num_temporal_reasoning_steps": reasoning} if reasoning else {}
    )
    return pipe, _call(max_sequence_length=512, image=_picture(), **thinks)


def anyflow() -> tuple[Any, dict[str, Any]]:
    """Guidance in one batch."""
    transformer = new("AnyFlowTransformer3DModel", **_WAN).eval()
    pipe = _built(
        diffusers.AnyFlowPipeline, vae=wan_vae(), transformer=transformer,
        scheduler=diffusers.FlowMapEulerDiscreteScheduler(),
    )  # fmt: skip
    return pipe, _call(guidance_scale=3.0)


def kandinsky_6() -> tuple[Any, dict[str, Any]]:
    """Video without sound. The template is a constant of its module, made for Qwen's tokens: tests put theirs there."""
    transformer = new(
        "Kandinsky6Transformer3DModel", in_visual_dim=4, in_text_dim=16, in_text_dim2=8, time_dim=8, out_visual_dim=4,
        patch_size=(1, 2, 2), model_dim=32, ff_dim=32, num_text_blocks=1, num_visual_blocks=2, axes_dims=(4, 6, 6),
        in_audio_dim=4, out_audio_dim=4, visual_cond=False,
    ).eval()  # fmt: skip
    pipe = _built(
        diffusers.Kandinsky6TI2VAPipeline, vae=hunyuanvideo_vae(), transformer=transformer, text_encoder=llama(),
        tokenizer=None, text_encoder_2=clip_text(), tokenizer_2=tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip
    pipe.tokenizer = Processor()
    return pipe, _call(sample_audio=False)


def _small_vae(channels: int) -> Any:
    return diffusers.AutoencoderKLWan(
        base_dim=3, z_dim=channels, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * channels, latents_std=[1.0] * channels,
    ).eval()  # fmt: skip


def allegro() -> tuple[Any, dict[str, Any]]:
    """Guidance in one batch, text masked in cross-attention; latents alone."""
    transformer: Any = CASES["allegro"].build().transformer.float()
    flow = diffusers.DDIMScheduler()
    pipe = _built(diffusers.AllegroPipeline, vae=None, transformer=transformer, scheduler=flow)
    return pipe, _call(output_type="latent")


def cosmos_1() -> tuple[Any, dict[str, Any]]:
    """Two calls a step; latents alone."""
    transformer: Any = CASES["cosmos"].build().transformer.float()
    flow = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)
    pipe = _built(
        diffusers.CosmosTextToWorldPipeline, vae=None, transformer=transformer, scheduler=flow,
        safety_checker=PassingChecker(),
    )  # fmt: skip
    return pipe, _call(output_type="latent", num_frames=17)


def easyanimate_() -> tuple[Any, dict[str, Any]]:
    """Guidance in one batch, text in the sequence; latents alone."""
    vae = diffusers.AutoencoderKLMagvit(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4,
    ).eval()  # fmt: skip
    pipe = _built(
        diffusers.EasyAnimatePipeline, vae=vae, transformer=easyanimate.build(second=False).transformer,
        text_encoder=llama(12),
        tokenizer=chat_tokenizer("left"), scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip
    call = _call(output_type="latent", negative_prompt="sea")
    del call["max_sequence_length"]
    pipe.enable_text_attention_mask = True
    return pipe, call


def helios_() -> tuple[Any, dict[str, Any]]:
    """One chunk; latents alone."""
    transformer: Any = helios.tiny_transformer()
    pipe = _built(
        diffusers.HeliosPipeline, text_encoder=t5(12),
        vae=_small_vae(transformer.config.in_channels), transformer=transformer,
        scheduler=diffusers.HeliosScheduler(stages=1, stage_range=[0, 1], gamma=1 / 3),
    )  # fmt: skip
    return pipe, _call(output_type="latent")


def motif_() -> tuple[Any, dict[str, Any]]:
    """A guider's two calls; text padded on the left; latents alone."""
    transformer: Any = motif.tiny_transformer()
    pipe = _built(
        diffusers.MotifVideoPipeline, text_encoder=t5(12), vae=_small_vae(4), transformer=transformer,
        tokenizer=chat_tokenizer("left"),
        feature_extractor=None, guider=diffusers.ClassifierFreeGuidance(guidance_scale=3.0),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip
    return pipe, _call(output_type="latent")


PROMPTED = {
    "consisid": PipelineCase("ConsisIDTransformer3DModel", consisid, 4, ("cond_uncond",)),
    "wan animate": PipelineCase("WanAnimatePipeline", animate, 4),
    "chronoedit": PipelineCase("ChronoEditPipeline", chronoedit, 4),
    "anyflow": PipelineCase("AnyFlowPipeline", anyflow, 4, ("cond_uncond",)),
    "kandinsky 6": PipelineCase("Kandinsky6TI2VAPipeline", kandinsky_6, 4),
    "allegro": PipelineCase("AllegroPipeline", allegro, 4, ("cond_uncond",)),
    "cosmos 1": PipelineCase("CosmosTextToWorldPipeline", cosmos_1, 4),
    "easyanimate": PipelineCase("EasyAnimatePipeline", easyanimate_, 4, ("cond_uncond",)),
    "helios": PipelineCase("HeliosPipeline", helios_, 4),
    "motif": PipelineCase("MotifVideoPipeline", motif_, 4),
}
