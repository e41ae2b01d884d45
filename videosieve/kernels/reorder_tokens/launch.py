"""When the Triton kernel of `reorder_tokens` can run, and how it is launched."""

from torch import Tensor

from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.triton_support import launch_arch, refuse_rows, refuse_triton

# tile = (tokens,) of one program, which moves their rows of head_dim values. The key is the widest head_dim.
LAUNCHES = LaunchTable(
    "reorder_tokens",
    "reasoned, not measured: 32 values per thread, so that enough loads are in flight to hide each other's wait",
    {(80, 64): Launch((64,), 4, 1), (80, 128): Launch((32,), 4, 1)},
)


def find_launch(x: Tensor) -> Launch:
    """The launch of a call."""
    return LAUNCHES.find(launch_arch(x.device), 64 if x.shape[-1] <= 64 else 128)


def refuse(x: Tensor, order: Tensor, heads: Tensor | None) -> str | None:
    """Why the Triton kernel cannot run a call, or None."""
    reason = refuse_triton(x) or refuse_rows(x)
    if reason:
        return reason
    if order.device != x.device or (heads is not None and heads.device != x.device):
        return f"the order and the heads must be on {x.device}, as x is"
    return None
