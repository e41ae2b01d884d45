"""Signed distances to the five shapes, inside a unit circle around the origin, y pointing down."""

import math

import torch

from videosieve.shapes.world.factors import SHAPES


def _box(x: torch.Tensor, y: torch.Tensor, half_width: float, half_height: float) -> torch.Tensor:
    dx, dy = x.abs() - half_width, y.abs() - half_height
    return torch.hypot(dx.clamp_min(0), dy.clamp_min(0)) + torch.maximum(dx, dy).clamp_max(0)


def _triangle(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # three half planes; the apex points up
    sides = [x * math.cos(a) + y * math.sin(a) for a in (math.pi / 2, math.pi * 7 / 6, math.pi * 11 / 6)]
    return torch.stack(sides).amax(0) - 0.55


def _star(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # fold into one tenth of the plane, then one line from the outer point to the inner corner
    angle = torch.atan2(x.abs(), -y)
    tenth = math.pi / 5
    angle = (torch.remainder(angle + tenth, 2 * tenth) - tenth).abs()
    radius = torch.hypot(x, y)
    px, py = radius * torch.sin(angle), radius * torch.cos(angle)
    outer, inner = 1.08, 0.45
    cx, cy = inner * math.sin(tenth), inner * math.cos(tenth)
    length = math.hypot(cx, outer - cy)
    return (px * (outer - cy) + (py - outer) * cx) / length


def signed_distance(shape: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Distance to the outline of each clip's shape, negative inside.

    Args:
        shape: Index into SHAPES [batch].
        x: Horizontal position in units of the object's radius [batch, ...].
        y: Vertical position in the same unit, pointing down [batch, ...].

    Returns:
        Distances in units of the radius [batch, ...].
    """
    out = torch.empty_like(x)
    for index, name in enumerate(SHAPES):
        rows = (shape == index).nonzero()[:, 0]
        px, py = x[rows], y[rows]
        if name == "circle":
            distance = torch.hypot(px, py) - 0.88
        elif name == "square":
            distance = _box(px, py, 0.76, 0.76)
        elif name == "triangle":
            distance = _triangle(px, py - 0.1)
        elif name == "star":
            distance = _star(px, py)
        else:
            distance = torch.minimum(_box(px, py, 1.0, 0.32), _box(px, py, 0.32, 1.0))
        out[rows] = distance
    return out
