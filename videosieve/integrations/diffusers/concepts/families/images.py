"""Stable Diffusion 3, Qwen-Image and Z-Image."""

from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.concepts.streams import (
    DUAL,
    Arguments,
    BlockKind,
    ConceptFamily,
    Entered,
    added_heads,
    enter_dual,
    leave_dual,
    place,
    shared_heads,
)
from videosieve.integrations.diffusers.concepts.text import ConceptText


def _embed_sd3(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    return text.pool(transformer.context_embedder(text.embeds.to(transformer.dtype)))


def _condition_sd3(transformer: Any, arguments: Arguments) -> Tensor:
    # The pooled prompt must not speak for the concepts.
    return transformer.time_text_embed(
        arguments["timestep"], torch.zeros_like(arguments["pooled_projections"])
    )


def _enter_sd3(block: Any, concepts: Tensor, condition: Tensor) -> Entered:
    if block.context_pre_only:  # the last block, which text does not leave
        return added_heads(block.attn, block.norm1_context(concepts, condition))
    return enter_dual(block, concepts, condition)


def _embed_qwen(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    return text.pool(transformer.txt_in(transformer.txt_norm(text.embeds.to(transformer.dtype))))


def _condition_qwen(transformer: Any, arguments: Arguments) -> tuple[Tensor, Tensor]:
    """The modulation, and the turn of the first text token."""
    hidden = arguments["hidden_states"]
    times = arguments["timestep"].to(hidden.dtype)
    scale = arguments.get("guidance")
    guidance = () if scale is None else (scale.to(hidden.dtype) * 1000,)
    condition = transformer.time_text_embed(times, *guidance, hidden, arguments.get("additional_t_cond"))
    _, turns = transformer.pos_embed(arguments["img_shapes"], max_txt_seq_len=1, device=hidden.device)
    return condition, turns


def _enter_qwen(block: Any, concepts: Tensor, modulation: tuple[Tensor, Tensor]) -> Entered:
    condition, turns = modulation
    shift, scale, gate, *rest = (part.unsqueeze(1) for part in block.txt_mod(condition).chunk(6, dim=-1))
    normed = block.txt_norm1(concepts) * (1 + scale) + shift
    return place(added_heads(block.attn, normed, gate, *rest), turns)


def _leave_qwen(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, shift_mlp, scale_mlp, gate_mlp = inside.rest
    concepts = concepts + gate * block.attn.to_add_out(output)
    return concepts + gate_mlp * block.txt_mlp(block.txt_norm2(concepts) * (1 + scale_mlp) + shift_mlp)


def _embed_z_image(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    """Every concept as a caption of its own, with the model's padding, through the blocks that refine captions."""
    del arguments
    captions = [
        rows[own.bool()] for rows, own in zip(text.embeds.to(transformer.dtype), text.mask, strict=True)
    ]
    device = text.embeds.device
    padded = [
        transformer._pad_with_ids(rows, (len(rows) + -len(rows) % 32, 1, 1), (1, 0, 0), device)
        for rows in captions
    ]
    rows, places, padding = (list(part) for part in list(zip(*padded, strict=True))[:3])
    lengths = [len(part) for part in rows]
    embedded = list(transformer.cap_embedder(torch.cat(rows)).split(lengths))
    hidden, turns, mask, *_ = transformer._prepare_sequence(
        embedded, [one[:length] for one, length in zip(places, lengths, strict=True)], padding,
        transformer.cap_pad_token, None, device,
    )  # fmt: skip
    for block in transformer.context_refiner:
        hidden = block(hidden, mask, turns)
    weights = torch.zeros(*hidden.shape[:2], device=device)
    for row, own in enumerate(text.mask):
        picked = text.weights[row][own.bool()]
        weights[row, : len(picked)] = picked
    return torch.einsum("rs,rsd->rd", weights.to(hidden), hidden).unsqueeze(0)


def _condition_z_image(transformer: Any, arguments: Arguments) -> tuple[Tensor, Tensor]:
    """The modulation, and the turn of the first token of a caption."""
    embedded = transformer.t_embedder(arguments["t"] * transformer.t_scale).to(transformer.dtype)
    first = torch.tensor([[1, 0, 0]], dtype=torch.int32, device=embedded.device)
    return embedded, transformer.rope_embedder(first)


def _enter_z_image(block: Any, concepts: Tensor, modulation: tuple[Tensor, Tensor]) -> Entered:
    condition, turns = modulation
    scale, gate, *rest = (part.unsqueeze(1) for part in block.adaLN_modulation(condition).chunk(4, dim=1))
    return place(
        shared_heads(block.attention, block.attention_norm1(concepts) * (1 + scale), gate, *rest), turns
    )


def _leave_z_image(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, scale_mlp, gate_mlp = inside.rest
    concepts = concepts + gate.tanh() * block.attention_norm2(block.attention.to_out[0](output))
    after = block.feed_forward(block.ffn_norm1(concepts) * (1 + scale_mlp))
    return concepts + gate_mlp.tanh() * block.ffn_norm2(after)


ROWS = {
    "SD3Transformer2DModel": ConceptFamily(
        _embed_sd3, _condition_sd3, (BlockKind(DUAL.attention, _enter_sd3, leave_dual),)
    ),
    "QwenImageTransformer2DModel": ConceptFamily(
        _embed_qwen, _condition_qwen, (BlockKind(DUAL.attention, _enter_qwen, _leave_qwen),)
    ),
    "ZImageTransformer2DModel": ConceptFamily(
        _embed_z_image,
        _condition_z_image,
        (BlockKind(r"layers\.\d+\.attention", _enter_z_image, _leave_z_image),),
    ),
}
