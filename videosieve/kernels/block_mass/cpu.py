"""Block mass on CPU: scores of a few query blocks at a time, small enough to stay in cache until they are summed."""

import torch
from torch import Tensor

from videosieve.masks.block_mask import BlockSize

# Scores that are worked on together; they are written by the product and read by exp and by the sum.
SCORE_BYTES = 2 << 20


def refuse(q: Tensor, k: Tensor, lse: Tensor, _block: BlockSize, _scale: float) -> str | None:
    """Why the CPU implementation cannot run a call, or None."""
    if q.device.type != "cpu":
        return f"it needs CPU tensors, got {q.device}"
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or lse.requires_grad):
        return "it has no backward; detach q, k and lse or use torch.no_grad()"
    return None


def block_mass(q: Tensor, k: Tensor, lse: Tensor, block: BlockSize, scale: float) -> Tensor:
    """Tiles of query blocks × key blocks, one head at a time; shapes as in the api."""
    wide = torch.promote_types(q.dtype, torch.float32)
    batch, heads, queries, _ = q.shape
    keys = k.shape[2]
    mass = torch.empty(batch, heads, -(-queries // block.query), -(-keys // block.key), dtype=wide)
    width = max(SCORE_BYTES // (block.query * wide.itemsize * block.key), 1) * block.key
    scores = torch.empty(block.query * min(width, keys), dtype=wide)
    for b in range(batch):
        for h in range(heads):
            head_q, head_k, head_lse = q[b, h].to(wide), k[b, h].to(wide).mT, lse[b, h].to(wide)
            for row, start in enumerate(range(0, queries, block.query)):
                part = head_q[start : start + block.query]
                offset = head_lse[start : start + block.query].unsqueeze(-1)
                for column in range(0, keys, width):
                    tile = head_k[:, column : column + width]
                    out = scores[: len(part) * tile.shape[1]].view(len(part), -1)
                    torch.addmm(offset, part, tile, beta=-1, alpha=scale, out=out).exp_()
                    _sum_columns(out.sum(0), mass[b, h, row, column // block.key :], block.key)
    return mass


def _sum_columns(values: Tensor, sums: Tensor, side: int) -> None:
    """Sums of `side` neighbouring values into the front of `sums`; the last sum may have fewer."""
    whole = len(values) // side
    torch.sum(values[: whole * side].view(whole, side), 1, out=sums[:whole])
    if len(values) > whole * side:
        sums[whole] = values[whole * side :].sum()
