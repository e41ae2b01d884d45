"""The two prompts of guidance have different lengths, and a static mask must not depend on that."""

import pytest
import torch

from videosieve.layout import VideoLayout
from videosieve.methods.minference import MInference
from videosieve.methods.radial import RadialAttention
from videosieve.methods.sliding_tile import SlidingTile
from videosieve.methods.sparse_videogen import SparseVideoGen
from videosieve.testing.factories import make_call

METHODS = {
    "svg": lambda density: SparseVideoGen(density=density),
    "radial": lambda density: RadialAttention(density=density, block=32),
    "sliding_tile": lambda density: SlidingTile(density=density),
    "a_shape": lambda density: MInference(density=density, pattern="a_shape"),
}


@pytest.mark.parametrize("density", [0.1, 0.25, 0.3, 0.45, 0.65])
@pytest.mark.parametrize("method", list(METHODS))
def test_a_few_text_tokens_do_not_change_what_the_video_sees(method: str, density: float):
    """Nearest to 0.25 of all pairs, a band of 64-blocks is one wide beside 12 text tokens and two beside 2."""
    seen = []
    for text in (2, 12, 15):
        layout = VideoLayout.of(16, 8, 8, text_last=text)
        mask = METHODS[method](density).select(make_call(layout), None)[0].mask
        blocks = mask.keep.shape[-1] - 1  # the text has the last block to itself
        seen.append(mask.keep[:, 0, :blocks, :blocks])
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
