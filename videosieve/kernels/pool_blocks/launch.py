"""When the Triton kernel of `pool_blocks` can run, and how it is launched."""

from torch import Tensor

from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.triton_support import launch_arch, refuse_rows, refuse_triton

# tile = (tokens,) that are read at a time. The key is (widest head_dim,).
LAUNCHES = LaunchTable(
    "pool_blocks",
    "reasoned, not measured: one program a block, whose tokens are read twice, the second time from the cache",
    {(80, 64): Launch((64,), 4, 2), (80, 128): Launch((64,), 4, 2)},
)


def find_launch(x: Tensor) -> Launch:
    """The launch of a call."""
    return LAUNCHES.find(launch_arch(x.device), 64 if x.shape[-1] <= 64 else 128)


def refuse(x: Tensor, offsets: Tensor, order: Tensor | None) -> str | None:
    """Why the Triton kernel cannot run a call, or None."""
    reason = refuse_triton(x) or refuse_rows(x)
    if reason:
        return reason
    if offsets.device != x.device or (order is not None and order.device != x.device):
        return f"offsets and order must be on {x.device}"
    return None
