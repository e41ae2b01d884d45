"""Add a method of your own: what every query block sees is the diagonal and the key blocks of largest mean key.

python examples/add_a_method.py
"""

from dataclasses import dataclass
from typing import Annotated

import torch

from videosieve import AttentionCall, BlockMask, BlockSize, Method, Selection, VideoLayout, attention
from videosieve.fields import In
from videosieve.methods.selection import top_k


@dataclass(frozen=True)
class LongKeys(Method):
    name = "long_keys"
    density: Annotated[float, In("(0, 1]")] = 0.3

    def select(self, call: AttentionCall, state: None):
        keys = torch.nn.functional.pad(call.k, (0, 0, 0, -call.tokens % 64)).unflatten(2, (-1, 64))
        length = keys.mean(3).norm(dim=-1).unsqueeze(-2).expand(-1, -1, keys.shape[2], -1)
        keep = top_k(length, round(self.density * keys.shape[2])) | torch.eye(keys.shape[2], dtype=torch.bool)
        return Selection(BlockMask(keep, BlockSize(64, 64), call.tokens)), state


layout = VideoLayout.of(frames=16, height=16, width=32, text_last=64)
result = attention(*torch.randn(3, 1, 4, layout.tokens, 64), layout, LongKeys(density=0.2))
print(f"output {list(result.output.shape)}, density {result.mask.density:.3f} by {result.kernel}")
