"""What bf16 brings the native kernel: `python -m benchmarks.native --bf16`.

Every row times by turns, with one mask: the kernel on fp32 tensors, the same rounded inside, the kernel on bf16
tensors, and PyTorch's dense kernel on those; then the kernel on bf16 tensors by every instruction set of this machine
that has products of bf16, the fastest of which is the one that it takes by itself. The errors are the largest against
fp64 on the first two heads, of the kernel and, where every block is kept, of PyTorch's.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from videosieve.bench.cases import Shape
from videosieve.bench.native_rows import Job, make_mask, make_tensors, two_heads
from videosieve.bench.timing import time_by_turns
from videosieve.errors import BackendError
from videosieve.kernels import block_sparse_attention
from videosieve.kernels.block_sparse_attention import native
from videosieve.kernels.native_library import PAIRED, load, refuse_products
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.oracles import attention_oracle, pairs_oracle

MASKS = (
    ("dense", 128, 1.0),
    ("random per head", 128, 0.25),
    ("random per head", 64, 0.25),
    ("ragged", 128, 0.25),
)
TITLES = (
    "tokens × heads × head_dim",
    "mask",
    "SDPA bf16, ms",
    "fp32, ms",
    "rounded inside, ms",
    "bf16, ms",
    "fp32 ÷ bf16",
    "SDPA × density ÷ bf16",
    "error",
    "of SDPA",
)
CHECKED = 1024  # queries whose error is looked at


@torch.inference_mode()
def bf16_table(shapes: Sequence[Shape], repeats: int, clock: Callable[[], float]) -> str:
    """The table as Markdown.

    Args:
        shapes: Sizes of the calls.
        repeats: Timed turns of every call.
        clock: Seconds.

    Raises:
        BackendError: There are no products of bf16 here.
    """
    if (reason := refuse_products()) is not None:
        raise BackendError(f"no bf16 to time: {reason}")
    rows = [_row(Job(shape, *mask), repeats, clock) for shape in shapes for mask in MASKS]
    titles = [*TITLES, *(title for name in _sets() for title in (f"{name}, ms", f"fp32 ÷ {name}"))]
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(job: Job, repeats: int, clock: Callable[[], float]) -> list[str]:
    mask, full = make_mask(job), make_tensors(job.shape)
    halves = tuple(x.bfloat16() for x in full)
    scale = job.shape.head_dim**-0.5
    times = time_by_turns(
        {
            "sdpa": partial(scaled_dot_product_attention, *halves),
            "fp32": partial(block_sparse_attention, *full, mask, backend="native"),
            "rounded": partial(block_sparse_attention, *full, mask, backend="native-bf16"),
            "bf16": partial(block_sparse_attention, *halves, mask, backend="native"),
            **{
                name: partial(native.block_sparse_attention, *halves, mask, scale, instruction_set=name)
                for name in _sets()
            },
        },
        repeats,
        clock,
    )
    errors = [
        _error(
            lambda q, k, v: block_sparse_attention(q, k, v, two_heads(mask), backend="native")[0],
            halves,
            mask,
        )
    ]
    if job.pattern == "dense":
        errors.append(_error(scaled_dot_product_attention, halves, mask))
    return [
        job.shape.name,
        f"{job.mask_name}, {mask.density:.3f}",
        *(f"{times[name]:.1f}" for name in ("sdpa", "fp32", "rounded", "bf16")),
        f"{times['fp32'] / times['bf16']:.2f}",
        f"{times['sdpa'] * mask.density / times['bf16']:.2f}",
        *(f"{error:.1e}" for error in errors),
        *([""] * (2 - len(errors))),
        *(x for name in _sets() for x in (f"{times[name]:.1f}", f"{times['fp32'] / times[name]:.2f}")),
    ]


def _sets() -> list[str]:
    return [name for name in load().instruction_sets if name in PAIRED]


def _error(
    attend: Callable[..., Tensor], tensors: tuple[Tensor, ...], mask: BlockMask | RaggedBlockMask
) -> float:
    """Largest difference from fp64 in the first queries of two heads."""
    q, k, v = (x[:, :2] for x in tensors)
    output = attend(q, k, v)[:, :, :CHECKED]
    worst, kept = 0.0, pairs_oracle(two_heads(mask))
    for first in range(0, output.shape[2], 256):  # the oracle holds all scores of its queries
        rows = slice(first, min(first + 256, output.shape[2]))
        exact, _ = attention_oracle(q[:, :, rows], k, v, kept[:, :, rows], q.shape[-1] ** -0.5)
        worst = max(worst, float((output[:, :, rows].double() - exact).abs().max()))
    return worst
