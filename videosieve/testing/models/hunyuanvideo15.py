"""Tiny HunyuanVideo-1.5: two prompts, each with two padded texts, with an image and without."""

from typing import Any

import torch

from videosieve.testing.models.sequences import SequenceCase, SequenceModel, draw, lay, make, names, valid

CLASS = "HunyuanVideo15Transformer3DModel"
IMAGE = 4
"""Rows of image embeddings."""


def tiny_transformer(**changes: Any) -> Any:
    """Two layers; latents of 4 channels arrive with as many of a condition and a mask."""
    config: dict[str, Any] = {
        "in_channels": 9,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 2,
        "num_refiner_layers": 1,
        "mlp_ratio": 2.0,
        "text_embed_dim": 12,
        "text_embed_2_dim": 10,
        "image_embed_dim": 6,
        "rope_axes_dim": (4, 6, 6),
    }
    return make(CLASS, **(config | changes))


def build(image: bool = False) -> SequenceModel:
    """Valid text: 3 + 5 rows of the first prompt, 0 + 8 of the second; with an image, 4 more of each.

    Args:
        image: Image to video; text to video hands over zeros for the image.
    """
    arguments = {
        "hidden_states": draw(2, 9, 3, 5, 4),
        "timestep": torch.full((2,), 500.0),
        "encoder_hidden_states": draw(2, 9, 12, seed=1),
        "encoder_attention_mask": valid(9, 5, 8),
        "encoder_hidden_states_2": draw(2, 7, 10, seed=2),
        "encoder_attention_mask_2": valid(7, 3, 0),
        "image_embeds": draw(2, IMAGE, 6, seed=3) * image,
    }
    rows = IMAGE * image
    return SequenceModel(
        tiny_transformer(),
        arguments,
        names("transformer_blocks", 2, "attn"),
        (lay(text_last=rows + 3 + 5), lay(text_last=rows + 0 + 8)),
        reusable={"mlp": names("transformer_blocks", 2, "ff", "ff_context")},
    )


CASES = {
    "hunyuanvideo 1.5": SequenceCase(CLASS, build),
    "hunyuanvideo 1.5, image": SequenceCase(CLASS, lambda: build(image=True)),
}


def tiny_pipeline(bf16: bool = False, shift: float = 9.0) -> Any:
    """The text-to-video pipeline, for prompts that are encoded already; call it with `**pipeline_call()`.

    Args:
        bf16: Transformer and latents in bfloat16, as people run it: neighbouring timesteps then coincide.
        shift: Of the scheduler; 9 is that of 720p.
    """
    from diffusers import (
        AutoencoderKLHunyuanVideo15,
        ClassifierFreeGuidance,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideo15Pipeline,
    )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        widths: Any = (8, 8, 8)
        vae = AutoencoderKLHunyuanVideo15(
            latent_channels=4, block_out_channels=widths, layers_per_block=1, spatial_compression_ratio=4,
            temporal_compression_ratio=4,
        ).eval()  # fmt: skip
    parts: Any = {
        "text_encoder": None,
        "tokenizer": None,
        "text_encoder_2": None,
        "tokenizer_2": None,
        "transformer": tiny_transformer().to(torch.bfloat16 if bf16 else torch.float32),
        "vae": vae,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=shift),
        "guider": ClassifierFreeGuidance(guidance_scale=6.0),
    }
    pipe = HunyuanVideo15Pipeline(**parts)
    pipe.vision_num_semantic_tokens = IMAGE
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pipeline_call(steps: int = 3, seed: int = 0) -> dict[str, Any]:
    """A call for 60 video tokens: 5 + 3 valid text rows with the prompt, 2 without."""
    call: dict[str, Any] = {
        "height": 20, "width": 16, "num_frames": 9, "num_inference_steps": steps, "output_type": "latent",
        "generator": torch.Generator().manual_seed(seed),
    }  # fmt: skip
    for number, (prefix, first, second) in enumerate((("", 5, 3), ("negative_", 2, 0))):
        call |= {
            f"{prefix}prompt_embeds": draw(1, 9, 12, seed=10 + number),
            f"{prefix}prompt_embeds_mask": valid(9, first),
            f"{prefix}prompt_embeds_2": draw(1, 7, 10, seed=20 + number),
            f"{prefix}prompt_embeds_mask_2": valid(7, second),
        }
    return call
