"""Tiny pipelines around the tiny transformers, with embeddings in place of text encoders: `pipe(**call)` runs.

A pipeline that keeps its own text encoder is in `videosieve.testing.pipelines`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers as installed
import torch

from videosieve.testing.models.tiny import new, randn

diffusers: Any = installed  # pipelines get None where their types want a text encoder


@dataclass(frozen=True)
class PipelineCase:
    """A pipeline and how it is called.

    Attributes:
        cls: The pipeline's class in diffusers; an older release may lack it.
        build: Makes the pipeline and the arguments of a call with few steps whose output is latents.
        steps: Denoising steps that this call runs.
        branches: Branches of every step, in order.
        grid: Token grid of the video.
    """

    cls: str
    build: Callable[[], tuple[Any, dict[str, Any]]]
    steps: int
    branches: tuple[str, ...] = ("cond", "uncond")
    grid: tuple[int, int, int] = (3, 4, 6)

    @property
    def is_there(self) -> bool:
        """Whether the installed diffusers has the class."""
        return hasattr(installed, self.cls)


_WAN: dict[str, Any] = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 16, "out_channels": 16,
    "text_dim": 16, "freq_dim": 32, "ffn_dim": 32, "num_layers": 3, "rope_max_seq_len": 32,
}  # fmt: skip
SIZE: dict[str, Any] = {"height": 64, "width": 96, "num_frames": 9, "output_type": "latent"}
"""Pixels that are 3 × 4 × 6 tokens where the VAE takes 4 × 8 × 8 and the transformer 1 × 2 × 2."""


def _wan_vae() -> Any:
    return diffusers.AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    ).eval()


def _embeds(channels: int) -> dict[str, Any]:
    return {"prompt_embeds": randn(1, 7, channels), "negative_prompt_embeds": randn(1, 7, channels) + 1}


def _call(steps: int, **changes: Any) -> dict[str, Any]:
    return {
        **SIZE,
        "num_inference_steps": steps,
        "generator": torch.Generator().manual_seed(0),
        **changes,
    }


def _quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def vace() -> tuple[Any, dict[str, Any]]:
    """Control video and mask of the pipeline's own making: everything is to be generated."""
    transformer = new("WanVACETransformer3DModel", **_WAN, vace_layers=[0, 2], vace_in_channels=96).eval()
    cls: Any = diffusers.WanVACEPipeline  # what a call with ready embeddings never asks for is left out
    pipe = cls(
        tokenizer=None, text_encoder=None, vae=_wan_vae(), transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip
    return _quiet(pipe), _call(4, **_embeds(16))


def _skyreels(cls: str, **changes: Any) -> tuple[Any, dict[str, Any]]:
    transformer = new("SkyReelsV2Transformer3DModel", **_WAN).eval()
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    )
    pipe = getattr(diffusers, cls)(
        tokenizer=None, text_encoder=None, vae=_wan_vae(), transformer=transformer, scheduler=scheduler
    )
    return _quiet(pipe), _call(4, prompt=None, **_embeds(16), **changes)


def skyreels() -> tuple[Any, dict[str, Any]]:
    """Text to video."""
    return _skyreels("SkyReelsV2Pipeline")


def skyreels_forcing() -> tuple[Any, dict[str, Any]]:
    """Diffusion forcing, all frames at one time."""
    return _skyreels("SkyReelsV2DiffusionForcingPipeline", ar_step=0)


def skyreels_staggered() -> tuple[Any, dict[str, Any]]:
    """Diffusion forcing, every frame two steps behind the one before: 4 + 2 · 2 iterations."""
    return _skyreels("SkyReelsV2DiffusionForcingPipeline", ar_step=2)


class PassingChecker:
    """Stands where Cosmos wants its guardrail, which is a package and weights of its own: lets everything pass."""

    def check_text_safety(self, prompt: Any) -> bool:
        """Whether a prompt may be used."""
        del prompt
        return True

    def check_video_safety(self, video: Any) -> Any:
        """The video, untouched."""
        return video

    def to(self, *args: Any, **kwargs: Any) -> "PassingChecker":
        """Nothing to move."""
        del args, kwargs
        return self


def cosmos_25() -> tuple[Any, dict[str, Any]]:
    """Video to world: the first latent frame is given, at a constant time that is the highest of the last steps."""
    transformer = new(
        "CosmosTransformer3DModel", in_channels=17, out_channels=16, num_attention_heads=2, attention_head_dim=16,
        num_layers=2, mlp_ratio=2.0, text_embed_dim=16, adaln_lora_dim=4, max_size=(4, 32, 32), patch_size=(1, 2, 2),
        concat_padding_mask=False, extra_pos_embed_type=None, use_crossattn_projection=True,
        crossattn_proj_in_channels=10, encoder_hidden_states_channels=16,
    ).eval()  # fmt: skip
    cls: Any = (
        diffusers.Cosmos2_5_PredictBasePipeline
    )  # what a call with ready embeddings never asks for is left out
    pipe = cls(
        text_encoder=None, tokenizer=None, transformer=transformer, vae=_wan_vae(),
        scheduler=diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
        safety_checker=PassingChecker(),
    )  # fmt: skip
    video = torch.rand(1, 3, 9, 64, 96, generator=torch.Generator().manual_seed(1))
    given = {"video": video, "num_latent_conditional_frames": 1, "conditional_frame_timestep": 0.5}
    return _quiet(pipe), _call(4, **given, **_embeds(10))


def kandinsky_5() -> tuple[Any, dict[str, Any]]:
    """Two calls per step that nobody names."""
    transformer = new(
        "Kandinsky5Transformer3DModel", in_visual_dim=4, in_text_dim=16, in_text_dim2=8, time_dim=8, out_visual_dim=4,
        patch_size=(1, 2, 2), model_dim=32, ff_dim=32, num_text_blocks=1, num_visual_blocks=2, axes_dims=(4, 6, 6),
    ).eval()  # fmt: skip
    widths: Any = (8, 8, 8, 8)
    vae = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=widths, layers_per_block=1, norm_num_groups=4
    ).eval()
    cls: Any = diffusers.Kandinsky5T2VPipeline  # what a call with ready embeddings never asks for is left out
    pipe = cls(
        transformer=transformer, vae=vae, text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
    )  # fmt: skip
    embeds = {
        f"{sign}{name}": value + (1 if sign else 0)
        for sign in ("", "negative_")
        for name, value in (("prompt_embeds_qwen", randn(1, 7, 16)), ("prompt_embeds_clip", randn(1, 8)))
    }
    lengths = torch.tensor([0, 7], dtype=torch.int32)
    return _quiet(pipe), _call(4, prompt_cu_seqlens=lengths, negative_prompt_cu_seqlens=lengths, **embeds)


PIPELINES = {
    "wan vace": PipelineCase("WanVACEPipeline", vace, 4),
    "skyreels": PipelineCase("SkyReelsV2Pipeline", skyreels, 4),
    "skyreels forcing": PipelineCase("SkyReelsV2DiffusionForcingPipeline", skyreels_forcing, 4),
    "skyreels staggered": PipelineCase("SkyReelsV2DiffusionForcingPipeline", skyreels_staggered, 8),
    "cosmos 2.5": PipelineCase("Cosmos2_5_PredictBasePipeline", cosmos_25, 4),
    "kandinsky 5": PipelineCase("Kandinsky5T2VPipeline", kandinsky_5, 4),
}
