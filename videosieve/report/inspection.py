"""inspection.html: attention maps, the head atlas and where single patches look; one self-contained page below 3 MB."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videosieve.errors import OutputError
from videosieve.files import write_text
from videosieve.inspection import MEASURES, Inspection, Patches, encode_ratios, uniform_measures
from videosieve.inspection.plan import HIGHEST, LOWEST
from videosieve.report.page import Colophon, draw_page

PAGE_BYTES = 3_000_000
SCRIPTS = (
    "inspection_colours.js", "inspection_heads.js", "inspection_maps.js", "inspection_patch.js", "inspection.js",
)  # fmt: skip
SMALLEST_SHARE = 0.5  # of its bytes that a map of patches takes as compressed text; a guess that saves time
PICTURE_SIDE = 160  # pixels, of the longer side of a frame


def write_inspection_page(found: Inspection, path: Path, colophon: Colophon | None = None) -> None:
    """Write the page.

    Args:
        found: What was seen.
        path: An .html file.
        colophon: What stands at the foot; None names the model alone.

    Raises:
        OutputError: The page cannot be written, or would be larger than `PAGE_BYTES` even with few query patches.
    """
    write_text(path, render_inspection(found, colophon))


def render_inspection(found: Inspection, colophon: Colophon | None = None) -> str:
    """The page as text; query patches are thinned out until it is smaller than `PAGE_BYTES`."""
    plan = found.plan
    facts = {
        "prompt": found.prompt,
        "pipeline": found.pipeline,
        "model": found.model,
        "method": found.method,
        "grid": plan.layout.grid,
        "tokens": plan.layout.tokens,
        "other": plan.layout.other_tokens,
        "spots": len(found.readings),
        "all_steps": found.all_steps,
        "side": plan.side,
        "exact": plan.exact,
        "rows": len(plan.rows),
        "atlas_rows": found.atlas_rows,
        "missing": found.missing,
    }
    common = _common(found)

    def render(patches: dict[str, Any]) -> str:
        return draw_page(
            "inspection.html", f"{found.prompt} · attention", colophon or Colophon(found.model), scripts=SCRIPTS,
            data=common | patches, **facts,
        )  # fmt: skip

    room = PAGE_BYTES - len(render({}).encode())
    for every in _thinnings(found.plan.patches, len(found.readings), room):
        text = render(_patches(found, every))
        if len(text.encode()) < PAGE_BYTES:
            return text
    raise OutputError(
        f"{len(found.readings)} layers × heads × steps do not fit into a page of {PAGE_BYTES / 1e6:g} MB; choose fewer"
    )


def _thinnings(patches: Patches, spots: int, room: int) -> Iterator[tuple[int, int]]:
    """Every so many frames and places to keep, from fine to coarse, without those that cannot fit into `room` bytes."""
    frames, rows, columns = (len(values) for values in _axes(patches))
    cells = patches.cells[0] * patches.cells[1] * patches.cells[2]
    for each in ((1, 1), (1, 2), (2, 2), (2, 3), (4, 3), (4, 4), (4, 6), (4, 8), (4, 12), (4, 16)):
        queries = -(-frames // each[0]) * -(-rows // each[1]) * -(-columns // each[1])
        if spots * queries * cells * SMALLEST_SHARE < room:
            yield each


def picture_frames(found: Inspection) -> list[Tensor]:
    """One picture a token frame, the middle one of the video frames it covers; [] where there is no video."""
    if found.video is None:
        return []
    pictures = []
    for frame in range(found.plan.layout.grid.frames):
        covered = [i for i, other in enumerate(found.frame_of) if other == frame]
        nearest = covered[len(covered) // 2] if covered else 0
        pictures.append(found.video[nearest])
    return pictures


def _common(found: Inspection) -> dict[str, Any]:
    plan, layout = found.plan, found.plan.layout
    dense = all(reading.density == 1 for reading in found.readings.values())
    mean = sum(reading.density for reading in found.readings.values()) / len(found.readings)
    return {
        "segments": [[segment.kind, segment.tokens] for segment in layout.segments],
        "grid": [layout.grid.frames, layout.grid.height, layout.grid.width],
        "tokens": layout.tokens,
        "side": plan.side,
        "cells": plan.cells,
        "range": [LOWEST, HIGHEST],
        "dense": dense,
        "measures": list(MEASURES),
        "uniform": uniform_measures(layout, mean),
        "steps": list(found.steps),
        "atlas": _plain(found.atlas.permute(1, 0, 2, 3)),
        "frames": [_picture(frame) for frame in picture_frames(found)],
        "spots": [
            {
                "at": list(spot),
                "density": round(reading.density, 4),
                "pattern": reading.pattern,
                "order": reading.order,
                "measures": _plain(torch.tensor([reading.view.measures[name] for name in MEASURES])),
                "attention": [_grey(encode_ratios(map_)) for map_ in reading.view.attention],
                "computed": [_grey((map_ * 255).round().byte()) for map_ in reading.view.computed]
                if reading.order
                else [],
            }
            for spot, reading in found.readings.items()
        ],
    }


def _patches(found: Inspection, every: tuple[int, int]) -> dict[str, Any]:
    """The kept queries, every so many frames and every so many places in a frame."""
    patches, (frames, places) = found.plan.patches, every
    thin = (
        slice(None, None, frames),
        slice((places - 1) // 2, None, places),
        slice((places - 1) // 2, None, places),
    )
    axes = [values[part] or values[:1] for values, part in zip(_axes(patches), thin, strict=True)]
    shape = tuple(map(len, _axes(patches)))
    index = torch.arange(shape[0] * shape[1] * shape[2]).view(shape)
    for axis, values in enumerate(axes):
        chosen = torch.tensor([_axes(patches)[axis].index(value) for value in values])
        index = index.index_select(axis, chosen)
    picked = index.flatten()
    views = [reading.view for reading in found.readings.values()]
    return {
        "queries": axes,
        "pool": list(patches.pool),
        "cellGrid": list(patches.cells),
        "patches": [_grey(view.patches[picked].flatten(1)) for view in views],
        "outside": [_plain(view.outside[picked]) for view in views],
    }


def _axes(patches: Patches) -> tuple[list[int], list[int], list[int]]:
    return list(patches.frames), list(patches.rows), list(patches.columns)


def _plain(values: Tensor) -> Any:
    """Nested lists of three digits; None for NaN."""
    if values.ndim:
        return [_plain(part) for part in values]
    return None if values.isnan() else round(float(values), 3)


def _grey(codes: Tensor) -> str:
    """A byte matrix as a PNG in a data URI: lossless, small, and every browser can read it."""
    from PIL import Image

    return _data_uri(Image.fromarray(np.ascontiguousarray(codes.numpy())), "png")


def _picture(frame: Tensor) -> str:
    from PIL import Image

    pixels = (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(pixels)
    small = max(picture.size) <= PICTURE_SIDE
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    return _data_uri(picture, "png" if small else "jpeg")


def _data_uri(picture: Any, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
