"""When the Triton kernel of `antidiagonal_scores` can run, and how it is launched."""

from torch import Tensor

from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.triton_support import launch_arch, refuse_products

# tile = (query cells, key cells) of one program. The key is (widest head_dim,).
LAUNCHES = LaunchTable(
    "antidiagonal_scores",
    "reasoned, not measured: the tile of a plain matrix product of this inner length",
    {
        (80, 64): Launch((128, 64), 8, 3),
        (80, 128): Launch((128, 64), 8, 3),
        (90, 64): Launch((128, 128), 8, 3),
        (90, 128): Launch((128, 128), 8, 2),
    },
)


def find_launch(q: Tensor) -> Launch:
    """The launch of a call."""
    return LAUNCHES.find(launch_arch(q.device), 64 if q.shape[-1] <= 64 else 128)


def refuse(q: Tensor, k: Tensor, _stride: int, _scale: float) -> str | None:
    """Why the Triton kernel cannot run a call, or None."""
    return refuse_products(q, k)
