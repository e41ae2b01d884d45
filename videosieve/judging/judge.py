"""Does a video show what its caption says? Analysis by synthesis, no learned parts.

Objects are found by colour (every palette colour outshines every background), motion is read off their centroids,
and shape is the best overlap with rendered templates. On rendered ground truth this is right in more than 98 % of
all cases, per factor (tests/judging/test_judge.py).
"""

import itertools
import math
from dataclasses import dataclass
from functools import cache

import torch

from videosieve.errors import ShapeError
from videosieve.shapes.world.factors import COLOURS, PALETTE, SHAPES, SIZES, Factors, ObjectFactors
from videosieve.shapes.world.sdf import signed_distance

_BRIGHT = 0.55  # the backgrounds end at 0.42, the palette's strongest channels start at 0.75
_SMALLEST = 0.012  # share of the frame that an object covers at least, on average over frames
_STILL = 0.035  # root-mean-square wandering of a still object, fraction of the frame


@dataclass(frozen=True)
class Verdict:
    """What was found for one caption.

    Args:
        correct: For every asked factor ("colour", "motion", "shape", "size"), the share of objects that have it;
            all asked objects must be there.
        mask_iou: Mean overlap of each found object with its best template, in [0, 1].
        seen: The objects found, matched to the asked ones; None where no object was found.
    """

    correct: dict[str, float]
    mask_iou: float
    seen: tuple[ObjectFactors | None, ...]

    @property
    def all_correct(self) -> bool:
        """Whether every asked factor of every object is there."""
        return all(share == 1.0 for share in self.correct.values())


@dataclass(frozen=True)
class _Found:
    colour: str
    motion: str
    shape: str
    size: str
    iou: float


def colour_masks(video: torch.Tensor) -> torch.Tensor:
    """Assigns every bright pixel to its nearest palette colour.

    Args:
        video: RGB in [0, 1] [frames, 3, height, width].

    Returns:
        bool [colours, frames, height, width].
    """
    palette = torch.tensor(PALETTE, device=video.device)
    distance = (video[:, None] - palette[None, :, :, None, None]).square().sum(2)
    nearest = distance.argmin(1)  # [frames, height, width]
    bright = video.amax(1) > _BRIGHT
    return torch.stack([(nearest == index) & bright for index in range(len(COLOURS))])


def centroids(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres of a mask over time.

    Args:
        mask: bool [frames, height, width].

    Returns:
        (x, y) as fractions of the frame [frames, 2], and which frames show the object [frames].
    """
    height, width = mask.shape[1:]
    weight = mask.float()
    area = weight.sum((1, 2))
    ys = (torch.arange(height, device=mask.device) + 0.5) / height
    xs = (torch.arange(width, device=mask.device) + 0.5) / width
    safe = area.clamp_min(1)
    x, y = (weight.sum(1) @ xs) / safe, (weight.sum(2) @ ys) / safe
    return torch.stack([x, y], 1), area >= max(3, 0.004 * height * width)


def read_motion(track: torch.Tensor, shown: torch.Tensor) -> str:
    """Names the motion class whose trajectory fits a track best.

    Args:
        track: Centres (x, y) as fractions of the frame, y pointing down [frames, 2].
        shown: Frames to use [frames]; with fewer than 3 the answer is "none".

    Returns:
        One of MOTIONS, "counterclockwise" or "none".
    """
    if int(shown.sum()) < 3:
        return "none"
    times = torch.linspace(0, 1, len(track), device=track.device)[shown].double()
    points = track[shown].double()
    centred = points - points.mean(0)
    spread = centred.square().sum(1).mean().sqrt()
    if spread < _STILL:
        return "still"
    time = times - times.mean()
    slope = (time[:, None] * centred).sum(0) / time.square().sum()
    line_error = float((centred - time[:, None] * slope).square().sum())
    dx, dy = float(slope[0]), float(slope[1])
    straight = ("right" if dx > 0 else "left") if abs(dx) > abs(dy) else ("down" if dy > 0 else "up")
    errors = {straight: line_error}
    for name, sign in (("clockwise", 1), ("counterclockwise", -1)):
        errors[name] = min(
            _orbit_error(times, points, sign * turns) for turns in (0.75, 0.85, 0.92, 1.0, 1.1)
        )
    return min(errors, key=lambda name: errors[name])


def _orbit_error(times: torch.Tensor, points: torch.Tensor, turns: float) -> float:
    # x = a + c cos - s sin, y = b + c sin + s cos: a circle of any centre, radius and phase; linear in a, b, c, s
    angle = 2 * math.pi * turns * times
    one, zero = torch.ones_like(angle), torch.zeros_like(angle)
    rows_x = torch.stack([one, zero, angle.cos(), -angle.sin()], 1)
    rows_y = torch.stack([zero, one, angle.sin(), angle.cos()], 1)
    design, target = torch.cat([rows_x, rows_y]), torch.cat([points[:, 0], points[:, 1]])
    solution = torch.linalg.lstsq(design, target[:, None]).solution
    return float((design @ solution - target[:, None]).square().sum())


def read_shape(
    mask: torch.Tensor, track: torch.Tensor, shown: torch.Tensor, hidden: torch.Tensor
) -> tuple[str, float, float]:
    """Finds the template that overlaps an object best.

    Args:
        mask: bool [frames, height, width].
        track: The mask's centres [frames, 2].
        shown: Frames to use [frames].
        hidden: Pixels of other objects, which count neither for nor against [frames, height, width].

    Returns:
        Name of the shape, radius as a fraction of the frame, and intersection over union.
    """
    height, width = mask.shape[1:]
    frames = shown.nonzero()[:, 0]
    ys = (torch.arange(height, device=mask.device) + 0.5) / height
    xs = (torch.arange(width, device=mask.device) + 0.5) / width
    area = mask[frames].float().mean((1, 2)).median()
    best = ("none", 0.0, 0.0)
    for index, name in enumerate(SHAPES):
        unit, middle_x, middle_y = _template(index)
        for factor in (0.9, 1.0, 1.1):
            radius = float((area / unit).sqrt()) * factor
            x = (xs[None, None] - track[frames, 0, None, None]) / radius + middle_x
            y = (ys[None, :, None] - track[frames, 1, None, None]) / radius + middle_y
            x, y = torch.broadcast_tensors(x, y)
            ids = torch.full((len(frames),), index, device=mask.device)
            template = (signed_distance(ids, x, y) < 0) & ~hidden[frames]
            union = (template | mask[frames]).sum((1, 2)).clamp_min(1)
            iou = float(((template & mask[frames]).sum((1, 2)) / union).mean())
            if iou > best[2]:
                best = (name, radius, iou)
    return best


@cache
def _template(index: int) -> tuple[float, float, float]:
    """Area in squared radii and centre of mass (x, y) in radii of a shape."""
    line = torch.linspace(-1.2, 1.2, 241)
    y, x = torch.meshgrid(line, line, indexing="ij")
    inside = signed_distance(torch.tensor([index]), x[None], y[None])[0] < 0
    return float(inside.float().mean()) * 2.4**2, float(x[inside].mean()), float(y[inside].mean())


def find_objects(video: torch.Tensor, count: int) -> list[_Found]:
    """Finds the most visible objects of a video, largest first.

    Args:
        video: RGB in [0, 1] [frames, 3, height, width].
        count: How many to look for.

    Returns:
        At most `count` objects.
    """
    masks = colour_masks(video)
    areas = masks.float().mean((1, 2, 3))
    order = [index for index in areas.argsort(descending=True).tolist() if areas[index] > _SMALLEST][:count]
    found = []
    for index in order:
        mask = masks[index]
        track, shown = centroids(mask)
        if not bool(shown.any()):
            continue
        others = [masks[other] for other in order if other != index]
        hidden = torch.stack(others).any(0) if others else torch.zeros_like(mask)
        shape, radius, iou = read_shape(mask, track, shown, hidden)
        scale = 0.8 if count == 2 else 1.0
        size = SIZES[int(radius > 0.24 * scale)]
        found.append(_Found(COLOURS[index], read_motion(track, shown), shape, size, iou))
    return found


def judge_video(video: torch.Tensor, asked: Factors) -> Verdict:
    """Compares a video with what was asked.

    Args:
        video: RGB in [0, 1] [frames, 3, height, width].
        asked: The factors; those that are None are not judged.

    Returns:
        The verdict for the matching of found to asked objects that is right most often.

    Raises:
        ShapeError: If the video is not 4-D with 3 channels in the second place.
    """
    if video.dim() != 4 or video.shape[1] != 3:
        raise ShapeError(
            f"judge_video needs RGB in [0, 1] [frames, 3, height, width]; got {list(video.shape)}"
        )
    wanted = len(asked.objects)
    found: list[_Found | None] = [*find_objects(video.float(), wanted)]
    found += [None] * (wanted - len(found))
    verdicts = [_compare(list(order), asked) for order in itertools.permutations(found)]
    return max(verdicts, key=lambda verdict: (sum(verdict.correct.values()), verdict.mask_iou))


def _compare(found: list[_Found | None], asked: Factors) -> Verdict:
    correct: dict[str, float] = {}
    for factor in ("colour", "motion", "shape", "size"):
        hits = [
            seen is not None and getattr(seen, factor) == getattr(thing, factor)
            for seen, thing in zip(found, asked.objects, strict=True)
            if getattr(thing, factor) is not None
        ]
        if hits:
            correct[factor] = sum(hits) / len(hits)
    names = tuple(seen and ObjectFactors(seen.shape, seen.colour, seen.size, seen.motion) for seen in found)
    iou = sum(seen.iou for seen in found if seen) / max(len(found), 1)
    return Verdict(correct, iou, names)


def summarise(verdicts: list[Verdict]) -> dict[str, float]:
    """Averages verdicts: share correct per factor, of all factors at once, and mask IoU.

    Args:
        verdicts: One a video, at least one.

    Returns:
        Means over the videos for which the factor was asked, and `videos`, their number.
    """
    result: dict[str, float] = {"videos": len(verdicts)}
    for factor in ("colour", "motion", "shape", "size"):
        shares = [verdict.correct[factor] for verdict in verdicts if factor in verdict.correct]
        if shares:
            result[factor] = sum(shares) / len(shares)
    result["all"] = sum(verdict.all_correct for verdict in verdicts) / len(verdicts)
    result["mask_iou"] = sum(verdict.mask_iou for verdict in verdicts) / len(verdicts)
    return result
