"""Tables that kernels follow, drawn: masks, offsets, orders, sizes; anywhere in memory, some blocks empty."""

from random import Random
from typing import Any

import torch

from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.memory import lay_out


def draw_mask(
    source: Random, lead: tuple[int, int], offsets_lead: tuple[int, int], queries: int, keys: int
) -> BlockMask | RaggedBlockMask:
    """Kept blocks of one size or ragged, some rows without any, `keep` and offsets anywhere in memory."""
    if source.random() < 0.6:
        block = BlockSize(source.choice((1, 7, 16, 32, 64, 2**40)), source.choice((1, 5, 16, 32, 2**62)))
        counts = -(-queries // block.query), -(-keys // block.key)
        return BlockMask(lay_out(source, (*lead, *counts), torch.bool), block, queries, keys)
    counts = source.randint(1, 6), source.randint(1, 9)
    keep = lay_out(source, (*lead, *counts), torch.bool)
    rows = draw_offsets(source, (*offsets_lead, counts[0]), queries)
    columns = draw_offsets(source, (*offsets_lead, counts[1]), keys)
    return RaggedBlockMask(keep, rows, columns, queries, keys)


def draw_offsets(source: Random, shape: tuple[int, int, int], tokens: int) -> torch.Tensor:
    """Offsets of blocks [batch, heads, blocks + 1] for a shape [batch, heads, blocks]."""
    *lead, count = shape
    rows = [
        [0, *sorted(source.randint(0, tokens) for _ in range(count - 1)), tokens]
        for _ in range(lead[0] * lead[1])
    ]
    values = torch.tensor(rows).view(*lead, count + 1)
    return lay_out(source, tuple(values.shape), torch.int64, values=values)


def draw_order(source: Random, lead: tuple[int, int], tokens: int) -> torch.Tensor:
    """A permutation [tokens] or [*lead, tokens], anywhere in memory."""
    count = 1 if source.random() < 0.3 else 0
    rows = [source.sample(range(tokens), tokens) for _ in range(1 if count else lead[0] * lead[1])]
    values = torch.tensor(rows).view((tokens,) if count else (*lead, tokens))
    return lay_out(source, tuple(values.shape), torch.int64, values=values)


def draw_log_sizes(
    source: Random, lead: tuple[int, int], columns: int, real: torch.Tensor | None = None
) -> torch.Tensor:
    """ln of the tokens of blocks, fp32 [*lead, columns]: some are empty, never all; or those that are not `real`."""
    rows = [[source.randint(0, 9) for _ in range(columns - 1)] + [3] for _ in range(lead[0] * lead[1])]
    values = torch.tensor(rows).view(*lead, columns)
    values = (values if real is None else values.clamp(min=1) * real).float().log()
    return lay_out(source, tuple(values.shape), torch.float32, values=values)


def draw_deal(source: Random, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments of `deal_budget`: empty clusters, equal worths and what is no number among them."""
    lead, rows, columns = (
        (source.choice((1, 2)), source.choice((1, 3))),
        *(source.choice((1, 2, 5, 16, 31, 40, 70)) for _ in "rc"),
    )
    sizes = {
        name: torch.tensor([source.choice((0, 1, 2, 7, 30)) for _ in range(lead[0] * lead[1] * count)])
        for name, count in (("query_sizes", rows), ("key_sizes", columns))
    }
    worth = lay_out(source, (*lead, rows, columns), dtype)
    if source.random() < 0.3:  # many equal ones, and some that are none
        worth = (worth * 2).round().masked_fill(worth > 1, source.choice((torch.nan, torch.inf, -torch.inf)))
    budgets = [source.choice((-5, 0, 40, 900, 10**6)) for _ in range(lead[0] * lead[1])]
    return {
        "worth": worth,
        "query_sizes": sizes["query_sizes"].view(*lead, rows),
        "key_sizes": sizes["key_sizes"].view(*lead, columns),
        "budget": torch.tensor(budgets).view(lead),
    }
