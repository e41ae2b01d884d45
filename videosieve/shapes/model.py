"""Which networks a shapes model is made of, and how to build them untrained."""

from dataclasses import dataclass

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideoTransformer3DModel
from transformers import PreTrainedTokenizerFast

from videosieve.errors import ModelError
from videosieve.shapes.codec import ShapesCodec
from videosieve.shapes.text import ShapesTextEncoder, build_tokenizer

FRAMES = 16
SHIFT = 5.0  # of the sampler's sigmas: most of the layout is decided above sigma 0.93


@dataclass(frozen=True)
class ModelSize:
    """The transformer's dimensions; tokens per frame = (pixels / 4)^2.

    shapes-m has the width of shapes-s and half its heads at twice their size, so that it can start from its weights.
    """

    heads: int = 6
    head_dim: int = 32
    dual_layers: int = 2
    single_layers: int = 6
    rope_axes: tuple[int, int, int] = (8, 12, 12)
    pixels: int = 32
    text_heads: int = 6


SIZES = {
    "shapes-s": ModelSize(),
    "shapes-m": ModelSize(3, 64, 2, 6, (16, 24, 24), 64),
    "shapes-nano": ModelSize(2, 16, 1, 1, (4, 6, 6), 16, 2),  # for tests; not trained
}


@dataclass
class Networks:
    """What is trained (transformer, text encoder) and what is fixed."""

    transformer: HunyuanVideoTransformer3DModel
    text_encoder: ShapesTextEncoder
    tokenizer: PreTrainedTokenizerFast
    codec: ShapesCodec
    scheduler: FlowMatchEulerDiscreteScheduler


def build_networks(name: str, seed: int = 0) -> Networks:
    """Builds untrained networks.

    Args:
        name: A key of SIZES.
        seed: Seed of the initial weights.

    Returns:
        The networks, float32 on the CPU.

    Raises:
        ModelError: If the name is unknown.
    """
    if name not in SIZES:
        raise ModelError(f"a shapes model is one of {', '.join(SIZES)}; got {name!r}")
    size = SIZES[name]
    width = size.heads * size.head_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = HunyuanVideoTransformer3DModel(
            in_channels=12,
            out_channels=12,
            num_attention_heads=size.heads,
            attention_head_dim=size.head_dim,
            num_layers=size.dual_layers,
            num_single_layers=size.single_layers,
            num_refiner_layers=1,
            patch_size=2,
            patch_size_t=1,
            guidance_embeds=False,
            text_embed_dim=width,
            pooled_projection_dim=width,
            rope_theta=256.0,
            rope_axes_dim=size.rope_axes,
        )
        text_encoder = ShapesTextEncoder(width=width, heads=size.text_heads)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    return Networks(
        transformer, text_encoder, build_tokenizer(), ShapesCodec(sample_size=size.pixels), scheduler
    )
