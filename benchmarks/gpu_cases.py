"""What is timed on a GPU: the attention shapes of three models, and tiny ones for a dry run."""

import torch

from videosieve.bench.cases import Shape
from videosieve.layout import VideoLayout
from videosieve.testing.factories import make_qkv

SHAPES = [
    Shape("HunyuanVideo 720p, 129 frames", VideoLayout.of(33, 45, 80, text_last=256), heads=24, head_dim=128),
    Shape("Wan 14B 720p, 81 frames", VideoLayout.of(21, 45, 80), heads=40, head_dim=128),
    Shape("CogVideoX-1.5 768p, 81 frames", VideoLayout.of(11, 48, 85, text_first=226), heads=48, head_dim=64),
]
DRY_SHAPES = [Shape("dry run", VideoLayout.of(3, 5, 8, text_last=9), heads=2, head_dim=16)]
DENSITIES, DRY_DENSITIES = (0.1, 0.2, 0.3, 0.5), (0.5,)
SIDES, DRY_SIDES = (128, 64), (16,)


def make_inputs(
    shape: Shape, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random q, k and v as projections leave them: views of [batch, tokens, heads, head_dim]."""
    if device.type == "cpu":
        return make_qkv(shape.tokens, shape.tokens, heads=shape.heads, head_dim=shape.head_dim, dtype=dtype)
    size = (1, shape.tokens, shape.heads, shape.head_dim)
    q, k, v = (torch.randn(size, device=device, dtype=dtype).transpose(1, 2) for _ in range(3))
    return q, k, v
