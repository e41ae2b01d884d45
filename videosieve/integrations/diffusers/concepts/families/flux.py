"""Flux.1, Flux.2 and Chroma: dual and single streams, each family with its own way of modulation."""

import re
from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.concepts.streams import (
    DUAL,
    SINGLE,
    Arguments,
    BlockKind,
    ConceptFamily,
    Entered,
    added_heads,
    split_heads,
)
from videosieve.integrations.diffusers.concepts.text import ConceptText


def _embed(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    return text.pool(transformer.context_embedder(text.embeds.to(transformer.dtype)))


def _thousands(transformer: Any, arguments: Arguments, name: str) -> Tensor | None:
    given = arguments.get(name)
    return None if given is None else given.to(transformer.dtype) * 1000


def _condition(transformer: Any, arguments: Arguments) -> Tensor:
    times, guidance = (_thousands(transformer, arguments, name) for name in ("timestep", "guidance"))
    # The pooled prompt must not speak for the concepts: zeros take its place, as in the paper's code.
    pooled = torch.zeros_like(arguments["pooled_projections"])
    return transformer.time_text_embed(times, *(() if guidance is None else (guidance,)), pooled)


def _condition_2(transformer: Any, arguments: Arguments) -> Tensor:
    times, guidance = (_thousands(transformer, arguments, name) for name in ("timestep", "guidance"))
    return transformer.time_guidance_embed(times, guidance)


def _modulate_2(transformer: Any, condition: Tensor, attention: str) -> Tensor:
    single = attention.startswith("single")
    return (transformer.single_stream_modulation if single else transformer.double_stream_modulation_txt)(
        condition
    )


def _enter_dual_2(block: Any, concepts: Tensor, modulation: Tensor) -> Entered:
    shift, scale, *rest = modulation.chunk(6, dim=-1)
    return added_heads(
        block.attn, block.norm1_context(concepts) * (1 + scale[:, None]) + shift[:, None], *rest
    )


def _leave_dual_2(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, shift_mlp, scale_mlp, gate_mlp = (part.unsqueeze(1) for part in inside.rest)
    concepts = concepts + gate * block.attn.to_add_out(output)
    normed = block.norm2_context(concepts) * (1 + scale_mlp) + shift_mlp
    return concepts + gate_mlp * block.ff_context(normed)


def _enter_single_2(block: Any, concepts: Tensor, modulation: Tensor) -> Entered:
    attn = block.attn
    shift, scale, gate = (part.unsqueeze(1) for part in modulation.chunk(3, dim=-1))
    joined = attn.to_qkv_mlp_proj(block.norm(concepts) * (1 + scale) + shift)
    q, k, v, mlp = joined.split([attn.inner_dim] * 3 + [joined.shape[-1] - 3 * attn.inner_dim], dim=-1)
    return Entered(
        split_heads(attn, q, attn.norm_q),
        split_heads(attn, k, attn.norm_k),
        split_heads(attn, v),
        (gate, attn.mlp_act_fn(mlp)),
    )


def _leave_single_2(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, mlp = inside.rest
    return concepts + gate * block.attn.to_out(torch.cat([output, mlp.expand(len(output), -1, -1)], dim=-1))


def _condition_chroma(transformer: Any, arguments: Arguments) -> Tensor:
    """All modulations of all blocks [1, parts, channels]."""
    times = _thousands(transformer, arguments, "timestep")
    return transformer.distilled_guidance_layer(transformer.time_text_embed(times))


def _modulate_chroma(transformer: Any, condition: Tensor, attention: str) -> Tensor:
    """Three parts for every single block, then six for the image in every dual block, then six for its text."""
    number = int(re.findall(r"\d+", attention)[0])
    if attention.startswith("single"):
        return condition[:, 3 * number : 3 * number + 3]
    singles, duals = len(transformer.single_transformer_blocks), len(transformer.transformer_blocks)
    first = 3 * singles + 6 * (duals + number)
    return condition[:, first : first + 6]


ROWS = {
    "FluxTransformer2DModel": ConceptFamily(_embed, _condition, (DUAL, SINGLE)),
    "ChromaTransformer2DModel": ConceptFamily(_embed, _condition_chroma, (DUAL, SINGLE), _modulate_chroma),
    "Flux2Transformer2DModel": ConceptFamily(
        _embed,
        _condition_2,
        (
            BlockKind(DUAL.attention, _enter_dual_2, _leave_dual_2),
            BlockKind(SINGLE.attention, _enter_single_2, _leave_single_2),
        ),
        _modulate_2,
    ),
}
