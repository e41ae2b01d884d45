"""Block-sparse attention on CUDA in Triton: checks and launch; the kernel is in `triton_kernel.py`.

No value of a tensor is looked at on the host, no workspace beyond the mask's lists is held, and batch, heads and tokens
may have any strides.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from videosieve.kernels.block_sparse_attention.launch import SIDES, find_launch, with_centroids
from videosieve.kernels.block_sparse_attention.triton_kernel import attend_blocks
from videosieve.kernels.block_sparse_attention.work import find_work, list_blocks
from videosieve.kernels.launch import Launch
from videosieve.kernels.triton_support import launch_arch, on_device
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask

AnyMask = BlockMask | RaggedBlockMask


class Scales(NamedTuple):
    """Factors of quantised q and k, per block.

    Attributes:
        q: fp32 [batch, heads, rows].
        k: fp32 [batch, heads, columns].
    """

    q: Tensor
    k: Tensor


class Answers(NamedTuple):
    """What answers for blocks that are left out.

    Attributes:
        keys: Mean keys [batch, heads, columns, head_dim] of the dtype of q.
        values: Mean values, likewise.
        log_sizes: fp32 [batch|1, heads|1, columns], contiguous.
        blocks: bool [batch|1, heads|1, rows, columns]; where a centroid answers. None of them empty.
        lse: fp32 [batch, heads, queries]; receives the LSE over kept keys and centroids.
    """

    keys: Tensor
    values: Tensor
    log_sizes: Tensor
    blocks: Tensor
    lse: Tensor


def block_sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AnyMask,
    scale: float,
    query_order: Tensor | None = None,
    key_order: Tensor | None = None,
    answers: Answers | None = None,
) -> tuple[Tensor, Tensor]:
    """Softmax attention over the kept keys, and over centroids where there are any; shapes as in the api.

    With orders, place i of the mask's sequence is token order[i] of q, or of k and v: rows are read and written where
    they lie, and nothing is permuted before or after.
    """
    out = torch.empty(q.shape, dtype=v.dtype, device=q.device)
    lse = torch.empty(q.shape[:-1], dtype=torch.float32, device=q.device)
    arch = launch_arch(q.device)
    launch, arguments = prepare(q, k, v, out, lse, mask, scale, arch, query_order, key_order, answers=answers)
    if arguments["jobs"].numel():
        with on_device(q):
            attend_blocks[arguments["jobs"].shape](**arguments, **launch.options)
    return out, lse


def prepare(  # noqa: PLR0913 - everything that one launch depends on
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    mask: AnyMask,
    scale: float,
    arch: int,
    query_order: Tensor | None = None,
    key_order: Tensor | None = None,
    scales: Scales | None = None,
    launch: Launch | None = None,
    answers: Answers | None = None,
) -> tuple[Launch, dict[str, Any]]:
    """Launch and arguments of `attend_blocks`; what runs, what is compiled ahead of time and what is tuned."""
    batch, heads, queries, head_dim = q.shape
    keys, ragged = k.shape[2], isinstance(mask, RaggedBlockMask)
    query_side, key_side = SIDES[0], SIDES[-1]
    if isinstance(mask, BlockMask):
        query_side, key_side = mask.block.query, mask.block.key
    launch = launch or find_launch(arch, head_dim, q.element_size(), query_side, key_side)
    launch = launch if answers is None else with_centroids(launch, q.element_size())
    work = find_work(mask, batch, heads, launch.tile)
    wide = q.dtype == torch.float32
    first, second = split_head_dim(head_dim, 64 if wide else 128)
    query_order, key_order = (None if x is None else _index(x) for x in (query_order, key_order))
    return launch, dict(
        **dict(q=q, k=k, v=v, out=out, lse=lse, indices=work.indices, counts=work.counts, jobs=work.jobs),
        **dict(whole_counts=work.whole_counts, group=heads // k.shape[1]),
        **dict(tile_rows=work.tile_rows, tile_starts=work.tile_starts),
        **dict(query_offsets=work.query_offsets, key_offsets=work.key_offsets),
        **dict(query_order=query_order, key_order=key_order),
        **dict(q_scales=scales and scales.q, k_scales=scales and scales.k, factor=scale / math.log(2)),
        **_answering(answers, launch.tile[1]),
        **dict(heads=heads, queries=queries, keys=keys),
        **dict(rows=work.counts.shape[2], columns=work.indices.shape[3], tiles=work.tiles),
        **{f"{name}_strides": x.stride()[:3] for name, x in (("q", q), ("k", k), ("v", v), ("out", out))},
        mask_lanes=_lanes(work.counts),
        query_order_lanes=_lanes(query_order),
        key_order_lanes=_lanes(key_order),
        **dict(D1=first, D2=second, BM=launch.tile[0], BN=launch.tile[1]),
        **dict(QUERY_SIDE=query_side, KEY_SIDE=key_side, WHOLE_KEYS=keys % key_side == 0, RAGGED=ragged),
        CAUSAL=isinstance(mask, BlockMask) and mask.causal,
        **dict(QUERY_ORDERED=query_order is not None, KEY_ORDERED=key_order is not None),
        **dict(
            SCALED=scales is not None, ANSWERED=answers is not None, PRECISION="tf32x3" if wide else "tf32"
        ),
    )


def _answering(answers: Answers | None, bn: int) -> dict[str, Any]:
    names = ("centroid_keys", "centroid_values", "log_sizes", "answered_lse")
    if answers is None:
        lists = dict(answer_indices=None, answer_counts=None, centroid_strides=(0,) * 6)
        return dict.fromkeys(names) | lists | dict(size_lanes=(0, 0), answer_lanes=(0, 0))
    indices, counts = list_blocks(answers.blocks, None, bn)
    tensors = answers.keys, answers.values, answers.log_sizes, answers.lse
    return dict(
        **dict(zip(names, tensors, strict=True)),
        **dict(answer_indices=indices, answer_counts=counts),
        centroid_strides=(*answers.keys.stride()[:3], *answers.values.stride()[:3]),
        size_lanes=_lanes(answers.log_sizes),
        answer_lanes=_lanes(counts),
    )


def split_head_dim(head_dim: int, most: int) -> tuple[int, int]:
    """A head_dim as one or two powers of two, the second 0 where one is enough, the first at most `most`.

    fp32 values are halved at 128, because their products take three matrix instructions and twice the registers.
    """
    first = min(1 << (head_dim.bit_length() - 1), most)
    return first, head_dim - first


def _index(order: Tensor) -> Tensor:
    """int32 [batch|1, heads|1, tokens]."""
    return (order if order.ndim == 3 else order.view(1, 1, -1)).to(torch.int32).contiguous()


def _lanes(lists: Tensor | None) -> tuple[int, int]:
    """Steps of (batch, head) between lists; 0 along an axis that all share."""
    if lists is None:
        return 0, 0
    batch, heads = lists.shape[:2]
    return (heads if batch > 1 else 0), int(heads > 1)
