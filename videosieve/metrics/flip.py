"""LDR-FLIP: the difference a viewer sees when two images alternate in one place, with a map of where it is.

Andersson, Nilsson, Akenine-Möller, Oskarsson, Åström and Fairchild, "FLIP: A Difference Evaluator for Alternating
Images", HPG 2020; section numbers below are theirs. Colours are blurred as the eye blurs them at a viewing distance and
compared in a Hunt-adjusted CIELAB space; differences of edges and points amplify that. Written from the paper's
formulas and checked against the authors' flip-evaluator 1.7.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from videosieve.errors import ShapeError
from videosieve.metrics.frames import unit_pair

# 0.7 m away from a screen 0.7 m and 3840 pixels wide: the authors' default.
PIXELS_PER_DEGREE = 0.7 * 3840 / 0.7 * math.pi / 180

# Contrast sensitivity of achromatic, red–green and blue–yellow: (a, b) of two Gaussians each (section 4.1.1, table 1).
_SENSITIVITY = (
    ((1.0, 0.0047), (0.0, 1e-5)),
    ((1.0, 0.0053), (0.0, 1e-5)),
    ((34.1, 0.04), (13.5, 0.025)),
)
_FEATURE_WIDTH = 0.082  # degrees, of the edge and point detectors (section 4.2.1)
_COLOUR_POWER, _KNEE, _KNEE_VALUE, _FEATURE_POWER = 0.7, 0.4, 0.95, 0.5  # the paper's q_c, p_c, p_t, q_f

# Nine evenly spaced colours of matplotlib's magma (CC0).
_MAGMA = (
    (0.001, 0.000, 0.014),
    (0.113, 0.065, 0.277),
    (0.317, 0.072, 0.485),
    (0.513, 0.148, 0.508),
    (0.716, 0.215, 0.475),
    (0.904, 0.320, 0.388),
    (0.987, 0.536, 0.382),
    (0.997, 0.770, 0.535),
    (0.987, 0.991, 0.750),
)

_XYZ_OF_LINEAR = torch.tensor(
    [
        [10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794],
        [2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897],
        [1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382],
    ],
    dtype=torch.float64,
)
_WHITE = _XYZ_OF_LINEAR.sum(1)


def flip(video: Tensor, reference: Tensor, pixels_per_degree: float = PIXELS_PER_DEGREE) -> Tensor:
    """The FLIP map of every frame; its mean is the usual single figure.

    Args:
        video: sRGB, float in [0, 1], or uint8 [frames, 3, height, width].
        reference: The same shape.
        pixels_per_degree: Of visual angle, > 0. A frame that is shown n times larger has n times fewer.

    Returns:
        fp64 `[frames, height, width]` in [0, 1]; 0 where no difference is seen.

    Raises:
        ShapeError: The videos differ in shape, are neither float nor uint8, are not RGB, or pixels_per_degree <= 0.
    """
    x, y = unit_pair(video, reference)
    if x.shape[1] != 3 or not pixels_per_degree > 0:
        raise ShapeError(
            f"FLIP needs RGB [frames, 3, height, width] and pixels_per_degree > 0, got {list(x.shape)} and "
            f"{pixels_per_degree=}"
        )
    # One frame at a time: the filters need several frames' worth of memory.
    return torch.stack(
        [_flip_frame(a, b, pixels_per_degree) for a, b in zip(x.split(1), y.split(1), strict=True)]
    )


def heat_map(values: Tensor) -> Tensor:
    """A map in the colours of magma: black for 0 over purple and orange to pale yellow for 1.

    Args:
        values: `[frames, height, width]` in [0, 1], for example of `flip`; clipped to that range.

    Returns:
        fp32 sRGB `[frames, 3, height, width]` in [0, 1].

    Raises:
        ShapeError: The values have another number of axes.
    """
    if values.ndim != 3:
        raise ShapeError(f"a heat map needs [frames, height, width], got {list(values.shape)}")
    stops = torch.tensor(_MAGMA, dtype=torch.float32, device=values.device)
    place = values.float().clamp(0, 1) * (len(stops) - 1)
    below = place.long().clamp(max=len(stops) - 2)
    colours = torch.lerp(stops[below], stops[below + 1], (place - below).unsqueeze(-1))
    return colours.permute(0, 3, 1, 2).contiguous()


def _flip_frame(image: Tensor, reference: Tensor, pixels_per_degree: float) -> Tensor:
    opponents = [_opponent(_linear(x)) for x in (image, reference)]
    colour = _colour_difference(*(_seen(x, pixels_per_degree) for x in opponents))
    edges = [_features(x, pixels_per_degree) for x in opponents]
    feature = (edges[0] - edges[1]).abs().amax(1) / math.sqrt(2)
    return (colour ** (1 - feature**_FEATURE_POWER))[0]


def _linear(srgb: Tensor) -> Tensor:
    return torch.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)


def _ratios(linear: Tensor) -> Tensor:
    """X / X_white, Y / Y_white, Z / Z_white [images, 3, height, width]."""
    matrix = (_XYZ_OF_LINEAR / _WHITE[:, None]).to(linear.device)
    return torch.einsum("ij,njhw->nihw", matrix, linear)


def _opponent(linear: Tensor) -> Tensor:
    """YCxCz: luminance, red–green, blue–yellow, linear in light."""
    x, y, z = _ratios(linear).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _linear_of_opponent(opponent: Tensor) -> Tensor:
    luminance, red_green, blue_yellow = opponent.unbind(1)
    y = (luminance + 16) / 116
    xyz = torch.stack([red_green / 500 + y, y, y - blue_yellow / 200], 1)
    matrix = (_XYZ_OF_LINEAR / _WHITE[:, None]).inverse().to(opponent.device)
    return torch.einsum("ij,njhw->nihw", matrix, xyz)


def _seen(opponent: Tensor, pixels_per_degree: float) -> Tensor:
    """Hunt-adjusted CIELAB of what the eye resolves (sections 4.1.1 and 4.1.2)."""
    widest = max(b for pair in _SENSITIVITY for _, b in pair)
    offsets = _offsets(3 * math.sqrt(widest / (2 * math.pi**2)) * pixels_per_degree, opponent)
    channels = []
    for channel, pair in zip(opponent.unbind(1), _SENSITIVITY, strict=True):
        total, weight = torch.zeros_like(channel), 0.0
        for a, b in pair:
            curve = (-((math.pi * offsets / pixels_per_degree) ** 2) / b).exp()
            amplitude = a * math.sqrt(math.pi / b)
            total = total + amplitude * _filter(channel, curve, curve)
            weight += amplitude * curve.sum().item() ** 2
        channels.append(total / weight)
    return _hunt_lab(_linear_of_opponent(torch.stack(channels, 1)).clamp(0, 1))


def _hunt_lab(linear: Tensor) -> Tensor:
    ratios = _ratios(linear)
    knee = 6 / 29
    roots = torch.where(
        ratios > knee**3, ratios.clamp(min=knee**3) ** (1 / 3), ratios / (3 * knee**2) + 4 / 29
    )
    x, y, z = roots.unbind(1)
    lightness = 116 * y - 16
    hunt = 0.01 * lightness
    return torch.stack([lightness, hunt * 500 * (x - y), hunt * 200 * (y - z)], 1)


def _colour_difference(first: Tensor, second: Tensor) -> Tensor:
    """HyAB distance, compressed to [0, 1] (sections 4.1.3 and 4.1.4) [images, height, width]."""
    primaries = torch.eye(3, dtype=first.dtype, device=first.device).view(3, 3, 1, 1)
    _, green, blue = _hunt_lab(primaries).split(1)
    most = _hyab(green, blue).item() ** _COLOUR_POWER
    distance, knee = _hyab(first, second) ** _COLOUR_POWER, _KNEE * most
    above = _KNEE_VALUE + (distance - knee) / (most - knee) * (1 - _KNEE_VALUE)
    return torch.where(distance < knee, distance * _KNEE_VALUE / knee, above).clamp(0, 1)


def _hyab(first: Tensor, second: Tensor) -> Tensor:
    lightness, red_green, blue_yellow = (first - second).unbind(1)
    return lightness.abs() + (red_green.square() + blue_yellow.square()).sqrt()


def _features(opponent: Tensor, pixels_per_degree: float) -> Tensor:
    """Strength of edges and of points (section 4.2.1) [images, 2, height, width]."""
    sigma = 0.5 * _FEATURE_WIDTH * pixels_per_degree
    offsets = _offsets(3 * sigma, opponent)
    bell = (-offsets.square() / (2 * sigma**2)).exp()
    luminance = (opponent[:, 0] + 16) / 116
    strengths = []
    for profile in (-offsets * bell, (offsets.square() / sigma**2 - 1) * bell):
        gains, losses = profile.clamp(min=0), profile.clamp(max=0)
        across = gains / gains.sum() - losses / losses.sum()  # positive weights sum to 1, negative ones to −1
        smooth = bell / bell.sum()
        strengths.append(torch.hypot(_filter(luminance, smooth, across), _filter(luminance, across, smooth)))
    return torch.stack(strengths, 1)


def _offsets(reach: float, like: Tensor) -> Tensor:
    radius = math.ceil(reach)
    return torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)


def _filter(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Separable filter of [images, height, width]; frames go on as their border pixels."""
    rows, columns = len(down) // 2, len(across) // 2
    padded = pad(images.unsqueeze(1), (columns, columns, rows, rows), mode="replicate")
    return conv2d(conv2d(padded, down.view(1, 1, -1, 1)), across.view(1, 1, 1, -1)).squeeze(1)
