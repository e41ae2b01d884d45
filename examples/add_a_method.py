"""Add a method of your own: what every query block sees is the diagonal and the key blocks of largest mean key.

python examples/add_a_method.py
videosieve compare --plugin examples/add_a_method.py --methods long_keys,svg
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch

import videosieve
from videosieve import AttentionCall, BlockMask, BlockSize, Method, Selection, VideoLayout
from videosieve.fields import In
from videosieve.methods.selection import top_k


@videosieve.register_method
@dataclass(frozen=True)
class LongKeys(Method):
    """Keeps the key blocks whose mean key is longest."""

    name: ClassVar[str] = "long_keys"
    density: Annotated[float, In("(0, 1]")] = 0.3

    def select(self, call: AttentionCall, state: None):
        """Blocks of 64 tokens; the diagonal is kept, so that every query sees itself."""
        keys = torch.nn.functional.pad(call.k, (0, 0, 0, -call.tokens % 64)).unflatten(2, (-1, 64))
        length = keys.mean(3).norm(dim=-1).unsqueeze(-2).expand(-1, -1, keys.shape[2], -1)
        diagonal = torch.eye(keys.shape[2], dtype=torch.bool, device=call.k.device)
        keep = top_k(length, max(1, round(self.density * keys.shape[2]))) | diagonal
        return Selection(BlockMask(keep, BlockSize(64, 64), call.tokens)), state


if __name__ == "__main__":
    layout = VideoLayout.of(frames=16, height=16, width=32, text_last=64)
    result = videosieve.attention(*torch.randn(3, 1, 4, layout.tokens, 64), layout, "long_keys", density=0.2)
    print(f"output {list(result.output.shape)}, density {result.mask.density:.3f} by {result.kernel}")
