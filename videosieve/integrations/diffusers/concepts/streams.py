"""The concept stream of each joint-attention family: how concept tokens pass through a block as text tokens would.

A family is a row: how concepts enter the model (`embed`), what modulates them (`condition`), and which kind of block
each attention belongs to. A kind of block is two functions around the attention, made of calls of the block's own
modules: nothing of a model is copied, and offloading, casting and LoRA apply to concepts as to text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.concepts.text import ConceptText

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entered:
    """Concepts inside a block.

    Attributes:
        q: Queries [batch or 1, heads, concepts, head_dim], after QK-norm; concepts have no place, hence no RoPE.
        k: Keys, likewise.
        v: Values, likewise.
        rest: What `leave` needs of the block's modulation.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    rest: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class BlockKind:
    """One kind of block.

    Attributes:
        attention: Regular expression of the names of its attentions; its block is everything before the last dot.
        enter: (block, concepts [batch, concepts, channels], condition) → the concepts inside the block.
        leave: (block, concepts, attention output [batch, concepts, channels], inside) → concepts after the block.
    """

    attention: str
    enter: Callable[[Any, Tensor, Tensor], Entered]
    leave: Callable[[Any, Tensor, Tensor, Entered], Tensor]


@dataclass(frozen=True, slots=True)
class ConceptFamily:
    """One joint-attention family.

    Attributes:
        embed: (transformer, text, arguments of one row) → concepts as they enter [1, concepts, channels].
        condition: (transformer, arguments of one row) → what modulates them [1, channels].
        kinds: The kinds of block.
    """

    embed: Callable[[Any, ConceptText, Arguments], Tensor]
    condition: Callable[[Any, Arguments], Tensor]
    kinds: tuple[BlockKind, ...]

    def kind(self, attention: str) -> BlockKind:
        """The kind of block that an attention belongs to."""
        return next(kind for kind in self.kinds if re.fullmatch(kind.attention, attention))


def _heads(attn: Any, projected: Tensor, norm: Any = None) -> Tensor:
    split = projected.unflatten(2, (attn.heads, -1)).transpose(1, 2)
    return split if norm is None else norm(split)


def _embed_hunyuanvideo(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    dtype = transformer.dtype
    times = arguments["timestep"].expand(len(text.embeds))
    return text.pool(transformer.context_embedder(text.embeds.to(dtype), times, text.mask.to(dtype)))


def _condition_hunyuanvideo(transformer: Any, arguments: Arguments) -> Tensor:
    # The pooled prompt must not speak for the concepts: zeros take its place, as in the paper's code.
    pooled = torch.zeros_like(arguments["pooled_projections"])
    return transformer.time_text_embed(arguments["timestep"], pooled, arguments.get("guidance"))[0]


def _enter_dual(block: Any, concepts: Tensor, condition: Tensor) -> Entered:
    attn = block.attn
    normed, *rest = block.norm1_context(concepts, emb=condition)
    return Entered(
        _heads(attn, attn.add_q_proj(normed), attn.norm_added_q),
        _heads(attn, attn.add_k_proj(normed), attn.norm_added_k),
        _heads(attn, attn.add_v_proj(normed)),
        tuple(rest),
    )


def _leave_dual(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, shift_mlp, scale_mlp, gate_mlp = (part.unsqueeze(1) for part in inside.rest)
    concepts = concepts + block.attn.to_add_out(output) * gate
    normed = block.norm2_context(concepts) * (1 + scale_mlp) + shift_mlp
    return concepts + block.ff_context(normed) * gate_mlp


def _enter_single(block: Any, concepts: Tensor, condition: Tensor) -> Entered:
    attn = block.attn
    normed, gate = block.norm(concepts, emb=condition)
    return Entered(
        _heads(attn, attn.to_q(normed), attn.norm_q),
        _heads(attn, attn.to_k(normed), attn.norm_k),
        _heads(attn, attn.to_v(normed)),
        (gate.unsqueeze(1), block.act_mlp(block.proj_mlp(normed))),
    )


def _leave_single(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, mlp = inside.rest
    joined = torch.cat([output, mlp.expand(len(output), -1, -1)], dim=2)
    return concepts + block.proj_out(joined) * gate


def _embed_cogvideox(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    patch = transformer.patch_embed
    concepts = patch.text_proj(text.pool(text.embeds.to(transformer.dtype)))
    # A learned table of positions (5B image to video) has rows for text as well; a computed one has zeros there.
    return (
        concepts + patch.pos_embedding[:, :1].to(concepts)
        if patch.use_learned_positional_embeddings
        else concepts
    )


def _condition_cogvideox(transformer: Any, arguments: Arguments) -> Tensor:
    dtype = transformer.dtype
    times = transformer.time_proj(arguments["timestep"]).to(dtype)
    condition = transformer.time_embedding(times, arguments.get("timestep_cond"))
    if transformer.ofs_embedding is not None:
        condition = condition + transformer.ofs_embedding(transformer.ofs_proj(arguments["ofs"]).to(dtype))
    return condition


def _enter_shared(block: Any, concepts: Tensor, condition: Tensor) -> Entered:
    attn = block.attn1
    # The norm is per token, so one row may stand in for the video.
    _, normed, _, gate = block.norm1(concepts[:, :1], concepts, condition)
    return Entered(
        _heads(attn, attn.to_q(normed), attn.norm_q),
        _heads(attn, attn.to_k(normed), attn.norm_k),
        _heads(attn, attn.to_v(normed)),
        (gate, condition),
    )


def _leave_shared(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    gate, condition = inside.rest
    concepts = concepts + gate * block.attn1.to_out[0](output)
    _, normed, _, gate = block.norm2(concepts[:, :1], concepts, condition)
    return concepts + gate * block.ff(normed)


CONCEPT_FAMILIES: dict[str, ConceptFamily] = {
    "HunyuanVideoTransformer3DModel": ConceptFamily(
        _embed_hunyuanvideo,
        _condition_hunyuanvideo,
        (
            BlockKind(r"transformer_blocks\.\d+\.attn", _enter_dual, _leave_dual),
            BlockKind(r"single_transformer_blocks\.\d+\.attn", _enter_single, _leave_single),
        ),
    ),
    "CogVideoXTransformer3DModel": ConceptFamily(
        _embed_cogvideox,
        _condition_cogvideox,
        (BlockKind(r"transformer_blocks\.\d+\.attn1", _enter_shared, _leave_shared),),
    ),
}


def find_family(name: str) -> ConceptFamily:
    """The concept family of a transformer class.

    Raises:
        IntegrationError: Its text only lends keys and values, or nobody has written its row.
    """
    if name not in CONCEPT_FAMILIES:
        raise IntegrationError(
            f"method 'concept' compares attention outputs of text and video, and in {name} text tokens have none: they "
            f"only lend keys and values. Use method='cross_attention'; 'concept' works with "
            f"{', '.join(CONCEPT_FAMILIES)}"
        )
    return CONCEPT_FAMILIES[name]
