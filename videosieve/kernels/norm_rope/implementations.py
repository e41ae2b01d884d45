"""Who can compute `norm_rope`, the fastest first."""

from collections.abc import Sequence

from torch import Tensor

from videosieve.kernels.dispatch import Implementation, anything, choose
from videosieve.kernels.norm_rope import launch, reference
from videosieve.kernels.norm_rope.streams import NormRope, Stream
from videosieve.kernels.triton_support import lazily

_HERE = "videosieve.kernels.norm_rope"

IMPLEMENTATIONS = (
    Implementation("triton", launch.refuse, lazily(f"{_HERE}.triton", "norm_rope")),
    Implementation("reference", anything, reference.norm_rope),
)


def run(
    streams: Sequence[Stream], order: Tensor | None, heads: Tensor | None, fp8: bool, backend: str | None
) -> NormRope:
    """`norm_rope` without its checks: by the backend asked for, or by the fastest that can."""
    chosen = choose("norm_rope", IMPLEMENTATIONS, backend, streams, order, heads, fp8)
    return chosen.run(streams, order, heads, fp8)
