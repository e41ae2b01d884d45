"""HunyuanVideo, Framepack, HunyuanVideo-1.5 and HunyuanImage: a refiner over the text, then dual and single streams."""

from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.concepts.streams import DUAL, SINGLE, Arguments, ConceptFamily
from videosieve.integrations.diffusers.concepts.text import ConceptText


def _refine(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    """Every concept as a prompt of its own through the token refiner, which knows the time."""
    times = arguments["timestep"].expand(len(text.embeds))
    return text.pool(transformer.context_embedder(text.embeds.to(transformer.dtype), times, text.mask.bool()))


def _condition(transformer: Any, arguments: Arguments) -> Tensor:
    # The pooled prompt must not speak for the concepts: zeros take its place, as in the paper's code.
    pooled = torch.zeros_like(arguments["pooled_projections"])
    return transformer.time_text_embed(arguments["timestep"], pooled, arguments.get("guidance"))[0]


def _refine_15(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    refined = _refine(transformer, text, arguments)
    kind = torch.zeros(
        1, 1, dtype=torch.long, device=refined.device
    )  # 0 marks the text of the language model
    return refined + transformer.cond_type_embed(kind)


def _condition_15(transformer: Any, arguments: Arguments) -> Tensor:
    return transformer.time_embed(arguments["timestep"], timestep_r=arguments.get("timestep_r"))


def _condition_image(transformer: Any, arguments: Arguments) -> Tensor:
    given = {name: arguments.get(name) for name in ("guidance", "timestep_r")}
    return transformer.time_guidance_embed(arguments["timestep"], **given)


ROWS = {
    "HunyuanVideoTransformer3DModel": ConceptFamily(_refine, _condition, (DUAL, SINGLE)),
    "HunyuanVideoFramepackTransformer3DModel": ConceptFamily(_refine, _condition, (DUAL, SINGLE)),
    "HunyuanVideo15Transformer3DModel": ConceptFamily(_refine_15, _condition_15, (DUAL,)),
    "HunyuanImageTransformer2DModel": ConceptFamily(_refine, _condition_image, (DUAL, SINGLE)),
}
