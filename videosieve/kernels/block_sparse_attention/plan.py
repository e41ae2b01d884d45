"""How the CPU walks a block mask: a few batched attention calls of equal shape instead of one call per block.

The dense CPU kernel is at its best with many queries per call, so the plan first looks for query blocks that lie next
to one another and keep the same keys: those keys are attended by the whole group in one call, what is left by smaller
groups, and the parts are merged by their LSE. A band becomes a tree of wide cores and narrow rims; a mask without
structure falls through to one call per query block. Calls of one shape run as one batch over gathered key blocks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from videosieve.masks.block_mask import BlockMask

# Query tokens per group, and the fewest shared keys worth a call of their own. Measured on x86 with AVX-512: against
# 1,024 queries per call, 256 cost 8 % more time per pair, 128 20 %, 64 35 %, 32 65 %; a split costs about 60 keys.
GROUPS = ((1024, 512), (256, 384), (64, 192))


@dataclass(frozen=True, slots=True)
class Part:
    """Attention jobs of one shape inside a step.

    Attributes:
        jobs: How many.
        queries: Query tokens of every job; less than its blocks hold when the last one is partial.
        keys: Key tokens of every job; less than its blocks hold when the last one is partial.
        query_slice: Its query blocks among those of the step, job after job.
        key_slice: Its key blocks among those of the step, job after job.
        merge: An earlier step has already attended other keys of these queries.
    """

    jobs: int
    queries: int
    keys: int
    query_slice: slice
    key_slice: slice
    merge: bool


@dataclass(frozen=True, slots=True)
class Step:
    """Parts whose queries and keys are gathered together.

    Attributes:
        query_index: int64 [query blocks]; counted over batch, heads and rows of the mask.
        key_index: int64 [key blocks]; counted over batch, heads and columns of the mask.
        parts: At least one.
    """

    query_index: Tensor
    key_index: Tensor
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that compute one mask.

    Attributes:
        steps: In the order in which they run.
        dense: Every block is kept; there are no steps.
        has_empty_rows: Some query block keeps no key block.
    """

    steps: tuple[Step, ...]
    dense: bool = False
    has_empty_rows: bool = False
    most_query_blocks: int = field(init=False)
    most_key_blocks: int = field(init=False)

    def __post_init__(self) -> None:
        most_query_blocks = max((len(step.query_index) for step in self.steps), default=0)
        object.__setattr__(self, "most_query_blocks", most_query_blocks)
        object.__setattr__(
            self, "most_key_blocks", max((len(step.key_index) for step in self.steps), default=0)
        )


@dataclass(frozen=True, slots=True)
class _Jobs:
    """Attention jobs of one shape, not yet put into a step.

    Attributes:
        query_index: int64 [jobs, query blocks].
        key_index: int64 [jobs, key blocks].
        queries: Query tokens of every job.
        keys: Key tokens of every job.
        merge: As in Part.
    """

    query_index: Tensor
    key_index: Tensor
    queries: int
    keys: int
    merge: bool


def plan_mask(mask: BlockMask, batch: int, heads: int, key_budget: int, *, split: bool) -> Plan:
    """Plan a mask for tensors of `batch` × `heads`.

    Args:
        mask: The kept blocks.
        batch: Batch size of the tensors.
        heads: Heads of the tensors.
        key_budget: Most gathered key tokens per step, where one job fits in it.
        split: Whether keys of one query may be attended in several steps and merged.

    Returns:
        The plan.
    """
    keep = mask.keep.to("cpu")
    if bool(keep.all()):
        return Plan((), dense=True)
    left = keep.expand(batch, heads, -1, -1).flatten(0, 1).clone()  # [lanes, rows, columns] not yet planned
    has_empty_rows = not bool(left.any(-1).all())
    started = torch.zeros(left.shape[:2], dtype=torch.bool)
    steps: list[Step] = []
    for size, fewest in _group_sizes(mask.block.query) if split else [(1, 1)]:
        common = _take_common(left, mask, size, fewest)
        steps += _pack(_jobs_by_shape(common, started, mask, size), mask.block.key, key_budget)
        planned = common.any(-1).repeat_interleave(size, dim=-1)
        started[:, : planned.shape[1]] |= planned
    return Plan(tuple(steps), has_empty_rows=has_empty_rows)


def share_keys(plan: Plan, columns: int, group: int) -> Plan:
    """The same plan where neighbouring heads share the key blocks of one head.

    Args:
        plan: Whose key blocks are counted over batch, query heads and columns.
        columns: Of the mask.
        group: Query heads that share a key head; divides them.

    Returns:
        The plan with key blocks counted over batch, key heads and columns.
    """
    steps = []
    for step in plan.steps:
        lanes = step.key_index.div(columns, rounding_mode="floor")
        shared = lanes.div(group, rounding_mode="floor") * columns + step.key_index % columns
        steps.append(replace(step, key_index=shared))
    return Plan(tuple(steps), plan.dense, plan.has_empty_rows)


def _group_sizes(side: int) -> list[tuple[int, int]]:
    """Query blocks per group, largest first, each a multiple of the next, and the fewest keys worth a split."""
    sizes = [(tokens // side, fewest) for tokens, fewest in GROUPS if tokens // side > 1]
    powers_of_two = [(1 << (size.bit_length() - 1), fewest) for size, fewest in sizes]
    return [*powers_of_two, (1, 1)]


def _take_common(left: Tensor, mask: BlockMask, size: int, fewest: int) -> Tensor:
    """Move the keys that all query blocks of a group keep out of `left`: bool [lanes, groups, columns]."""
    whole_rows = left.shape[1] if size == 1 else mask.queries // mask.block.query
    groups = whole_rows // size
    members = left[:, : groups * size].unflatten(1, (groups, size))
    common = members.all(2)
    tokens = common.to(torch.float32) @ mask.key_sizes.to("cpu", torch.float32)
    common &= (tokens >= fewest).unsqueeze(-1)
    members &= ~common.unsqueeze(2)
    return common


def _jobs_by_shape(common: Tensor, started: Tensor, mask: BlockMask, size: int) -> Iterator[_Jobs]:
    """One job per lane and group that has keys in `common`, jobs of one shape together."""
    columns, rows = common.shape[-1], started.shape[1]
    lanes, groups = common.any(-1).nonzero(as_tuple=True)
    kept = common[lanes, groups]
    ends_in_last = kept[:, -1].long()
    is_last_row = (groups * size == rows - 1).long()
    shapes = ((kept.sum(-1) * 2 + ends_in_last) * 2 + is_last_row) * 2 + started[lanes, groups * size].long()
    for shape in shapes.unique().tolist():
        jobs = (shapes == shape).nonzero()[:, 0]
        blocks, in_last, last_row, merge = shape >> 3, shape >> 2 & 1, shape >> 1 & 1, shape & 1
        first = lanes[jobs] * rows + groups[jobs] * size
        yield _Jobs(
            query_index=first.unsqueeze(-1) + torch.arange(size),
            key_index=kept[jobs].nonzero()[:, 1].view(-1, blocks) + lanes[jobs].unsqueeze(-1) * columns,
            queries=size * mask.block.query - last_row * (-mask.queries % mask.block.query),
            keys=blocks * mask.block.key - in_last * (-mask.keys % mask.block.key),
            merge=bool(merge),
        )


def _pack(jobs_by_shape: Iterable[_Jobs], side: int, key_budget: int) -> Iterator[Step]:
    """Cut large sets of jobs and join small ones, so that a step gathers `key_budget` tokens or a single job."""
    waiting: list[_Jobs] = []
    filled = 0
    for jobs in jobs_by_shape:
        tokens = jobs.key_index.shape[1] * side
        most = max(key_budget // tokens, 1)
        for queries, keys in zip(jobs.query_index.split(most), jobs.key_index.split(most), strict=True):
            if waiting and filled + len(keys) * tokens > key_budget:
                yield _step(waiting)
                waiting, filled = [], 0
            waiting.append(replace(jobs, query_index=queries, key_index=keys))
            filled += len(keys) * tokens
    if waiting:
        yield _step(waiting)


def _step(waiting: list[_Jobs]) -> Step:
    parts: list[Part] = []
    query_at = key_at = 0
    for jobs in waiting:
        query_to, key_to = query_at + jobs.query_index.numel(), key_at + jobs.key_index.numel()
        slices = slice(query_at, query_to), slice(key_at, key_to)
        parts.append(Part(len(jobs.key_index), jobs.queries, jobs.keys, *slices, jobs.merge))
        query_at, key_at = query_to, key_to
    query_index = torch.cat([jobs.query_index.flatten() for jobs in waiting])
    key_index = torch.cat([jobs.key_index.flatten() for jobs in waiting])
    return Step(query_index, key_index, tuple(parts))
