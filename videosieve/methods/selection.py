"""From estimated mass to kept blocks: the pure steps that methods share.

Mass is estimated softmax mass, non-negative, [batch, heads, rows, columns] with one value per query block × key block.
What a method cannot estimate (NaN) counts as no mass, and every row keeps at least one block, so that a selection is
always computable. Equal masses are taken in ascending order of the key blocks.
"""

from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.forward import Site
from videosieve.layout import VideoLayout

Entry = TypeVar("Entry")


def entries_of(name: str, table: tuple[tuple[Entry, ...], ...], call: AttentionCall) -> tuple[Entry, ...]:
    """What a table holds for the heads of a call; see `entries_at`."""
    site = call.site
    return entries_at(
        name, table, site if site.heads else replace(site, heads=call.heads, head_numbers=call.head_numbers)
    )


def entries_at(name: str, table: tuple[tuple[Entry, ...], ...], site: Site) -> tuple[Entry, ...]:
    """What a table holds for the heads of a site.

    Args:
        name: The table's, for the error.
        table: [layers][heads] of the whole model.
        site: Layer, and which of how many heads.

    Returns:
        One entry per head that the site holds, in its order.

    Raises:
        RecipeError: The table has not one row per layer and one entry per head of the model.
    """
    layers, heads = site.layers, site.heads
    if len(table) != layers or any(len(row) != heads for row in table):
        sizes = sorted({len(row) for row in table})
        raise RecipeError(
            f"{name} needs one row for each of {layers} layers and one entry for each of {heads} heads, "
            f"got {len(table)} rows of {' or '.join(map(str, sizes))}; fit it on this model"
        )
    row = table[site.layer]
    return tuple(row[head] for head in site.head_numbers)


def top_k(mass: Tensor, count: int | Tensor) -> Tensor:
    """The blocks of largest mass in every row.

    Args:
        mass: [batch, heads, rows, columns]; −inf keeps a block out while others remain.
        count: Blocks per row; an int, or a tensor that broadcasts to [batch, heads, rows]. Raised to 1.

    Returns:
        bool [batch, heads, rows, columns].
    """
    mass = _no_nan(mass)
    if isinstance(count, Tensor):
        count = count.clamp(min=1, max=mass.shape[-1]).expand(mass.shape[:-1]).unsqueeze(-1)
        least = mass.sort(dim=-1, descending=True).values.gather(-1, count.long() - 1)
    else:
        count = min(max(count, 1), mass.shape[-1])
        least = mass.topk(count, dim=-1, sorted=False).values.amin(-1, keepdim=True)
    # What is above the least kept mass is kept; of those that equal it, the first that there is room for.
    above, equal = mass > least, mass == least
    room = count - above.sum(-1, keepdim=True, dtype=torch.int32)
    return above | equal & (equal.cumsum(-1, dtype=torch.int32) <= room)


def top_p(mass: Tensor, threshold: float | Tensor, first: Tensor | None = None) -> Tensor:
    """The fewest blocks of every row that hold a share of its mass, the block that crosses it included.

    Args:
        mass: [batch, heads, rows, columns], non-negative.
        threshold: Share of the row's mass to hold, in (0, 1]; a number, or a tensor that broadcasts to
            [batch, heads, rows]. At 1 every block is kept, also those without estimated mass.
        first: bool, broadcasts to `mass`; blocks that are kept in any case and whose mass counts first.

    Returns:
        bool [batch, heads, rows, columns].
    """
    mass = _no_nan(mass)
    if first is None:
        ranked, order = torch.sort(mass, dim=-1, descending=True, stable=True)
    else:
        order = torch.sort(mass.masked_fill(first, torch.inf), dim=-1, descending=True, stable=True).indices
        ranked = mass.gather(-1, order)
    ranked = ranked.double()  # fp32 sums of a thousand shares lose the last blocks
    before = ranked.cumsum(-1) - ranked
    threshold = torch.as_tensor(threshold, device=mass.device, dtype=torch.float64).unsqueeze(-1)
    kept = (before < threshold * ranked.sum(-1, keepdim=True)) | (threshold >= 1)
    kept[..., 0] = True
    keep = torch.zeros_like(kept).scatter(-1, order, kept)
    return keep if first is None else keep | first


def _no_nan(mass: Tensor) -> Tensor:
    return mass.nan_to_num(0.0, posinf=torch.inf, neginf=-torch.inf)


@lru_cache(maxsize=32)
def outside_video(layout: VideoLayout, side: int, device: torch.device) -> Tensor:
    """Which blocks hold a token outside the video: text or extra.

    Args:
        layout: Which token is which.
        side: Block side, tokens.
        device: Where the result is needed.

    Returns:
        bool [ceil(tokens / side)]. A shared tensor: do not write to it.
    """
    outside = torch.ones(layout.tokens, dtype=torch.bool)
    outside[layout.video] = False
    return pad(outside, (0, -layout.tokens % side)).view(-1, side).any(-1).to(device)


def text_blocks(layout: VideoLayout, side: int, device: torch.device) -> Tensor:
    """Blocks that hold a query or a key outside the video.

    Args:
        layout: Which token is which.
        side: Block side, tokens.
        device: Where the result is needed.

    Returns:
        bool [rows, columns].
    """
    outside = outside_video(layout, side, device)
    return outside[:, None] | outside
