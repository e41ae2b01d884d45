"""An endless, seeded renderer: factors and a seed become a video and its object masks.

Everything is vectorised over the batch, anti-aliased, and works at any number of frames and any size, because
positions and radii are fractions of the frame and time runs from 0 (first frame) to 1 (last frame).
"""

import math
from dataclasses import dataclass

import torch

from videosieve.errors import ShapeError
from videosieve.shapes.world.backgrounds import draw_background
from videosieve.shapes.world.factors import MOTIONS, PALETTE, FactorBatch
from videosieve.shapes.world.sdf import signed_distance
from videosieve.shapes.world.seeds import Stream, uniforms

_TOP = 0.75  # of a turn: where orbits begin, the top of their circle
_CANDIDATES = 16
_RADIUS = (0.20, 0.28)  # small, large: fraction of the frame, +- 7 %
_TWO_OBJECTS = 0.8  # objects are smaller when they share the frame


@dataclass(frozen=True)
class Clip:
    """A batch of rendered clips.

    Args:
        video: Pixels in [-1, 1] [batch, 3, frames, height, width].
        masks: Visible share of each object in each pixel, in [0, 1] [batch, 2, frames, height, width].
        centres: Object centres (x, y) as fractions of the frame [batch, 2, frames, 2].
        factors: What was drawn.
    """

    video: torch.Tensor
    masks: torch.Tensor
    centres: torch.Tensor
    factors: FactorBatch


@dataclass(frozen=True)
class Paths:
    """Where the objects go: radius [batch, 2], mid point [batch, 2, 2] and how they move around it."""

    radius: torch.Tensor
    middle: torch.Tensor
    travel: torch.Tensor
    phase: torch.Tensor
    turns: torch.Tensor
    motion: torch.Tensor

    def at(self, times: torch.Tensor) -> torch.Tensor:
        """Centres at times [batch, frames] in [0, 1]: [batch, 2, frames, 2]."""
        return self.middle[:, :, None] + _offsets(self.motion, self.travel, self.phase, self.turns, times)


def _offsets(
    motion: torch.Tensor, travel: torch.Tensor, phase: torch.Tensor, turns: torch.Tensor, times: torch.Tensor
) -> torch.Tensor:
    directions = torch.tensor([[-1, 0], [1, 0], [0, -1], [0, 1], [0, 0], [0, 0]], device=motion.device)
    straight = directions[motion][:, :, None] * (travel[:, :, None] * (times[:, None] - 0.5))[..., None]
    angle = 2 * math.pi * (phase[:, :, None] + turns[:, :, None] * times[:, None])
    circle = torch.stack([angle.cos(), angle.sin()], -1) * (travel * 0.42)[:, :, None, None]
    orbits = (motion == MOTIONS.index("clockwise"))[:, :, None, None]
    return torch.where(orbits, circle, straight)


def plan_paths(factors: FactorBatch, seeds: torch.Tensor) -> Paths:
    """Chooses sizes and paths: objects stay in the frame, and two objects keep apart if they can.

    Args:
        factors: What to draw.
        seeds: int64 seeds [batch].

    Returns:
        The paths of both objects.
    """
    batch = len(seeds)
    u = uniforms(seeds, 8 + 4 * _CANDIDATES, Stream.PLACEMENT)
    shrink = torch.where(factors.count == 2, _TWO_OBJECTS, 1.0)[:, None]
    radius = torch.tensor(_RADIUS, device=seeds.device)[factors.size] * (0.93 + 0.14 * u[:, 0:2]) * shrink
    travel, turns = 0.34 + 0.10 * u[:, 2:4], 0.85 + 0.15 * u[:, 6:8]
    phase = _TOP + 0.1 * (u[:, 4:6] - 0.5)  # from anywhere, nothing but the noise would say where it is when
    check = torch.linspace(0, 1, 9, device=seeds.device).expand(batch, 9)
    offsets = _offsets(factors.motion, travel, phase, turns, check)  # [batch, 2, 9, 2]
    reach = offsets.abs().amax(2)  # [batch, 2, 2]
    low = (0.85 * radius[..., None] + reach).clamp_max(0.5)
    spread = u[:, 8:].reshape(batch, _CANDIDATES, 2, 2)
    middles = low[:, None] + spread * (1 - 2 * low)[:, None]  # [batch, candidates, 2, 2]
    tracks = middles[:, :, :, None] + offsets[:, None]
    gap = (tracks[:, :, 0] - tracks[:, :, 1]).norm(dim=-1).amin(-1) / radius.sum(1, keepdim=True)
    best = gap.clamp_max(0.95).argmax(1)  # the first placement that is good enough, else the best one
    best = torch.where(factors.count == 2, best, 0)
    middle = middles[torch.arange(batch, device=seeds.device), best]
    return Paths(radius, middle, travel, phase, turns, factors.motion)


def frame_times(num_frames: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Times of the frames of a clip, 0 to 1 [num_frames]."""
    return torch.arange(num_frames, device=device) / max(num_frames - 1, 1)


def render(
    factors: FactorBatch,
    seeds: torch.Tensor,
    times: torch.Tensor | None = None,
    height: int = 32,
    width: int = 32,
) -> Clip:
    """Renders one clip for every seed.

    Args:
        factors: What to draw, one row a seed.
        seeds: int64 seeds [batch]; placement, textures and occlusion order follow from them.
        times: Times of the frames in [0, 1] [frames] or [batch, frames]; default: 16 frames, 0 to 1.
        height: Pixels, >= 8.
        width: Pixels, >= 8.

    Returns:
        Video, visible masks, centres and factors.

    Raises:
        ShapeError: If factors, seeds and times do not have the same batch, or the frame is too small.
    """
    times = frame_times(16, seeds.device) if times is None else times
    times = times.expand(len(seeds), -1) if times.dim() == 1 else times
    if len(factors) != len(seeds) or len(times) != len(seeds) or min(height, width) < 8:
        raise ShapeError(
            "render needs one row of factors and of times per seed and at least 8 x 8 pixels; got "
            f"{len(factors)} factors, {len(times)} times, {len(seeds)} seeds, {height=}, {width=}"
        )
    paths = plan_paths(factors, seeds)
    centres = paths.at(times)
    ys = (torch.arange(height, device=seeds.device) + 0.5) / height
    xs = (torch.arange(width, device=seeds.device) + 0.5) / width
    cover = []
    for i in range(2):
        radius = paths.radius[:, i, None, None, None]
        x = (xs - centres[:, i, :, 0, None])[:, :, None, :] / radius
        y = (ys - centres[:, i, :, 1, None])[:, :, :, None] / radius
        x, y = torch.broadcast_tensors(x, y)
        edge = signed_distance(factors.shape[:, i], x, y) * radius * min(height, width)
        cover.append((0.5 - edge).clamp(0, 1))
    cover[1] = cover[1] * (factors.count == 2)[:, None, None, None]
    first_in_front = (uniforms(seeds, 1, Stream.NOISE) < 0.5)[:, :, None, None]
    masks = torch.stack(
        [
            cover[0] * torch.where(first_in_front, 1.0, 1 - cover[1]),
            cover[1] * torch.where(first_in_front, 1 - cover[0], 1.0),
        ],
        1,
    )
    colours = torch.tensor(PALETTE, device=seeds.device)[factors.colour]  # [batch, 2, 3]
    background = draw_background(factors.background, seeds, times, height, width)
    video = background * (1 - masks.sum(1, keepdim=True)) + torch.einsum("bnthw,bnc->bcthw", masks, colours)
    return Clip(video * 2 - 1, masks, centres, factors)
