"""Block mass: documentation, checks, dispatch."""

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.kernels.block_mass import cpu, launch, native, reference
from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.triton_support import lazily
from videosieve.masks.block_mask import BlockSize

_HERE = "videosieve.kernels.block_mass"

IMPLEMENTATIONS = (
    Implementation("triton", launch.refuse, lazily(f"{_HERE}.triton", "block_mass")),
    Implementation("native", native.refuse, native.block_mass),
    Implementation("cpu", cpu.refuse, cpu.block_mass),
    Implementation("reference", anything, reference.block_mass),
)


def block_mass(
    q: Tensor,
    k: Tensor,
    lse: Tensor,
    block: BlockSize,
    *,
    scale: float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Softmax mass of every block: Σ exp(scale · q·k − lse) over its query–key pairs.

    This is the second pass of AdaSpa's search (arXiv:2502.21079, Algorithm 1 prints Log where exp is meant). With the
    LSE of these very queries over all keys, every query's masses add up to 1, so a block row adds up to its query
    tokens. With an LSE from an earlier step each query is off by a factor of its own. No tokens × tokens tensor exists.

    Args:
        q: Queries [batch, heads, queries, head_dim], any strides.
        k: Keys [batch, heads, keys, head_dim], any strides.
        lse: Natural log of Σ exp(scale · q·k) per query [batch, heads, queries], finite.
        block: Block sides, tokens; last blocks may be partial.
        scale: Factor on every q·k; head_dim ** -0.5 where left out.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        fp32 [batch, heads, ceil(queries / block.query), ceil(keys / block.key)], fp64 for fp64 inputs; scores and
        sums are fp32 also for half-precision inputs. Infinite where exp overflows, which takes an LSE that is too
        small by about 88.

    Raises:
        ShapeError: q, k and lse do not fit together.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    if q.ndim != 4 or k.ndim != 4 or q.shape[:2] != k.shape[:2] or q.shape[3] != k.shape[3]:
        raise ShapeError(
            f"q and k must be [batch, heads, tokens, head_dim] and differ in tokens only, "
            f"got {list(q.shape)} and {list(k.shape)}"
        )
    if lse.shape != q.shape[:3]:
        raise ShapeError(f"lse must be {list(q.shape[:3])}: one value per query of q, got {list(lse.shape)}")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if torch.compiler.is_compiling():
        return torch.ops.videosieve.block_mass(q, k, lse, block.query, block.key, scale, backend)
    chosen = choose("block_mass", IMPLEMENTATIONS, backend, q, k, lse, block, scale)
    return chosen.run(q, k, lse, block, scale)


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = (
    "(Tensor q, Tensor k, Tensor lse, SymInt query_side, SymInt key_side, float scale, str? backend) "
    "-> Tensor"
)


@torch.library.custom_op("videosieve::block_mass", mutates_args=(), schema=_SCHEMA)
def _operator(
    q: Tensor, k: Tensor, lse: Tensor, query_side: int, key_side: int, scale: float, backend: str | None
) -> Tensor:
    return block_mass(q, k, lse, BlockSize(query_side, key_side), scale=scale, backend=backend).contiguous()


@_operator.register_fake
def _shapes(q: Tensor, k: Tensor, lse: Tensor, query_side: int, key_side: int, *_arguments: object) -> Tensor:
    blocks = -(-q.shape[2] // query_side), -(-k.shape[2] // key_side)
    return lse.new_empty(*q.shape[:2], *blocks, dtype=torch.promote_types(q.dtype, torch.float32))
