"""Cross-attention families: where the queries of the video are read, and how concepts become keys like the prompt's.

A family is a row. Concepts pass through whatever the model's text passes through before the first block, each as a
prompt of its own, then through the projection and norm of the keys of every block: modules of the model, called.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.concepts.text import ConceptText

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CrossFamily:
    """One cross-attention family.

    Attributes:
        embed: (transformer, text, arguments of one row) → concepts as keys are made of them [1, concepts, channels].
        attention: Child of a block that attends from the video to the text.
        query: Its child whose output is the queries, after their norm where there is one.
        key: Its child that projects keys.
        key_norm: Its child that norms them; empty for none.
        by_head: Whether that norm sees heads apart.
        heads_first: Whether queries that have heads come as [batch, heads, tokens, head_dim], or tokens first.
        heads: Attribute with the number of heads.
        only: Which of its checkpoints, in words, where it is not all.
    """

    embed: Callable[[Any, ConceptText, Arguments], Tensor]
    attention: str = "attn2"
    query: str = "norm_q"
    key: str = "to_k"
    key_norm: str = "norm_k"
    by_head: bool = False
    heads_first: bool = False
    heads: str = "heads"
    only: str = ""

    def queries(self, attention: Any, output: Tensor) -> Tensor:
        """The hooked output as [batch, heads, tokens, head_dim]."""
        if output.ndim == 3:
            output = output.unflatten(2, (getattr(attention, self.heads), -1))
        return output if self.heads_first else output.transpose(1, 2)

    def keys(self, attention: Any, concepts: Tensor) -> Tensor:
        """Keys of concepts [1, heads, concepts, head_dim]."""
        made: Tensor = getattr(attention, self.key)(concepts)
        norm = getattr(attention, self.key_norm) if self.key_norm else torch.nn.Identity()
        made = made if self.by_head else norm(made)
        made = made.unflatten(2, (getattr(attention, self.heads), -1)).transpose(1, 2)
        return norm(made) if self.by_head else made


def _wan(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    embedder = transformer.condition_embedder.text_embedder
    return text.pool(embedder(text.embeds.to(transformer.dtype)))


def _projected(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    return text.pool(transformer.caption_projection(text.embeds.to(transformer.dtype)))


def _ltx2(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    if getattr(transformer.transformer_blocks[0], "cross_attn_adaln", False):
        raise IntegrationError(
            "this LTX-2 checkpoint (2.3 or later) modulates its text anew in every block by the time, which concepts "
            "outside of the block do not get; cross_attention works with LTX-2.0"
        )
    return _projected(transformer, text, arguments)


def _cosmos(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
    del arguments
    tokens = text.embeds.to(transformer.dtype)
    return text.pool(
        transformer.crossattn_proj(tokens) if transformer.config["use_crossattn_projection"] else tokens
    )


def _refined(prefix: str) -> Callable[[Any, ConceptText, Arguments], Tensor]:
    """Kandinsky: blocks over the text, which know the time; a pooled prompt must not speak for the concepts."""

    def embed(transformer: Any, text: ConceptText, arguments: Arguments) -> Tensor:
        part = {
            name: getattr(transformer, f"{prefix}{name}")
            for name in (
                "text_embeddings",
                "time_embeddings",
                "pooled_text_embeddings",
                "text_rope_embeddings",
                "text_transformer_blocks",
            )
        }
        pooled = torch.zeros_like(arguments["pooled_projections"])
        time = part["time_embeddings"](arguments["timestep"]) + part["pooled_text_embeddings"](pooled)
        vectors = []
        for tokens, mask, weights in zip(
            text.embeds.to(transformer.dtype), text.mask, text.weights, strict=True
        ):
            own = mask.bool()
            hidden = part["text_embeddings"](tokens[own][None])
            rope = part["text_rope_embeddings"](torch.arange(hidden.shape[1], device=hidden.device))
            rope = rope if prefix else rope.unsqueeze(0)
            for block in part["text_transformer_blocks"]:
                hidden = block(hidden, time, rope)
            vectors.append((weights[own].to(hidden)[:, None] * hidden[0]).sum(0))
        return torch.stack(vectors)[None]

    return embed


_WAN = CrossFamily(_wan)
_KANDINSKY: dict[str, Any] = {
    "attention": "cross_attention", "query": "query_norm", "key": "to_key", "key_norm": "key_norm", "by_head": True,
    "heads": "num_heads",
}  # fmt: skip

CROSS_FAMILIES: dict[str, CrossFamily] = {
    **dict.fromkeys(
        (
            "WanTransformer3DModel",
            "WanVACETransformer3DModel",
            "WanAnimateTransformer3DModel",
            "ChronoEditTransformer3DModel",
            "SkyReelsV2Transformer3DModel",
            "AnyFlowTransformer3DModel",
            "HeliosTransformer3DModel",
        ),
        _WAN,
    ),
    "LTXVideoTransformer3DModel": CrossFamily(_projected),
    "LTX2VideoTransformer3DModel": CrossFamily(_ltx2, only="2.0 alone"),
    "AllegroTransformer3DModel": CrossFamily(_projected, query="to_q", key_norm=""),
    "CosmosTransformer3DModel": CrossFamily(_cosmos, by_head=True, heads_first=True),
    "Kandinsky5Transformer3DModel": CrossFamily(_refined(""), **_KANDINSKY),
    "Kandinsky6Transformer3DModel": CrossFamily(_refined("video_"), **_KANDINSKY),
}

_REASONS = {
    "Cosmos3OmniTransformer": "its text attends to itself alone and never sees the video, and it has no layers of "
    "cross-attention: the video reads text among its own keys, for which concepts have no stream",
    "MiniMaxH3Transformer3DModel": "it runs in modular pipelines alone, which encode text together with pictures and "
    "sound, so that a concept alone has no embedding",
}


def why_no_saliency(name: str) -> str:
    """Why no method fits a transformer class that is in no family."""
    return _REASONS.get(name, "nobody has said how its text passes through its blocks")


def why_neither(name: str) -> str:
    """A sentence for a transformer class without saliency; nothing where a method fits it."""
    if name in CROSS_FAMILIES:
        return ""
    return f"saliency does not work with {name}: {why_no_saliency(name)}. It works with " + ", ".join(
        CROSS_FAMILIES
    )
