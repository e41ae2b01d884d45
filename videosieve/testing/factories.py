"""Small inputs of awkward sizes: calls, tensors and masks, the same for the same seed."""

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask

ODD_LAYOUT = VideoLayout.of(3, 5, 5)
"""75 tokens, no text: neither 16 nor 64 divides it, nor does a frame fill a block."""


def make_call(
    layout: VideoLayout = ODD_LAYOUT,
    *,
    batch: int = 1,
    heads: int = 2,
    head_dim: int = 16,
    dtype: torch.dtype = torch.float32,
    site: Site | None = None,
    generator: torch.Generator | None = None,
) -> AttentionCall:
    """A random attention call.

    Args:
        layout: Which token is which; gives the number of tokens.
        batch: Batch size.
        heads: Heads.
        head_dim: Values per head.
        dtype: Of q, k and v.
        site: Where the call happens; layer 0, step 0 where left out.
        generator: Source of randomness; seed 0 where left out.

    Returns:
        The call. Its tensors are views [batch, heads, tokens, head_dim] of [batch, tokens, heads, head_dim], the
        layout in which projections leave them.
    """
    q, k, v = make_qkv(
        layout.tokens,
        layout.tokens,
        batch=batch,
        heads=heads,
        head_dim=head_dim,
        dtype=dtype,
        generator=generator,
    )
    return AttentionCall(q, k, v, layout, Site() if site is None else site)


def make_qkv(
    queries: int,
    keys: int,
    *,
    batch: int = 1,
    heads: int = 2,
    head_dim: int = 16,
    dtype: torch.dtype = torch.float32,
    contiguous: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random q [batch, heads, queries, head_dim], k and v [batch, heads, keys, head_dim].

    Args:
        queries: Query tokens.
        keys: Key tokens.
        batch: Batch size.
        heads: Heads.
        head_dim: Values per head.
        dtype: Drawn in fp64, then rounded to this.
        contiguous: Whether heads come before tokens in memory; otherwise tokens do.
        generator: Source of randomness; seed 0 where left out.

    Returns:
        The three tensors; standard normal values.
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    shapes = [(batch, tokens, heads, head_dim) for tokens in (queries, keys, keys)]
    tensors = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)
    q, k, v = (x.transpose(1, 2).contiguous() if contiguous else x.transpose(1, 2) for x in tensors)
    return q, k, v


def band_mask(tokens: int, block: BlockSize, width: int, *, sink: int = 0) -> BlockMask:
    """Blocks near the diagonal, shared by all heads.

    Args:
        tokens: Query and key tokens.
        block: Block sides, tokens.
        width: Kept where the first tokens of query and key block are at most this far apart, tokens.
        sink: Last key blocks and last query blocks that are kept as well, as for text.

    Returns:
        Mask [1, 1, rows, columns].
    """
    rows = torch.arange(0, tokens, block.query).unsqueeze(1)
    columns = torch.arange(0, tokens, block.key)
    keep = (rows - columns).abs() <= width
    if sink:
        keep[-sink:] = True
        keep[:, -sink:] = True
    return BlockMask(keep[None, None], block, tokens)


def random_mask(
    queries: int,
    keys: int,
    block: BlockSize,
    density: float,
    *,
    batch: int = 1,
    heads: int = 1,
    generator: torch.Generator | None = None,
) -> BlockMask:
    """Blocks kept independently of one another, so that some rows may keep none.

    Args:
        queries: Query tokens.
        keys: Key tokens.
        block: Block sides, tokens.
        density: Chance of a block to be kept.
        batch: Size of the batch axis; 1 shares the mask.
        heads: Size of the head axis; 1 shares the mask.
        generator: Source of randomness; seed 0 where left out.

    Returns:
        Mask [batch, heads, rows, columns].
    """
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    shape = (batch, heads, -(-queries // block.query), -(-keys // block.key))
    return BlockMask(torch.rand(shape, generator=generator) < density, block, queries, keys)


def random_ragged_mask(
    queries: int,
    keys: int,
    blocks: tuple[int, int],
    density: float,
    *,
    batch: int = 1,
    heads: int = 1,
    seed: int = 0,
) -> RaggedBlockMask:
    """Blocks cut at random places, empty ones included, kept at random.

    Args:
        queries: Query tokens.
        keys: Key tokens.
        blocks: Query blocks and key blocks.
        density: Share of blocks to keep, in [0, 1]; some rows may keep none.
        batch: Batch axis of the mask.
        heads: Head axis of the mask.
        seed: Source of the cuts and of the kept blocks.

    Returns:
        The mask.
    """
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(batch, heads, *blocks, generator=generator) < density
    offsets = []
    for tokens, count in zip((queries, keys), blocks, strict=True):
        cuts = torch.randint(0, tokens + 1, (batch, heads, count - 1), generator=generator).sort(-1).values
        ends = torch.tensor([0, tokens]).expand(batch, heads, 2)
        offsets.append(torch.cat([ends[..., :1], cuts, ends[..., 1:]], -1))
    return RaggedBlockMask(keep, offsets[0], offsets[1], queries, keys)
