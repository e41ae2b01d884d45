"""Tiny Mochi: a call per batch item, each with its own text; timesteps rise."""

from typing import Any

import torch

from videosieve.testing.models.sequences import SequenceCase, SequenceModel, draw, lay, make, names

CLASS = "MochiTransformer3DModel"
RISING = (0.0, 300.0, 800.0)


def tiny_transformer() -> Any:
    """Two layers."""
    return make(
        CLASS,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        pooled_projection_dim=12,
        in_channels=4,
        text_embed_dim=16,
        time_embed_dim=8,
        max_sequence_length=9,
    )


def build() -> SequenceModel:
    """Three prompts; the model gathers 2, 5 and no rows of text, wherever they stand."""
    mask = torch.zeros(3, 9, dtype=torch.bool)
    mask[0, [0, 1]] = mask[1, [0, 3, 4, 5, 8]] = True
    arguments = {
        "hidden_states": draw(3, 4, 3, 10, 8),
        "timestep": torch.full((3,), 500.0),
        "encoder_hidden_states": draw(3, 9, 16, seed=1),
        "encoder_attention_mask": mask,
    }
    return SequenceModel(
        tiny_transformer(),
        arguments,
        names("transformer_blocks", 2, "attn1"),
        tuple(lay(text_last=text) for text in (2, 5, 0)),
        # the last layer has nothing to do with text any more
        reusable={"mlp": names("transformer_blocks", 2, "ff", "ff_context")[:3]},
        times=RISING,
    )


CASES = {"mochi": SequenceCase(CLASS, build)}


def tiny_pipeline() -> Any:
    """The pipeline, for prompts that are encoded already; call it with `**pipeline_call()`."""
    from diffusers import AutoencoderKLMochi, FlowMatchEulerDiscreteScheduler, MochiPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        widths: Any = (32, 32, 32, 32)
        vae = AutoencoderKLMochi(
            latent_channels=4, out_channels=3, encoder_block_out_channels=widths,
            decoder_block_out_channels=widths, layers_per_block=(1, 1, 1, 1, 1),
        ).eval()  # fmt: skip
    parts: Any = {
        "scheduler": FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        "vae": vae,
        "text_encoder": None,
        "tokenizer": None,
        "transformer": tiny_transformer(),
        "force_zeros_for_empty_prompt": True,
    }
    pipe = MochiPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pipeline_call(prompts: int = 1, seed: int = 0) -> dict[str, Any]:
    """A call for 60 video tokens: 5 (and 8) valid rows of text with guidance against 2.

    Args:
        prompts: 1 or 2.
        seed: Of the first prompt's noise.
    """
    rows = torch.arange(9)
    return {
        "prompt_embeds": draw(2, 9, 16, seed=10)[:prompts],
        "prompt_attention_mask": (rows < torch.tensor([[5], [8]]))[:prompts],
        "negative_prompt_embeds": draw(2, 9, 16, seed=11)[:prompts],
        "negative_prompt_attention_mask": (rows < torch.tensor([[2], [2]]))[:prompts],
        "height": 80, "width": 64, "num_frames": 13, "num_inference_steps": 3, "output_type": "latent",
        "generator": [torch.Generator().manual_seed(seed + number) for number in range(prompts)],
    }  # fmt: skip
