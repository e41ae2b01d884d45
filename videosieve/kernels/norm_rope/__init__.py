"""QK-norm, rotary positions and token order in one read and one write of q and k."""

from videosieve.kernels.norm_rope.api import norm_rope
from videosieve.kernels.norm_rope.implementations import IMPLEMENTATIONS
from videosieve.kernels.norm_rope.streams import HeadNorm, NormRope, Rotation, Stream

__all__ = ["IMPLEMENTATIONS", "HeadNorm", "NormRope", "Rotation", "Stream", "norm_rope"]
