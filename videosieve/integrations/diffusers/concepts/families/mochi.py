"""Mochi: dual streams of two widths, modulated without shifts."""

from typing import Any

from torch import Tensor

from videosieve.integrations.diffusers.concepts.streams import (
    Arguments,
    BlockKind,
    ConceptFamily,
    Entered,
    added_heads,
)
from videosieve.integrations.diffusers.concepts.text import ConceptText


def _embed(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    return text.pool(transformer.time_embed.caption_proj(text.embeds.to(transformer.dtype)))


def _condition(transformer: Any, arguments: Arguments) -> Tensor:
    # The time alone: what the model adds to it is the prompt, pooled.
    embed = transformer.time_embed
    return embed.timestep_embedder(embed.time_proj(arguments["timestep"]).to(transformer.dtype))


def _enter(block: Any, concepts: Tensor, condition: Tensor) -> Entered:
    if block.context_pre_only:  # the last block, which text does not leave
        return added_heads(block.attn1, block.norm1_context(concepts, condition))
    normed, *rest = block.norm1_context(concepts, condition)
    return added_heads(block.attn1, normed, *rest)


def _leave(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, scale_mlp, gate_mlp = (part.unsqueeze(1) for part in inside.rest)
    concepts = concepts + block.norm2_context(block.attn1.to_add_out(output), gate.tanh())
    normed = block.norm3_context(concepts, 1 + scale_mlp.float())
    return concepts + block.norm4_context(block.ff_context(normed), gate_mlp.tanh())


ROWS = {
    "MochiTransformer3DModel": ConceptFamily(
        _embed, _condition, (BlockKind(r"transformer_blocks\.\d+\.attn1", _enter, _leave),)
    )
}
