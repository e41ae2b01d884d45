"""How the tokens of one attention sequence lie, for every item of the batch."""

import re
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from videosieve.layout import VideoLayout


@dataclass(frozen=True, slots=True)
class Group:
    """Batch items that are attended together.

    Attributes:
        layout: Which token is which, padding left out.
        items: Indices into the batch; empty means the whole batch.
        rows: int64 [layout.tokens], where the layout's tokens stand in the sequence, in its order; None where they are
            the first ones of the sequence.
    """

    layout: VideoLayout
    items: tuple[int, ...] = ()
    rows: Tensor | None = field(default=None, compare=False)

    def take(self, x: Tensor) -> Tensor:
        """The group's part of a tensor [batch, heads, tokens, head_dim], in the order of its layout."""
        return self.in_order(x[list(self.items)] if self.items else x)

    def in_order(self, x: Tensor) -> Tensor:
        """The tokens that the layout describes, in its order, for all items in a tensor."""
        if self.rows is None:
            return x[:, :, : self.layout.tokens]
        return x.index_select(2, self.rows.to(x.device))

    def shown(self, q: Tensor, k: Tensor, v: Tensor, output: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What observers see of a call [batch, heads, tokens, head_dim]; padding behind the layout is left on."""
        if self.rows is None:
            return q, k, v, output
        return self.in_order(q), self.in_order(k), self.in_order(v), self.in_order(output)

    def put(self, part: Tensor, into: Tensor) -> None:
        """Write what was computed from `take` to the places that it came from."""
        if self.rows is None:
            into[list(self.items) if self.items else slice(None), :, : self.layout.tokens] = part
            return
        rows = self.rows.to(into.device)
        for place, item in enumerate(self.items or range(into.shape[0])):
            into[item].index_copy_(1, rows, part[place])


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One kind of attention sequence in a forward. A forward may have several: by layer, or by call.

    Attributes:
        groups: The batch: as a whole, or item by item where the model pads their texts. Padding lies behind what a
            layout describes. At least one.
        tokens: Length of the attention sequence with padding.
        padded: Whether the model masks text padding that the layouts leave out.
        per_item: Whether attention is called once per batch item, each with a batch of one: the group of call n is
            the n-th one, and its length is its layout's.
        layers: Regular expression of the self-attentions with such sequences, by module name; empty means all.
        keys_only: Tokens at the start that are keys and values only: no query row belongs to them.
    """

    groups: tuple[Group, ...]
    tokens: int
    padded: bool = False
    per_item: bool = False
    layers: str = ""
    keys_only: int = 0

    @classmethod
    def of(cls, layout: VideoLayout, layers: str = "", keys_only: int = 0) -> "Arrangement":
        """One layout for the whole batch, without padding."""
        return cls((Group(layout),), layout.tokens, layers=layers, keys_only=keys_only)

    @classmethod
    def one_by_one(cls, layouts: list[VideoLayout], layers: str = "") -> "Arrangement":
        """A call per batch item, in this order."""
        groups = tuple(Group(layout, (item,)) for item, layout in enumerate(layouts))
        return cls(groups, max(layout.tokens for layout in layouts), per_item=True, layers=layers)

    @property
    def queries(self) -> int:
        """Length of the queries in an attention call, padding included."""
        return self.tokens - self.keys_only

    def describes(self, layer: str) -> bool:
        """Whether the self-attention of this name has such sequences."""
        return not self.layers or re.fullmatch(self.layers, layer) is not None

    def make_square(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As many query rows as keys, and as many heads of keys as of queries: what methods choose in.

        Zero rows stand for the queries that are not there, before the others; whoever attends drops their output. They
        are attended like any other text, so a call costs `keys_only / tokens` more than it must, and repeating grouped
        keys and values costs their memory times the size of a group, until there is a rectangular call.

        Args:
            q: Queries [batch, heads, queries, head_dim].
            k: Keys [batch, heads or a divisor of them, tokens, head_dim].
            v: Values, shaped like k.

        Returns:
            q, k and v; as given where nothing is missing, or where their lengths are others than described.
        """
        if k.shape[2] != self.tokens:
            return q, k, v
        groups, rest = divmod(q.shape[1], k.shape[1])
        if groups > 1 and not rest:
            k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        if self.keys_only:
            q = torch.cat([q.new_zeros(*q.shape[:2], self.keys_only, q.shape[3]), q], dim=2)
        return q, k, v

    def group_of(self, item: int) -> Group:
        """The group that an item of the batch belongs to; the only one where there is one."""
        return next((group for group in self.groups if item in group.items), self.groups[0])

    def of_call(self, ordinal: int) -> "Arrangement | None":
        """What holds for the n-th attention call of a layer in a forward, from 0; None where there is no such call."""
        if not self.per_item:
            return self
        if ordinal >= len(self.groups):
            return None
        group = self.groups[ordinal]
        return replace(self, groups=(group,), tokens=group.layout.tokens)


def items_left_out(arrived: int, batch: int, guided: bool) -> int:
    """Items of the batch that a cache has left out before those that arrive, where items are attended one by one.

    FasterCache keeps the conditional half, which comes last. Of any other part nobody knows which it is: no layout
    describes calls from `batch` on.

    Args:
        arrived: Items that the attention is called with; 0 where that is not known.
        batch: Items of the forward.
        guided: Whether the batch holds both branches of guidance.
    """
    if arrived in (0, batch):
        return 0
    return arrived if guided and 2 * arrived == batch else batch
