"""How concept tokens pass through a joint-attention block as text tokens would: what every family shares.

A family is a row: how concepts enter the model (`embed`), what modulates them (`condition`, `modulate`), and which kind
of block each attention belongs to. A kind of block is two functions around the attention, made of calls of the block's
own modules: nothing of a model is copied, and offloading, casting and LoRA apply to concepts as to text. The rows are
in `families/`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.concepts.text import ConceptText

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entered:
    """Concepts inside a block.

    Attributes:
        q: Queries [batch or 1, heads, concepts, head_dim], after QK-norm, at the place of the first text token: where
            text has no places, or the first one is 0, without RoPE.
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
        enter: (block, concepts [batch, concepts, channels], modulation) → the concepts inside the block.
        leave: (block, concepts, attention output [batch, concepts, channels], inside) → concepts after the block.
    """

    attention: str
    enter: Callable[[Any, Tensor, Any], Entered]
    leave: Callable[[Any, Tensor, Tensor, Entered], Tensor]


def same_everywhere(transformer: Any, condition: Any, attention: str) -> Any:
    """What modulates a block, where every block computes its own from the same condition."""
    del transformer, attention
    return condition


def every_layer(transformer: Any, layers: int) -> int:
    """How many layers have text, where all have."""
    del transformer
    return layers


@dataclass(frozen=True, slots=True)
class ConceptFamily:
    """One joint-attention family.

    Attributes:
        embed: (transformer, text, arguments of one row) → concepts as they enter [1, concepts, channels].
        condition: (transformer, arguments of one row) → what modulates them, a tensor or several.
        kinds: The kinds of block.
        modulate: (transformer, condition, name of an attention) → what modulates its block, for `enter`.
        depth: (transformer, layers) → how many layers, from the first, have text beside the video.
    """

    embed: Callable[[Any, ConceptText, Arguments], Tensor]
    condition: Callable[[Any, Arguments], Any]
    kinds: tuple[BlockKind, ...]
    modulate: Callable[[Any, Any, str], Any] = same_everywhere
    depth: Callable[[Any, int], int] = every_layer

    def kind(self, attention: str) -> BlockKind:
        """The kind of block that an attention belongs to."""
        return next(kind for kind in self.kinds if re.fullmatch(kind.attention, attention))


def split_heads(attn: Any, projected: Tensor, norm: Any = None) -> Tensor:
    """[batch, concepts, channels] → [batch, heads, concepts, head_dim], through a QK-norm where there is one."""
    split = projected.unflatten(2, (attn.heads, -1)).transpose(1, 2)
    return split if norm is None else norm(split)


def added_heads(attn: Any, normed: Tensor, *rest: Tensor) -> Entered:
    """Through the projections that an attention has for text alone."""
    return Entered(
        split_heads(attn, attn.add_q_proj(normed), attn.norm_added_q),
        split_heads(attn, attn.add_k_proj(normed), attn.norm_added_k),
        split_heads(attn, attn.add_v_proj(normed)),
        rest,
    )


def shared_heads(attn: Any, normed: Tensor, *rest: Tensor) -> Entered:
    """Through the projections that text and video share."""
    return Entered(
        split_heads(attn, attn.to_q(normed), attn.norm_q),
        split_heads(attn, attn.to_k(normed), attn.norm_k),
        split_heads(attn, attn.to_v(normed)),
        rest,
    )


def place(inside: Entered, turns: Tensor) -> Entered:
    """Queries and keys with RoPE.

    Args:
        inside: Without it.
        turns: Complex [1, head_dim / 2], one factor for every pair of neighbouring channels.
    """

    def turn(x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * turns.to(pairs.device)).flatten(-2).to(x.dtype)

    return Entered(turn(inside.q), turn(inside.k), inside.v, inside.rest)


def enter_dual(block: Any, concepts: Tensor, condition: Tensor) -> Entered:
    """Into a block with a stream of its own for text."""
    normed, *rest = block.norm1_context(concepts, emb=condition)
    return added_heads(block.attn, normed, *rest)


def leave_dual(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    """Out of it."""
    gate, shift_mlp, scale_mlp, gate_mlp = (part.unsqueeze(1) for part in inside.rest)
    concepts = concepts + block.attn.to_add_out(output) * gate
    normed = block.norm2_context(concepts) * (1 + scale_mlp) + shift_mlp
    return concepts + block.ff_context(normed) * gate_mlp


def enter_single(block: Any, concepts: Tensor, condition: Tensor) -> Entered:
    """Into a block in which text and video are one stream, attention and MLP side by side."""
    normed, gate = block.norm(concepts, emb=condition)
    return shared_heads(block.attn, normed, gate.unsqueeze(1), block.act_mlp(block.proj_mlp(normed)))


def leave_single(block: Any, concepts: Tensor, output: Tensor, inside: Entered) -> Tensor:
    """Out of it."""
    gate, mlp = inside.rest
    joined = torch.cat([output, mlp.expand(len(output), -1, -1)], dim=2)
    return concepts + block.proj_out(joined) * gate


DUAL = BlockKind(r"transformer_blocks\.\d+\.attn", enter_dual, leave_dual)
SINGLE = BlockKind(r"single_transformer_blocks\.\d+\.attn", enter_single, leave_single)
