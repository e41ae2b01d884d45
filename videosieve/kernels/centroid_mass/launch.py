"""When the Triton kernel of `centroid_mass` can run, and how it is launched."""

from torch import Tensor

from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.triton_support import launch_arch, refuse_products

# tile = (queries, columns) per step. The key is (widest head_dim,).
LAUNCHES = LaunchTable(
    "centroid_mass",
    "reasoned, not measured: scores are formed twice rather than stored, for they are 1/64 of those of attention",
    {(80, 64): Launch((64, 32), 4, 2), (80, 128): Launch((64, 32), 4, 2)},
)


def find_launch(q: Tensor) -> Launch:
    """The launch of a call."""
    return LAUNCHES.find(launch_arch(q.device), 64 if q.shape[-1] <= 64 else 128)


def refuse(
    q: Tensor, keys: Tensor, log_sizes: Tensor, offsets: Tensor, _scale: float, order: Tensor | None
) -> str | None:
    """Why the Triton kernel cannot run a call, or None."""
    reason = refuse_products(q, keys)
    if reason:
        return reason
    others = [x for x in (log_sizes, offsets, order) if x is not None]
    if any(x.device != q.device for x in others):
        return f"log_sizes, offsets and order must be on {q.device}"
    return None
