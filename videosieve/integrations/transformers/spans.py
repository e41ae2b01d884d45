"""Where in the keys the tokens of every batch element lie, read from the one row that stands for a mask."""

from dataclasses import dataclass

import torch
from torch import Tensor

from videosieve.integrations.transformers.masks import OWN_IS_LAST, expand_row


@dataclass(frozen=True, slots=True)
class Span:
    """Batch elements whose tokens lie in the same place.

    Attributes:
        items: Indices into the batch, ascending.
        queries: Positions of the queries that are tokens; those before are padding.
        keys: Positions of their keys: all that are tokens, up to the last query's own.
        offset: Key position of query 0 of the call, padding included.
    """

    items: tuple[int, ...]
    queries: slice
    keys: slice
    offset: int


def spans_of(row: Tensor | None, batch: int, queries: int) -> list[Span] | str:
    """The spans of a call.

    Args:
        row: [batch|1, 1, 1, keys] as the mask function returns, or None: the first keys are the queries. Or bool
            [batch|1, 1, queries, keys]: compiled code cannot ask whether sequences are packed, and makes whole masks.
        batch: Batch elements.
        queries: Query tokens.

    Returns:
        One span for every place where tokens lie; or a sentence why the call must stay dense.
    """
    if row is None:
        return [Span(tuple(range(batch)), slice(0, queries), slice(0, queries), 0)]
    if row.shape[2] > 1:
        whole, row = row, row[:, :, -1:]
        if not torch.equal(expand_row(row, queries), whole):
            return "a mask with a row for every query"
    seen = row[:, 0, 0].bool().cpu()
    keys = torch.arange(seen.shape[1])
    first = torch.where(seen, keys, seen.shape[1]).amin(-1)
    last = torch.where(seen, keys, -1).amax(-1)
    if row.dtype == OWN_IS_LAST and not bool(seen[:, -1].all()):
        return "padding on the right"
    if bool((seen.sum(-1) != last + 1 - first).any()):
        return "padding between tokens"
    places = list(zip(first.tolist(), last.tolist(), strict=True))
    places = places * batch if len(places) == 1 else places
    found: dict[tuple[int, int], list[int]] = {}
    for item, place in enumerate(places):
        found.setdefault(place, []).append(item)
    spans = []
    for (begin, end), items in found.items():
        offset = end + 1 - queries
        spans.append(
            Span(tuple(items), slice(max(begin - offset, 0), queries), slice(begin, end + 1), offset)
        )
    return spans
