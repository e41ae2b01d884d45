"""CogVideoX, ConsisID and EasyAnimate: one norm modulates video and text, each with its own shift, scale and gate."""

from typing import Any

from torch import Tensor

from videosieve.integrations.diffusers.concepts.streams import (
    Arguments,
    BlockKind,
    ConceptFamily,
    Entered,
    added_heads,
    shared_heads,
)
from videosieve.integrations.diffusers.concepts.text import ConceptText

_ATTENTION = r"transformer_blocks\.\d+\.attn1"


def _embed(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    patch = transformer.patch_embed
    concepts = patch.text_proj(text.pool(text.embeds.to(transformer.dtype)))
    # A learned table of positions (5B image to video) has rows for text as well; a computed one has zeros there.
    return (
        concepts + patch.pos_embedding[:, :1].to(concepts)
        if patch.use_learned_positional_embeddings
        else concepts
    )


def _condition(transformer: Any, arguments: Arguments) -> Tensor:
    dtype = transformer.dtype
    times = transformer.time_proj(arguments["timestep"]).to(dtype)
    condition = transformer.time_embedding(times, arguments.get("timestep_cond"))
    if getattr(transformer, "ofs_embedding", None) is not None:
        condition = condition + transformer.ofs_embedding(transformer.ofs_proj(arguments["ofs"]).to(dtype))
    return condition


def _enter(block: Any, concepts: Tensor, condition: Tensor) -> Entered:
    # The norm is per token, so one row may stand in for the video.
    _, normed, _, gate = block.norm1(concepts[:, :1], concepts, condition)
    return shared_heads(block.attn1, normed, gate, condition)


def _leave(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, condition = inside.rest
    concepts = concepts + gate * block.attn1.to_out[0](output)
    _, normed, _, gate = block.norm2(concepts[:, :1], concepts, condition)
    return concepts + gate * block.ff(normed)


def _embed_easyanimate(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    return text.pool(transformer.text_proj(text.embeds.to(transformer.dtype)))


def _enter_easyanimate(block: Any, concepts: Tensor, condition: Tensor) -> Entered:
    _, normed, _, gate = block.norm1(concepts[:, :1], concepts, condition)
    own = block.attn1.add_q_proj is not None  # else text and video share their projections
    return (added_heads if own else shared_heads)(block.attn1, normed, gate.unsqueeze(1), condition)


def _leave_easyanimate(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, condition = inside.rest
    out = getattr(block.attn1, "to_add_out", None)
    concepts = concepts + gate * (block.attn1.to_out[0] if out is None else out)(output)
    _, normed, _, gate = block.norm2(concepts[:, :1], concepts, condition)
    after = (block.ff if block.txt_ff is None else block.txt_ff)(normed)
    after = after if block.norm3 is None else block.norm3(after)
    return concepts + gate.unsqueeze(1) * after


_COGVIDEOX = ConceptFamily(_embed, _condition, (BlockKind(_ATTENTION, _enter, _leave),))

ROWS = {
    "CogVideoXTransformer3DModel": _COGVIDEOX,
    "ConsisIDTransformer3DModel": _COGVIDEOX,
    "EasyAnimateTransformer3DModel": ConceptFamily(
        _embed_easyanimate, _condition, (BlockKind(_ATTENTION, _enter_easyanimate, _leave_easyanimate),)
    ),
}
