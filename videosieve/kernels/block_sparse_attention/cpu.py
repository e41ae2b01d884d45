"""Block-sparse attention on CPU: kept blocks are gathered and run through PyTorch's dense CPU kernel in batches.

The dense kernel returns its LSE and keeps scores in cache, one query tile per thread, so a batch of jobs costs one
parallel region. Beyond the output, memory holds one copy of q, k and v cut into blocks (only where padding or strides
call for a copy) and one step of gathered keys and values.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from videosieve.kernels.block_sparse_attention.plan import Plan, plan_mask, share_keys
from videosieve.kernels.causal_border import attend_causal
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask

# Gathered keys and values of one step, per thread: enough jobs to share out, and they stay in the last-level cache.
STEP_BYTES = 4 << 20


def refuse(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask, _scale: float) -> str | None:
    """Why the CPU implementation cannot run a call, or None."""
    if q.device.type != "cpu":
        return f"it needs CPU tensors, got {q.device}"
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return "it has no backward; detach q, k and v or use torch.no_grad()"
    if isinstance(mask, RaggedBlockMask):
        return "it needs blocks of one size, got a ragged mask"
    if not hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu"):
        return f"torch {torch.__version__} has no dense CPU kernel that returns LSE"
    return None


def block_sparse_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: BlockMask, scale: float
) -> tuple[Tensor, Tensor]:
    """Softmax attention over the kept keys; shapes as in the api."""
    if mask.causal:
        return attend_causal(q, k, v, mask, scale, block_sparse_attention)
    mask = _fitted(mask)
    plan = _plan(q, mask, q.shape[1] // k.shape[1])
    if plan.dense:
        return _attend_all(q, k, v, scale)
    batch, heads, queries, head_dim = q.shape
    rows, side = mask.keep.shape[2], mask.block.query
    q_blocks, k_blocks, v_blocks = _blocks(q, side), _blocks(k, mask.block.key), _blocks(v, mask.block.key)
    q_buffer = q_blocks.new_empty(plan.most_query_blocks, q_blocks.shape[1])
    k_buffer, v_buffer = k_blocks.new_empty(2, plan.most_key_blocks, k_blocks.shape[1])
    output = torch.empty_like(q_blocks)
    lse = torch.empty(len(q_blocks), side, dtype=torch.float64 if q.dtype == torch.float64 else torch.float32)
    if plan.has_empty_rows:
        output.zero_()
        lse.fill_(-torch.inf)
    for step in plan.steps:
        step_q = torch.index_select(q_blocks, 0, step.query_index, out=q_buffer[: len(step.query_index)])
        step_k = torch.index_select(k_blocks, 0, step.key_index, out=k_buffer[: len(step.key_index)])
        step_v = torch.index_select(v_blocks, 0, step.key_index, out=v_buffer[: len(step.key_index)])
        for part in step.parts:
            part_q = step_q[part.query_slice].view(part.jobs, 1, -1, head_dim)[:, :, : part.queries]
            part_k = step_k[part.key_slice].view(part.jobs, 1, -1, head_dim)[:, :, : part.keys]
            part_v = step_v[part.key_slice].view(part.jobs, 1, -1, head_dim)[:, :, : part.keys]
            rows_of_part = step.query_index[part.query_slice]
            _store(output, lse, rows_of_part, part.merge, *_attend(part_q, part_k, part_v, scale))
    shape = (batch, heads, rows * side)
    return output.view(*shape, head_dim)[:, :, :queries], lse.view(shape)[:, :, :queries]


def _fitted(mask: BlockMask) -> BlockMask:
    """The same mask with sides no longer than the sequence: tokens are padded to whole blocks."""
    block = BlockSize(min(mask.block.query, mask.queries), min(mask.block.key, mask.keys))
    if block == mask.block:
        return mask
    name = "block_sparse_attention.cpu.fitted"
    return mask.plans.setdefault(name, BlockMask(mask.keep, block, mask.queries, mask.keys))


def _plan(q: Tensor, mask: BlockMask, group: int) -> Plan:
    batch, heads, _, head_dim = q.shape
    key_budget = torch.get_num_threads() * STEP_BYTES // (2 * head_dim * q.element_size())
    split = q.dtype in (
        torch.float32,
        torch.float64,
    )  # merged parts of a narrower type would be rounded twice
    name = ("block_sparse_attention.cpu", batch, heads, key_budget, split, group)
    plan = mask.plans.get(name)
    if plan is None:
        plan = plan_mask(mask, batch, heads, key_budget, split=split)
        plan = mask.plans[name] = plan if group == 1 else share_keys(plan, mask.keep.shape[3], group)
    return plan


def _attend_all(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Every block; one head of each group at a time, because the private operator wants as many key heads."""
    group = q.shape[1] // k.shape[1]
    if group == 1:
        return _attend(q, k, v, scale)
    parts = [_attend(q[:, first::group], k, v, scale) for first in range(group)]
    output, lse = (torch.stack(tensors, 2).flatten(1, 2) for tensors in zip(*parts, strict=True))
    return output, lse


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    q, k, v = (_rows_apart(x) for x in (q, k, v))
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, scale=scale)


def _rows_apart(x: Tensor) -> Tensor:
    """x, or a copy where values of a token are not next to one another or tokens overlap.

    The private operator asks for no such thing and computes as if it were so; torch's public one looks first.
    """
    return (
        x
        if x.stride(-1) == 1 and x.stride(-2) >= x.shape[-1]
        else x.clone(memory_format=torch.contiguous_format)
    )


def _blocks(x: Tensor, side: int) -> Tensor:
    """[batch · heads · blocks, side · head_dim]; the last block of every head padded with zeros."""
    missing = -x.shape[2] % side
    x = pad(x, (0, 0, 0, missing)) if missing else x
    return x.contiguous().view(-1, side * x.shape[3])


def _store(
    output: Tensor, lse: Tensor, rows: Tensor, merge: bool, new_output: Tensor, new_lse: Tensor
) -> None:
    """Write jobs [jobs, 1, queries, head_dim] into their query blocks, merged by LSE with what is already there."""
    new_output, new_lse = new_output.reshape(len(rows), -1), new_lse.reshape(len(rows), -1)
    wide, width = new_lse.shape[1], new_output.shape[1]  # a partial last block is narrower than its row
    if merge:
        old_lse, shape = lse[:, :wide].index_select(0, rows), (len(rows), wide, -1)
        old_output = output[:, :width].index_select(0, rows)
        share = torch.sigmoid(new_lse - old_lse).unsqueeze(-1)
        new_output = torch.lerp(old_output.view(shape), new_output.view(shape), share).view(len(rows), width)
        new_lse = torch.logaddexp(old_lse, new_lse)
    output[:, :width].index_copy_(0, rows, new_output)
    lse[:, :wide].index_copy_(0, rows, new_lse)
