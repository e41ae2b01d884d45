"""One row of the native kernel's table: which there are, what they cost, and how one is checked and timed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from videosieve.bench.cases import Case, Pattern, Shape
from videosieve.bench.cpu import check_rows
from videosieve.bench.flex import time_flex
from videosieve.bench.timing import time_by_turns
from videosieve.kernels import block_sparse_attention
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.factories import make_qkv, random_ragged_mask

PATTERNS = (("band", 128), ("band", 64), ("random per head", 128), ("random per head", 64), ("ragged", 128))
TELLING = (1.0, 0.25)  # densities that come first
FLEX_DENSITY, FLEX_TOKENS, FLEX_HEADS, FLEX_SECONDS = 0.25, 8192, 4, 40.0
OPERATIONS_TOKENS = 8192  # longer sequences go without the implementation from PyTorch operations
LONG_CALL, ROW_SECONDS = 5.0, 20.0
SHARES = {"dense": 0.5, "native": 0.7, "operations": 0.5}  # of the peak, to guess times from
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A row of the table, or its flex_attention column.

    Attributes:
        shape: The tensors.
        pattern: "dense", "band", "random per head" or "ragged".
        side: Block side, tokens; of ragged blocks the mean.
        density: Aimed at.
        flex: Whether compiled flex_attention is timed, and nothing else.
    """

    shape: Shape
    pattern: str
    side: int
    density: float
    flex: bool = False

    @property
    def mask_name(self) -> str:
        return self.pattern if self.pattern == "dense" else f"{self.pattern}, {self.side}"

    @property
    def key(self) -> tuple[str, str, float]:
        return self.shape.name, self.mask_name, self.density

    def call_seconds(self, peak: float) -> dict[str, float]:
        """Guessed seconds of one call of each implementation, from a peak in GFLOP/s."""
        operations = 4 * self.shape.tokens**2 * self.shape.heads * self.shape.head_dim
        kept = {"dense": 1.0, "native": self.density}
        if self.pattern != "ragged" and self.shape.tokens <= OPERATIONS_TOKENS:
            kept["operations"] = self.density
        return {name: operations * share / (1e9 * peak * SHARES[name]) for name, share in kept.items()}

    def seconds(self, peak: float, repeats: int) -> float:
        """Guessed seconds of the job; of a long dense call only in the first row of its shape."""
        if self.flex:
            return FLEX_SECONDS
        calls = self.call_seconds(peak)
        if calls["dense"] > LONG_CALL and self.pattern != "dense":
            del calls["dense"]
        return sum(calls.values()) * self.turns(peak, repeats)

    def turns(self, peak: float, repeats: int) -> int:
        """Turns by all calls, the first of several for warming up; fewer where one takes long."""
        return max(1, min(repeats + 1, int(ROW_SECONDS / sum(self.call_seconds(peak).values()))))


def jobs(shapes: list[Shape], densities: list[float], flex: bool) -> list[Job]:
    """All jobs, the most telling first: dense and density 0.25 on every shape, short calls before long ones."""
    rows = [
        Job(shape, *pattern, density)
        for shape in shapes
        for density in densities
        for pattern in (PATTERNS if density < 1 else (("dense", 128),))
    ]
    columns = [
        Job(row.shape, row.pattern, row.side, row.density, flex=True)
        for row in rows
        if flex and row.density == FLEX_DENSITY and row.pattern != "ragged"
        if row.shape.tokens <= FLEX_TOKENS and row.shape.heads <= FLEX_HEADS
    ]

    def rank(job: Job) -> tuple[int, float, bool]:
        stage = 1 if job.flex else 0 if job.density in TELLING else 2
        return stage, job.call_seconds(1.0)["dense"], job.pattern != "dense"

    return sorted(rows + columns, key=rank)


def make_mask(job: Job) -> BlockMask | RaggedBlockMask:
    """The mask of a row."""
    tokens = job.shape.tokens
    if job.pattern == "dense":
        return BlockMask.dense(tokens, BlockSize(job.side, job.side))
    if job.pattern == "ragged":  # blocks of `side` tokens on average, cut at random
        blocks = tokens // job.side
        return random_ragged_mask(tokens, tokens, (blocks, blocks), job.density, heads=job.shape.heads)
    return make_case(job).make_mask()


def make_case(job: Job) -> Case:
    """The case of a row whose blocks have one size."""
    name: Pattern = "band" if job.pattern == "band" else "random per head"
    return Case(job.shape, name, job.side, job.density)


@lru_cache(maxsize=1)
def make_tensors(shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v of a shape; those of the last one are kept."""
    return make_qkv(shape.tokens, shape.tokens, heads=shape.heads, head_dim=shape.head_dim, contiguous=True)


def time_row(
    job: Job, peak: float, repeats: int, clock: Callable[[], float], dense: dict[Shape, float]
) -> Row:
    """One mask on one shape, checked, then timed.

    Args:
        job: The row.
        peak: Multiply–add rate in registers, GFLOP/s.
        repeats: Most repeats.
        clock: Seconds.
        dense: Milliseconds of the dense calls that this run timed; one of more than LONG_CALL seconds is not repeated.

    Returns:
        The row as it goes into the results.
    """
    shape, mask = job.shape, make_mask(job)
    q, k, v = make_tensors(shape)
    check(q, k, v, mask)
    calls: dict[str, Callable[[], object]] = {
        "dense": partial(scaled_dot_product_attention, q, k, v),
        "native": partial(block_sparse_attention, q, k, v, mask, backend="native"),
        "operations": partial(block_sparse_attention, q, k, v, mask, backend="cpu"),
    }
    known = dense.get(shape, 0.0) > 1e3 * LONG_CALL
    calls = {name: calls[name] for name in job.call_seconds(peak) if not (known and name == "dense")}
    turns = job.turns(peak, repeats)
    times = time_by_turns(calls, max(1, turns - 1), clock, warm_up=turns > 1)
    dense[shape] = times.setdefault("dense", dense.get(shape, 0.0))
    operations = 4 * mask.density * shape.tokens**2 * shape.heads * shape.head_dim
    return {
        "shape": shape.name,
        "mask": job.mask_name,
        "asked": job.density,
        "density": mask.density,
        "dense_ms": times["dense"],
        "dense_of_another_row": known,
        "native_ms": times["native"],
        "operations_ms": times.get("operations"),
        "flex_ms": None,
        "repeats": max(1, turns - 1),
        "speedup": times["dense"] / times["native"],
        "of_ideal": times["dense"] / times["native"] * mask.density,
        "gflops": operations / times["native"] / 1e6,
    }


def time_flex_of(job: Job, repeats: int) -> float:
    """Milliseconds of compiled flex_attention with the mask of a row."""
    return time_flex(make_case(job), repeats)


def check(q: Tensor, k: Tensor, v: Tensor, mask: BlockMask | RaggedBlockMask) -> None:
    """Raise an AssertionError unless sampled rows of the native kernel agree with fp64."""
    output, lse = block_sparse_attention(q[:, :2], k[:, :2], v[:, :2], two_heads(mask), backend="native")
    check_rows(output, lse, (q[:, :2], k[:, :2], v[:, :2]), two_heads(mask))


def two_heads(mask: BlockMask | RaggedBlockMask) -> Any:
    """The mask of the first two heads."""
    if isinstance(mask, BlockMask):
        return BlockMask(mask.keep[:, :2], mask.block, mask.queries, mask.keys)
    offsets = mask.query_offsets[:, :2], mask.key_offsets[:, :2]
    return RaggedBlockMask(mask.keep[:, :2], *offsets, mask.queries, mask.keys)


@torch.inference_mode()
def time_linear(clock: Callable[[], float]) -> dict[str, list[tuple[float, float]]]:
    """Kept pairs in millions and milliseconds, for several tokens × heads: random 64-blocks, head_dim 64."""
    lines = {}
    for tokens, heads in ((2048, 4), (2048, 24), (4096, 1), (4096, 4), (8192, 1)):
        shape = Shape(f"{tokens} tokens × {heads} heads", VideoLayout.of(1, 1, tokens), heads, 64)
        q, k, v = make_tensors(shape)
        masks = [
            make_mask(Job(shape, "random per head", 64, density)) for density in (0.05, 0.1, 0.25, 0.5, 0.75)
        ]
        calls: dict[str, Callable[[], object]] = {
            str(mask.density): partial(block_sparse_attention, q, k, v, mask) for mask in masks
        }
        times = time_by_turns(calls, 3, clock)
        lines[shape.name] = [
            (float(density) * tokens**2 * heads / 1e6, milliseconds)
            for density, milliseconds in times.items()
        ]
    return lines
