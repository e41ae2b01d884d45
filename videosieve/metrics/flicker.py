"""Temporal flicker: VBench's temporal_flickering, how little neighbouring frames differ.

Huang et al., "VBench: Comprehensive Benchmark Suite for Video Generative Models", arXiv:2311.17982, dimension "temporal
flickering": (255 − mean |frame − next frame|) ÷ 255. It looks at one video alone, no reference.

Traps: motion lowers it as flicker does, so only videos of the same prompt compare; a frozen video gets a perfect 1.
VBench therefore leaves out static videos (found with RAFT) and takes 25 samples a prompt. VBench measures 8-bit frames
of a decoded mp4; here the frames are taken as they are, before any codec.
"""

from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.metrics.frames import unit_frames


def temporal_flicker(video: Tensor) -> float:
    """Steadiness of a video in [0, 1]; 1 where no pixel ever changes, so higher is steadier.

    Args:
        video: Float in [0, 1], or uint8 [frames, channels, height, width]; at least two frames.

    Returns:
        1 − mean |frame − next frame|.

    Raises:
        ShapeError: The video has fewer than two frames, or is neither float nor uint8.
    """
    return flicker_per_frame(video).mean().item()


def flicker_per_frame(video: Tensor) -> Tensor:
    """1 − mean |frame − next frame| of every pair of neighbours: the curve behind `temporal_flicker`.

    Args:
        video: Float in [0, 1], or uint8 [frames, channels, height, width]; at least two frames.

    Returns:
        fp64 [frames − 1].

    Raises:
        ShapeError: As `temporal_flicker`.
    """
    frames = unit_frames(video)
    if len(frames) < 2:
        raise ShapeError(f"temporal flicker needs at least 2 frames, got {list(video.shape)}")
    return 1 - (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
