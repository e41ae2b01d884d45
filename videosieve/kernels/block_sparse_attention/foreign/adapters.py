"""Other people's block-sparse attention, by name: FlexAttention, flash-attn-4, FlashInfer.

Each answers why it cannot run a call from what is installed, the architecture and the shapes; what remains is decided
by a self-test at its first use. None is taken unasked: which of them is faster where has not been measured yet.
"""

import importlib
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from videosieve.kernels.block_sparse_attention.checks import AnyMask, refuse_shared
from videosieve.kernels.block_sparse_attention.foreign.self_test import find_failure
from videosieve.kernels.triton_support import architecture, installed
from videosieve.masks.block_mask import BlockMask, BlockSize

HALVES = (torch.bfloat16, torch.float16)
FLEX_TILE = 16
FLASHINFER_WORKSPACE = 128 << 20  # bytes; what its documentation advises
FLASHINFER_HEAD_DIMS = (64, 128, 256)


def refuse_flex(q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, _scale: float) -> str | None:
    """Why FlexAttention cannot run a call, or None."""
    if q.device.type != "cuda":
        return f"it returns the LSE on CUDA only, got {q.device}"
    if not isinstance(mask, BlockMask):
        return "it needs blocks of one size, got a ragged mask"
    if mask.block.query % FLEX_TILE or mask.block.key % FLEX_TILE:
        return f"block sides must be multiples of {FLEX_TILE}, got {mask.block}"
    if q.dtype == torch.float64:
        return "it needs bfloat16, float16 or float32, got float64"
    return refuse_shared(q, k, mask) or _refuse_inputs(q, k, v)


def refuse_flash4(q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, _scale: float) -> str | None:
    """Why flash-attn-4 cannot run a call, or None."""
    reason = _refuse_package("flash_attn.cute", "flash-attn-4", q)
    if reason or not isinstance(mask, BlockMask):
        return reason or "it needs blocks of one size, got a ragged mask"
    arch, block = architecture(q.device), mask.block
    if arch // 10 not in (9, 10):
        return f"it skips blocks on sm90 and sm100 only and ignores the mask silently before, got sm{arch}"
    least = 128 if arch // 10 == 9 else 256
    if block.query % least or block.key != 128:
        return f"sm{arch} needs blocks of a multiple of {least} queries × 128 keys, got {block.query} × {block.key}"
    if q.dtype not in HALVES or not 8 <= q.shape[-1] <= 128:
        return f"it needs bfloat16 or float16 and a head_dim from 8 to 128, got {q.dtype} and {q.shape[-1]}"
    return refuse_shared(q, k, mask) or _refuse_inputs(q, k, v)


def refuse_flashinfer(q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, _scale: float) -> str | None:
    """Why FlashInfer cannot run a call, or None."""
    reason = _refuse_package("flashinfer", "flashinfer-python", q)
    if reason or not isinstance(mask, BlockMask):
        return reason or "this adapter needs blocks of one size, got a ragged mask"
    if q.shape[0] != 1:
        return f"it needs batch 1, got {q.shape[0]}"
    if q.dtype not in HALVES or q.shape[-1] not in FLASHINFER_HEAD_DIMS:
        known = ", ".join(map(str, FLASHINFER_HEAD_DIMS))
        return f"it needs bfloat16 or float16 and a head_dim of {known}, got {q.dtype} and {q.shape[-1]}"
    return refuse_shared(q, k, mask) or _refuse_inputs(q, k, v)


def flex(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, scale: float) -> tuple[Tensor, Tensor]:
    """PyTorch's FlexAttention, compiled: uncompiled it computes every block. Shapes as in the api."""
    attention: Any = importlib.import_module("torch.nn.attention.flex_attention")
    name = ("block_sparse_attention.flex",)
    if name not in mask.plans:
        indices, counts = _lists(mask)
        mask.plans[name] = attention.BlockMask.from_kv_blocks(
            torch.zeros_like(counts),
            torch.zeros_like(indices),
            counts,
            indices,
            BLOCK_SIZE=(mask.block.query, mask.block.key),
            seq_lengths=(mask.queries, mask.keys),
        )
    wanted = attention.AuxRequest(lse=True)
    output, extra = _compiled_flex()(q, k, v, block_mask=mask.plans[name], scale=scale, return_aux=wanted)
    return output, extra.lse


def flash4(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, scale: float) -> tuple[Tensor, Tensor]:
    """flash-attn-4 with all kept blocks listed as whole ones; shapes as in the api."""
    package: Any = importlib.import_module("flash_attn.cute")
    sparsity: Any = importlib.import_module("flash_attn.cute.block_sparsity")
    indices, counts = _lists(mask)
    lead = q.shape[:2]
    blocks = sparsity.BlockSparseTensorsTorch(
        mask_block_cnt=torch.zeros_like(counts).expand(*lead, -1).contiguous(),
        mask_block_idx=torch.zeros_like(indices).expand(*lead, -1, -1).contiguous(),
        full_block_cnt=counts.expand(*lead, -1).contiguous(),
        full_block_idx=indices.expand(*lead, -1, -1).contiguous(),
        block_size=(mask.block.query, mask.block.key),
    )
    rows = (x.transpose(1, 2) for x in (q, k, v))
    output, lse = package.flash_attn_func(
        *rows, softmax_scale=scale, block_sparse_tensors=blocks, return_lse=True
    )[:2]
    return output.transpose(1, 2), lse


def flashinfer(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, scale: float) -> tuple[Tensor, Tensor]:
    """FlashInfer's variable-block attention; its plan reads the mask on the host, once per mask."""
    package: Any = importlib.import_module("flashinfer")
    name = ("block_sparse_attention.flashinfer", q.shape, q.dtype, scale)
    heads, head_dim = q.shape[1], q.shape[3]
    if name not in mask.plans:
        workspace = torch.empty(FLASHINFER_WORKSPACE, dtype=torch.uint8, device=q.device)
        wrapper = package.VariableBlockSparseAttentionWrapper(workspace, backend="auto")
        wrapper.plan(
            block_mask_map=mask.keep.expand(1, heads, -1, -1)[0],
            block_row_sz=mask.query_sizes.to(torch.int32).expand(heads, -1),
            block_col_sz=mask.key_sizes.to(torch.int32).expand(heads, -1),
            num_qo_heads=heads,
            num_kv_heads=heads,
            head_dim=head_dim,
            sm_scale=scale,
            q_data_type=q.dtype,
        )
        mask.plans[name] = wrapper
    output, lse = mask.plans[name].run(
        q[0].contiguous(), k[0].contiguous(), v[0].contiguous(), return_lse=True
    )
    return output.view(q.shape), lse.view(q.shape[:-1]) * math.log(2)


REFUSALS = {"flex": refuse_flex, "flash-attn-4": refuse_flash4, "flashinfer": refuse_flashinfer}
RUNS = {"flex": flex, "flash-attn-4": flash4, "flashinfer": flashinfer}


def _refuse_package(module: str, package: str, q: Tensor) -> str | None:
    if not installed(module.split(".")[0]) or not installed(module):
        return f"{package} is not installed"
    if q.device.type != "cuda":
        return f"it needs CUDA tensors, got {q.device}"
    return None


def _refuse_inputs(*tensors: Tensor) -> str | None:
    if any(x.stride(-1) != 1 for x in tensors):
        return "the head_dim values of a token must lie next to one another; pass .contiguous()"
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return "it is wired up without a backward; detach q, k and v or use torch.no_grad()"
    return None


def verify(name: str) -> Callable[..., str | None]:
    """The self-test of an adapter, as `dispatch.Implementation.verify` wants it."""

    def ask(q: Tensor, _k: Tensor, _v: Tensor, mask: BlockMask, _scale: float) -> str | None:
        return _test_once(name, q.device, q.dtype, q.shape[-1], mask.block)

    return ask


@cache
def _test_once(
    name: str, device: torch.device, dtype: torch.dtype, head_dim: int, block: BlockSize
) -> str | None:
    with torch.no_grad():
        return find_failure(RUNS[name], device, dtype, head_dim, block)


@cache
def _compiled_flex() -> Any:
    attention: Any = importlib.import_module("torch.nn.attention.flex_attention")
    return torch.compile(attention.flex_attention)


def _lists(mask: BlockMask) -> tuple[Tensor, Tensor]:
    """Indices and counts of the kept blocks, int32, computed on the mask's device without reading a value."""
    counts = mask.keep.sum(-1, dtype=torch.int32)
    order = torch.sort(mask.keep.to(torch.uint8), dim=-1, descending=True, stable=True).indices
    return order.to(torch.int32), counts
