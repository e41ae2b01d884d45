"""What the attention kernel costs on every GPU of its launch table, without one: `python -m benchmarks.resources`."""

from typing import Any

import torch

from videosieve.kernels.block_sparse_attention.launch import TABLE
from videosieve.kernels.block_sparse_attention.triton import Answers, Scales, prepare
from videosieve.kernels.block_sparse_attention.triton_kernel import attend_blocks
from videosieve.kernels.launch import SHARED_MEMORY, Launch
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.factories import make_qkv, random_mask
from videosieve.testing.triton_compile import Compiled, compile_for
from videosieve.testing.triton_interpreter import interpreted

DTYPES = {1: torch.float8_e4m3fn, 2: torch.bfloat16, 4: torch.float32}
HEADS, TOKENS = (
    3,
    400,
)  # as in real calls, strides and counts are multiples of 16 and no block divides the tokens


def compile_call(  # noqa: PLR0913 - every property of a call that changes the code
    arch: int,
    head_dim: int,
    value_bytes: int,
    side: int,
    launch: Launch | None = None,
    *,
    ragged: bool = False,
    ordered: bool = False,
    answered: bool = False,
    heads: int = HEADS,
    tokens: int = TOKENS,
) -> Compiled:
    """The attention kernel as a call launches it.

    Args:
        arch: Compute capability, major · 10 + minor.
        head_dim: Values per head.
        value_bytes: Bytes per value of q and k: 1 (e4m3), 2 (bf16) or 4 (fp32).
        side: Block side, tokens.
        launch: Tile, warps and stages; the table's where left out.
        ragged: Whether blocks differ in size.
        ordered: Whether tokens are addressed through an order.
        answered: Whether centroids answer for blocks that are left out.
        heads: Heads, each with a mask of its own.
        tokens: Queries and keys; counts of 1 become constants of the kernel.

    Returns:
        What it costs.
    """
    q, k, v = make_qkv(tokens, tokens, heads=heads, head_dim=head_dim, dtype=torch.bfloat16)
    blocks: BlockMask = random_mask(tokens, tokens, BlockSize(side, side), 0.5, heads=heads)
    mask: Any = blocks
    rows = blocks.keep.shape[2]
    scales = Scales(*(torch.ones(1, heads, rows) for _ in range(2))) if value_bytes == 1 else None
    if value_bytes != 2:
        q, k = q.to(DTYPES[value_bytes]), k.to(DTYPES[value_bytes])
        v = v.float() if value_bytes == 4 else v
    if ragged:
        offsets = torch.linspace(0, tokens, rows + 1).long()[None, None].expand(1, heads, -1)
        mask = RaggedBlockMask(blocks.keep, offsets, offsets, tokens)
    order = torch.arange(tokens).expand(1, heads, -1) if ordered else None
    out, lse = torch.empty(q.shape, dtype=v.dtype), torch.empty(q.shape[:-1])
    answers = None
    if answered:
        means = make_qkv(1, blocks.keep.shape[3], heads=heads, head_dim=head_dim, dtype=q.dtype)[1:]
        sizes = torch.zeros(1, heads, blocks.keep.shape[3])
        answers = Answers(*(x.contiguous() for x in means), sizes, ~blocks.keep, torch.empty_like(lse))
    with interpreted():  # the lists of kept blocks are made by a kernel as well
        launch, arguments = prepare(
            *(q, k, v, out, lse, mask, 0.125, arch, order, order),
            scales=scales,
            launch=launch,
            answers=answers,
        )
    options = {"num_warps": launch.num_warps, "num_stages": launch.num_stages}
    return compile_for(attend_blocks, arguments, arch, **options)


def main() -> None:
    """A table in Markdown."""
    print("| sm | head_dim | bytes | side | tile | warps | stages | registers | spilled | shared KiB of |")
    print("| ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for arch, key, launch in TABLE:
        made = compile_call(arch, *key, launch)
        tile = " × ".join(map(str, launch.tile))
        limit = SHARED_MEMORY[max(known for known in SHARED_MEMORY if known <= arch)]
        print(
            f"| {arch} | {' | '.join(map(str, key))} | {tile} | {launch.num_warps} | {launch.num_stages} "
            f"| {made.registers} | {made.spills} B | {made.shared / 1024:.0f} of {limit / 1024:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
