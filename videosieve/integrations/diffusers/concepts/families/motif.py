"""Motif-Video: HunyuanVideo's blocks. Its cross-attention adds to the video alone, and its last layers hold no text."""

from typing import Any

from torch import Tensor

from videosieve.integrations.diffusers.concepts.streams import DUAL, SINGLE, Arguments, ConceptFamily
from videosieve.integrations.diffusers.concepts.text import ConceptText


def _embed(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    return text.pool(transformer.context_embedder(text.embeds.to(transformer.dtype)))


def _condition(transformer: Any, arguments: Arguments) -> Tensor:
    return transformer.time_text_embed(arguments["timestep"])


def _encoder_layers(transformer: Any, layers: int) -> int:
    return layers - transformer.config["num_decoder_layers"]


ROWS = {
    "MotifVideoTransformer3DModel": ConceptFamily(_embed, _condition, (DUAL, SINGLE), depth=_encoder_layers)
}
