"""Tiny Framepack: three lengths of history before the video, image and text behind it, alone and in a batch."""

from typing import Any

import torch

from videosieve.testing.models.sequences import SequenceCase, SequenceModel, draw, lay, make, names, valid

CLASS = "HunyuanVideoFramepackTransformer3DModel"
HISTORY = 2 + 6 + 40
"""Tokens of 4, 2 and 2 latent frames of 10 × 8, in pieces of 4 × 8 × 8, 2 × 4 × 4 and 1 × 2 × 2, rounded up."""
_INDICES = (
    "indices_latents",
    "indices_latents_clean",
    "indices_latents_history_2x",
    "indices_latents_history_4x",
)


def tiny_transformer() -> Any:
    """One double and two single blocks."""
    return make(
        CLASS,
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=2,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        text_embed_dim=12,
        pooled_projection_dim=8,
        rope_axes_dim=(4, 6, 6),
        has_image_proj=True,
        image_proj_dim=8,
        has_clean_x_embedder=True,
    )


def build(batch: int = 1) -> SequenceModel:
    """4 rows of an image, and 5 valid rows of text; in a batch of two 9 of the second prompt.

    Args:
        batch: 1 or 2. The model cuts off the text's padding where a prompt is alone, and masks it in a batch.
    """
    arguments = {
        "hidden_states": draw(batch, 4, 3, 10, 8),
        "timestep": torch.full((batch,), 500.0),
        "encoder_hidden_states": draw(batch, 9, 12, seed=1),
        "encoder_attention_mask": valid(9, *(5, 9)[:batch]),
        "pooled_projections": draw(batch, 8, seed=2),
        "guidance": torch.full((batch,), 6000.0),
        "image_embeds": draw(batch, 4, 8, seed=3),
        "indices_latents": torch.arange(8, 11),
        "latents_clean": draw(batch, 4, 2, 10, 8, seed=4),
        "indices_latents_clean": torch.tensor([0, 7]),
        "latents_history_2x": draw(batch, 4, 2, 10, 8, seed=5),
        "indices_latents_history_2x": torch.arange(5, 7),
        "latents_history_4x": draw(batch, 4, 4, 10, 8, seed=6),
        "indices_latents_history_4x": torch.arange(1, 5),
    }
    return SequenceModel(
        tiny_transformer(),
        arguments,
        [*names("transformer_blocks", 1, "attn"), *names("single_transformer_blocks", 2, "attn")],
        tuple(lay(extra_first=HISTORY, text_last=4 + text) for text in (5, 9)[:batch]),
        reusable={
            "mlp": names("transformer_blocks", 1, "ff", "ff_context"),
            "joint": names("single_transformer_blocks", 2, "proj_out"),
        },
        without_batch=_INDICES,
    )


CASES = {
    "framepack": SequenceCase(CLASS, build),
    "framepack, two prompts": SequenceCase(CLASS, lambda: build(batch=2)),
}


def tiny_pipeline() -> Any:
    """Image to video, for prompts that are encoded already; call it with `**pipeline_call()`."""
    from diffusers import (
        AutoencoderKLHunyuanVideo,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideoFramepackPipeline,
    )
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        widths: Any = (8, 8, 8, 8)
        vision = SiglipVisionConfig(
            hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32,
            patch_size=16,
        )  # fmt: skip
        parts: Any = {
            "text_encoder": None,
            "tokenizer": None,
            "text_encoder_2": None,
            "tokenizer_2": None,
            "transformer": tiny_transformer(),
            "vae": AutoencoderKLHunyuanVideo(
                latent_channels=4, block_out_channels=widths, layers_per_block=1, norm_num_groups=4
            ).eval(),
            "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
            "image_encoder": SiglipVisionModel(vision).eval(),
            "feature_extractor": SiglipImageProcessor(size={"height": 32, "width": 32}),
        }
    pipe = HunyuanVideoFramepackPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pipeline_call(true_cfg: bool = False, seed: int = 0) -> dict[str, Any]:
    """A call for two sections of 60 video tokens each: 5 valid rows of text with the prompt, 2 without.

    Args:
        true_cfg: Guidance in two calls; else the guidance is distilled, in one.
        seed: Of the noise.
    """
    call = {
        "image": draw(1, 3, 80, 64, seed=7).sigmoid(),
        "height": 80, "width": 64, "num_frames": 17, "latent_window_size": 3, "num_inference_steps": 3,
        "prompt_embeds": draw(1, 9, 12, seed=10),
        "pooled_prompt_embeds": draw(1, 8, seed=11),
        "prompt_attention_mask": valid(9, 5),
        "generator": torch.Generator().manual_seed(seed),
        "output_type": "latent",
    }  # fmt: skip
    if true_cfg:
        call |= {
            "true_cfg_scale": 3.0,
            "negative_prompt_embeds": draw(1, 9, 12, seed=12),
            "negative_pooled_prompt_embeds": draw(1, 8, seed=13),
            "negative_prompt_attention_mask": valid(9, 2),
        }
    return call


PIPELINE_HISTORY = 8 + 6 + 40
"""Tokens of 16, 2 and 2 latent frames of history in the pipeline."""
