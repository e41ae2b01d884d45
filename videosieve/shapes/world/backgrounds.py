"""Dim, slowly drifting textures."""

import math

import torch

from videosieve.shapes.world.factors import BACKGROUNDS
from videosieve.shapes.world.seeds import Stream, uniforms

_LATTICE = 10  # noise cells per frame edge


def _noise(values: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Bilinear noise on a torus; values [batch, lattice, lattice], x and y [batch, ...] in frames."""
    size = values.shape[1]
    fx, fy = x * size, y * size
    ix, iy = fx.floor(), fy.floor()
    wx, wy = fx - ix, fy - iy
    flat = values.flatten(1)

    def corner(dx: int, dy: int) -> torch.Tensor:
        index = (torch.remainder(iy + dy, size) * size + torch.remainder(ix + dx, size)).long()
        return flat.gather(1, index.flatten(1)).reshape(x.shape)

    top = corner(0, 0) * (1 - wx) + corner(1, 0) * wx
    bottom = corner(0, 1) * (1 - wx) + corner(1, 1) * wx
    return top * (1 - wy) + bottom * wy


def _texture(
    name: str, u: torch.Tensor, noise: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """A pattern in [-1, 1] [batch, frames, height, width]; x and y drift with time already."""
    scale = (3.0 + 1.5 * u[:, 4])[:, None, None, None]
    if name == "plain":
        return torch.zeros_like(x)
    if name == "striped":
        angle = (u[:, 5] * math.pi)[:, None, None, None]
        return (6.0 * torch.sin(2 * math.pi * scale * (x * angle.cos() + y * angle.sin()))).clamp(-1, 1)
    if name == "checkered":
        wave = torch.sin(math.pi * scale * x) * torch.sin(math.pi * scale * y)
        return (8.0 * wave).clamp(-1, 1)
    if name == "gradient":
        angle = (u[:, 5] * 2 * math.pi)[:, None, None, None]
        return ((x - 0.5) * angle.cos() + (y - 0.5) * angle.sin()) * 2.2
    return 2 * _noise(noise, x, y) - 1


def draw_background(
    background: torch.Tensor, seeds: torch.Tensor, times: torch.Tensor, height: int, width: int
) -> torch.Tensor:
    """Draws the backgrounds of a batch.

    Args:
        background: Index into BACKGROUNDS [batch].
        seeds: int64 seeds [batch].
        times: Times of the frames, in [0, 1] [batch, frames].
        height: Pixels.
        width: Pixels.

    Returns:
        RGB in [0, 0.42] [batch, 3, frames, height, width].
    """
    u = uniforms(seeds, 10 + _LATTICE**2, Stream.BACKGROUND)
    drift = (u[:, 0:2] - 0.5) * 0.3
    ys = (torch.arange(height, device=seeds.device) + 0.5) / height
    xs = (torch.arange(width, device=seeds.device) + 0.5) / width
    x = (xs + (drift[:, :1] * times)[..., None])[:, :, None, :]
    y = (ys + (drift[:, 1:] * times)[..., None])[:, :, :, None]
    x, y = torch.broadcast_tensors(x, y)
    pattern = torch.empty_like(x)
    for index, name in enumerate(BACKGROUNDS):
        rows = (background == index).nonzero()[:, 0]
        noise = u[rows, 10:].unflatten(1, (_LATTICE, _LATTICE))
        pattern[rows] = _texture(name, u[rows], noise, x[rows], y[rows]).clamp(-1, 1)
    base = 0.17 + 0.10 * u[:, 2]
    contrast = 0.06 + 0.03 * u[:, 3]
    tint = 1 + 0.25 * (u[:, 6:9] - 0.5)  # [batch, 3]
    level = base[:, None, None, None] + contrast[:, None, None, None] * pattern
    return (tint[:, :, None, None, None] * level[:, None]).clamp(0, 1)
