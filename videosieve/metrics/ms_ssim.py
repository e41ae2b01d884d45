"""Multi-scale SSIM: structure compared at several resolutions, the brightness at the coarsest alone.

Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar 2003, equation 7
with the five weights of its section 3.2. Five scales need frames of at least 176 pixels a side (11 × 2⁴); smaller ones
are measured at fewer, with the first weights divided by their sum, and the result says how many. Such a figure is not
comparable with one of five scales. One scale alone would be SSIM under another name: refused.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from videosieve.errors import ShapeError
from videosieve.metrics.frames import WINDOW, ssim_terms, unit_pair

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first


@dataclass(frozen=True, slots=True)
class MsSsim:
    """Multi-scale SSIM of a video.

    Attributes:
        frames: Of every frame, mean over channels, each in [0, 1].
        mean: Mean over the frames.
        scales: Resolutions that were used, 2 … 5; 5 is the published measure.
    """

    frames: tuple[float, ...]
    mean: float
    scales: int


def ms_ssim(video: Tensor, reference: Tensor, scales: int | None = None) -> MsSsim:
    """Multi-scale structural similarity; 1 for identical videos.

    Every scale halves the frame by the mean of 2 × 2 pixels (an odd last row or column is left out). A negative mean
    structure term, which has no real power, counts as 0.

    Args:
        video: Float in [0, 1], or uint8 [frames, channels, height, width].
        reference: The same shape.
        scales: 2 … 5; None takes as many as fit: 2 at 32 pixels, 3 at 64, 5 from 176 on.

    Returns:
        Per frame, the mean, and the number of scales.

    Raises:
        ShapeError: The videos differ in shape, are neither float nor uint8, or are too small for `scales` scales.
    """
    x, y = unit_pair(video, reference)
    side = min(x.shape[-2:])
    fit = sum(side >> halvings >= WINDOW for halvings in range(len(WEIGHTS)))
    count = fit if scales is None else scales
    if not 2 <= count <= fit:
        raise ShapeError(
            f"MS-SSIM of {scales=} needs 2 to 5 scales and sides of at least {WINDOW} × 2^(scales − 1) pixels; "
            f"{list(x.shape)} holds {fit}. Give larger frames or fewer scales; for one scale take ssim"
        )
    result = x.new_ones(x.shape[:2])
    for scale, weight in enumerate(WEIGHTS[:count]):
        luminance, structure = ssim_terms(x, y)
        term = luminance * structure if scale == count - 1 else structure
        result = result * term.mean(-1).clamp(min=0) ** (weight / sum(WEIGHTS[:count]))
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    frames = tuple(result.mean(1).tolist())
    return MsSsim(frames, float(torch.tensor(frames, dtype=torch.float64).mean()), count)
