"""saliency.html: the video or image, what each concept wins, and heat maps to step through; one self-contained file."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videosieve.colours import CONCEPTS
from videosieve.concepts import SaliencyMaps
from videosieve.errors import OutputError
from videosieve.files import write_text
from videosieve.files.paths import read_bytes
from videosieve.report.charts import DASHES, LineChart, Scale, line_chart
from videosieve.report.page import Colophon, draw_page

MAP_BYTES = 4_000_000
"""Of all maps on the page together; single layers and steps that do not fit are left out, and it says so."""


@dataclass(frozen=True, slots=True)
class About:
    """What the page says of where its maps are from.

    Attributes:
        prompt: What is shown.
        picture: The video (.mp4) or image (.png) without maps.
        fps: Frames per second of the video.
        facts: Name and value, and what belongs to it in small print.
        colophon: What stands at the foot.
    """

    prompt: str
    picture: Path
    fps: float = 0.0
    facts: tuple[tuple[str, str, str], ...] = ()
    colophon: Colophon = field(default_factory=Colophon)


def write_saliency_page(found: SaliencyMaps, about: About, path: Path) -> None:
    """Write the page.

    Args:
        found: Maps, with their video.
        about: Where they are from.
        path: An .html file.

    Raises:
        OutputError: The video cannot be read, or the page not be written.
    """
    write_text(path, render_saliency(found, about))


def render_saliency(found: SaliencyMaps, about: About) -> str:
    """The page as text."""
    mean = found.maps[:, None] if found.of_image else found.maps
    frames = 1 if found.of_image else len(found.frame_of) or mean.shape[1]
    maps, left_out = [], 0
    for name, each in _all_maps(found):
        made = _pack(name, each[:, None] if found.of_image else each)
        if maps and sum(map(_size, maps)) + _size(made) > MAP_BYTES:
            left_out += 1
        else:
            maps.append(made)
    data = {
        "concepts": [
            {"name": name, "colour": concept_colour(index), "dash": DASHES[index % len(DASHES)]}
            for index, name in enumerate(found.concepts)
        ],
        "grid": list(mean.shape[1:]),
        "frames": frames,
        "fps": about.fps,
        "frameOf": list(found.frame_of) or list(range(frames)),
        "maps": maps,
    }
    height, width = found.video.shape[-2:] if found.video is not None else mean.shape[-2:]
    kind = "image/png" if found.of_image else "video/mp4"
    source = base64.b64encode(read_bytes(about.picture, "the video", OutputError)).decode()
    return draw_page(
        "saliency.html", f"{about.prompt} · saliency", about.colophon, scripts=("charts.js", "saliency.js"), data=data,
        about=about, concepts=data["concepts"], frames=frames, left_out=left_out, aspect=f"{width} / {height}",
        source=f"data:{kind};base64,{source}", chart=_chart(frames),
    )  # fmt: skip


def concept_colour(index: int) -> str:
    """The name of a concept's colour in `videosieve.colours`, by its place."""
    return f"concept-{index % CONCEPTS}"


def _chart(frames: int) -> LineChart:
    """Axes from nothing to all of a frame; the script draws the lines of the map that is chosen."""
    return line_chart([], "frame", Scale(0.0, 100.0), unit="%", count=frames)


def _all_maps(found: SaliencyMaps) -> Iterator[tuple[str, Tensor]]:
    yield "mean", found.maps
    yield from found.means().items()


def _pack(name: str, maps: Tensor) -> dict[str, Any]:
    """Heat maps stretched to 256 steps over their own range, and the winner of every token exactly.

    Args:
        name: What the map is of.
        maps: [concepts, frames, height, width].
    """
    flat = maps.float().flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    heat = ((flat - low[:, None]) / (high - low)[:, None].clamp_min(1e-12) * 255).round().byte()
    winners = maps.argmax(0)
    shares = torch.stack([(winners == index).float().mean((1, 2)) for index in range(len(maps))], 1)
    return {
        "name": name,
        "low": [round(value, 6) for value in low.tolist()],
        "high": [round(value, 6) for value in high.tolist()],
        "heat": _text(heat),
        "winners": _text(winners.byte()),
        "shares": [[round(value, 4) for value in frame] for frame in shares.tolist()],
    }


def _text(values: Tensor) -> str:
    return base64.b64encode(values.contiguous().cpu().numpy().tobytes()).decode()


def _size(packed: dict[str, Any]) -> int:
    return len(packed["heat"]) + len(packed["winners"])
