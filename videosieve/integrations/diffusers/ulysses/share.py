"""Ulysses context parallelism: which heads a rank attends to, and in which order it gets the tokens.

Ulysses turns a share of the tokens with all heads into all tokens with a share of the heads. A transformer of video
tokens alone gets them in their own order. One of text and video has both cut, so that what arrives is the video and the
text of rank 0, those of rank 1, and so on: they are put in the layout's order, and back afterwards.

diffusers, `ContextParallelConfig`; Jacobs et al., "DeepSpeed Ulysses", arXiv:2309.14509.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.errors import IntegrationError
from videosieve.forward import Site
from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.targets import Target


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank attends to: all tokens of some heads.

    Attributes:
        config: diffusers' ParallelConfig, set up.
        heads: Attention heads of the model.
        rank: This rank in its Ulysses group, 0 … degree − 1.
        degree: Ranks of the group.
        even: Whether tokens and heads must divide by the degree; else the first ranks have a token more, and the last
            one has fewer heads.
        text: Where the text stands in the sequence: "first", "last" or "none".
        padded: Whether texts are padded in it.
    """

    config: Any
    heads: int
    rank: int
    degree: int
    even: bool
    text: str
    padded: bool

    @property
    def heads_each(self) -> int:
        """Heads of every rank but perhaps the last."""
        return -(-self.heads // self.degree)

    @property
    def heads_here(self) -> int:
        """Heads of this rank."""
        return max(min(self.heads_each, self.heads - self.rank * self.heads_each), 0)

    def place(self, site: Site, heads: int, order: Sequence[int] = ()) -> dict[str, Any]:
        """Fields of a site that say which heads a call with so many of them holds.

        `order`: of all heads, as they were dealt; empty for the model's own.
        """
        if heads == self.heads:
            return {}
        if heads != self.heads_here:
            raise IntegrationError(
                f"rank {self.rank} of {self.degree} should attend to {self.heads_here} of {self.heads} heads, got a "
                f"call of layer {site.layer} with {heads}"
            )
        first = self.rank * self.heads_each
        numbers = tuple((order or range(self.heads))[first : first + heads])
        return {"heads": self.heads, "head_numbers": numbers}

    def gather(self, values: Tensor, order: Sequence[int] = ()) -> Tensor:
        """Values of all heads [batch, heads] from those of this rank's [batch, heads here]; every rank must ask.

        `order`: as in `place`; what comes back is in the model's own.
        """
        import torch.distributed as dist

        group = self.config.context_parallel_config._ulysses_mesh.get_group()
        mine = pad(values, (0, self.heads_each - values.shape[-1])).contiguous()
        parts = [torch.empty_like(mine) for _ in range(self.degree)]
        dist.all_gather(parts, mine, group=group)
        dealt = torch.cat(parts, dim=-1)[..., : self.heads]
        if not order:
            return dealt
        own = torch.empty_like(dealt)
        own[..., list(order)] = dealt
        return own

    def order(self, found: Arrangement | None, tokens: int, layer: str, masked: bool) -> Tensor | None:
        """Where the layout's tokens, padding included, stand in what arrives.

        Args:
            found: What describes the call, or None.
            tokens: Tokens that arrive.
            layer: Module name of the self-attention, for the error.
            masked: Whether the call has a mask, which is about the model's own order.

        Returns:
            int64 [tokens]; None where they stand in their own order, or where no order is needed.

        Raises:
            IntegrationError: Text and video arrive in an order that nothing describes.
        """
        if self.text == "none":
            return None
        if found is None:
            if not (masked or self.padded):
                return None  # without a mask, attention among all tokens is the same in any order
            raise IntegrationError(
                f"{layer} gets {tokens} tokens of text and video from {self.degree} ranks, and no layout describes "
                f"them, so nobody knows where padding is; the plan must cut both, see `enable_ulysses`"
            )
        video = found.groups[0].layout.grid.tokens
        text = found.tokens - video
        return _order((text, video) if self.text == "first" else (video, text), self.degree)

    def require_known(self, layer: str, reason: str) -> None:
        """Refuse plain attention where padding came from the layout alone: the model's mask is about another order.

        Raises:
            IntegrationError: There is a reason to stay plain, and texts are padded.
        """
        if reason and self.text != "none" and self.padded:
            raise IntegrationError(f"{layer} cannot be attended under Ulysses: {reason}")


@lru_cache(maxsize=16)
def _order(streams: tuple[int, ...], ranks: int) -> Tensor:
    """Places of the tokens of several streams, one after the other, where every rank brings its part of each.

    Parts are those of `torch.tensor_split`, which are equal where the ranks divide a stream.
    """
    sizes = [[tokens // ranks + (rank < tokens % ranks) for rank in range(ranks)] for tokens in streams]
    starts, at = {}, 0
    for rank in range(ranks):
        for stream, parts in enumerate(sizes):
            starts[stream, rank] = at
            at += parts[rank]
    return torch.cat(
        [
            torch.arange(parts[rank]) + starts[stream, rank]
            for stream, parts in enumerate(sizes)
            for rank in range(ranks)
        ]
    )


def with_heads(call: AttentionCall, share: Share | None, order: Sequence[int] = ()) -> AttentionCall:
    """The call, told which of the model's heads it holds, where they were dealt in an order or lie in the model's."""
    if share is None or not (told := share.place(call.site, call.heads, order)):
        return call
    return replace(call, site=replace(call.site, **told), gather=partial(share.gather, order=order))


def read_share(found: Target) -> Share | None:
    """What this rank attends to in a forward of a transformer; None without context parallelism.

    Raises:
        IntegrationError: Ring attention, a configuration that was not set up, or a model whose sequence cannot be cut.
    """
    processor: Any = getattr(next(iter(found.attentions.values())), "processor", None)
    config: Any = getattr(found.transformer, "_parallel_config", None)
    config = config or getattr(processor, "_parallel_config", None)
    parallel = getattr(config, "context_parallel_config", None)
    if parallel is None:
        return None
    if parallel.ring_degree > 1:
        raise IntegrationError(
            f"ring context parallelism shows each rank only a chunk of the keys, so no method can choose among all of "
            f"them; got ring_degree={parallel.ring_degree}. Use ulysses_degree instead"
        )
    require_cuts(found)
    if parallel._ulysses_mesh is None:
        raise IntegrationError(
            f"the context parallelism of {found.component} was not set up: its config has no mesh; call "
            f"enable_parallelism, or videosieve.integrations.diffusers.enable_ulysses"
        )
    degree, rank, row = parallel.ulysses_degree, parallel._ulysses_local_rank, found.row
    return Share(config, found.heads, rank, degree, not parallel.ulysses_anything, row.text, row.is_padded)


def require_cuts(found: Target) -> None:
    """Refuse a model whose one sequence of text and video cannot be cut, or not in this configuration.

    Raises:
        IntegrationError: With the reason.
    """
    row, config = found.row, getattr(found.transformer, "config", {})
    if row.text != "none" and not row.cuts:
        raise IntegrationError(
            f"{found.component} keeps text and video in one sequence, and nothing says how context parallelism cuts it "
            f"for {row.name}; run it on one device"
        )
    if held := next((one for one in row.uncut_if if one.holds(config)), None):
        raise IntegrationError(f"context parallelism cannot cut {found.component}: {held.reason}")


def attend_ulysses(
    attend: Any, share: Share, qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, scale: float | None
) -> Tensor:
    """Exchange tokens for heads, attend, and exchange back.

    Args:
        attend: Attention of q, k, v [batch, heads, tokens, head_dim] with a mask.
        share: Of this rank.
        qkv: [batch, this rank's tokens, heads, head_dim].
        mask: Of the model; of a joint sequence it is about all its tokens in their own order, and not exchanged.
        scale: Factor on every q·k.

    Returns:
        Like q.
    """
    from diffusers.models import attention_dispatch

    whole = mask if share.text != "none" else None

    def forward(
        _ctx: Any, query: Tensor, key: Tensor, value: Tensor, attn_mask: Any, *_: Any, **__: Any
    ) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (query, key, value))
        return attend(q, k, v, attn_mask if whole is None else whole).transpose(1, 2)

    template: Any = vars(attention_dispatch)["_templated_context_parallel_attention"]
    exchanged = mask if whole is None else None
    return template(
        *qkv, exchanged, scale=scale, forward_op=forward, backward_op=None, _parallel_config=share.config
    )
