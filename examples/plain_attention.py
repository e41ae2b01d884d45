"""Sparse attention on tensors alone: no pipeline, no diffusers.

python examples/plain_attention.py
"""

import torch

import videosieve

layout = videosieve.VideoLayout.of(frames=16, height=16, width=32, text_last=64)
q, k, v = (torch.randn(1, 4, layout.tokens, 64) for _ in range(3))

result = videosieve.attention(q, k, v, layout, "svg", density=0.3)

print(f"output {list(result.output.shape)}, LSE {list(result.lse.shape)}, density {result.mask.density:.3f}")
