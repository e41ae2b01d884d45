"""The plain layout of pictures and clips with masks: a folder with scenes.jsonl, and PNG masks.

One line of `scenes.jsonl` is one picture or clip:

    {"file": "cat.png", "prompt": "a cat on a sofa", "masks": {"cat": "cat-1.png", "sofa": "cat-2.png"},
     "rest": "wall", "others": ["floor", "tree"]}

`file` is a picture, a film, or a folder of pictures. A mask is a greyscale PNG of the picture's size, where 128 and
more is the concept; of a clip it is a folder with one PNG a frame. Where several masks cover a pixel, the first named
has it.
`rest` names everything that no mask covers ("background" unless it is given), `others` compete and count as the rest.
Paths are relative to the folder.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from videosieve.concepts import normalise_concepts
from videosieve.errors import ModelError, ShapeError
from videosieve.fields import from_table
from videosieve.files import entries, is_folder, open_picture, read_json_lines, whole_file
from videosieve.generation.footage import PICTURES, read_footage, read_picture

INDEX = "scenes.jsonl"
LEVEL = 128  # of 255, from which a pixel of a mask is the concept


@dataclass(frozen=True)
class SceneFile:
    """One line of `scenes.jsonl`.

    Attributes:
        file: Picture, film, or folder of pictures.
        masks: The mask of every concept.
        prompt: A caption; empty says nothing.
        rest: The concept of everything that no mask covers.
        others: Further concepts that compete and count as the rest.
    """

    file: str
    masks: dict[str, str]
    prompt: str = ""
    rest: str = "background"
    others: tuple[str, ...] = ()

    @property
    def concepts(self) -> tuple[str, ...]:
        """Those with a mask, then the rest, then the others."""
        return normalise_concepts((*self.masks, self.rest, *self.others))


@dataclass(frozen=True)
class Scene:
    """A picture or clip with the truth about it.

    Attributes:
        name: What it is called.
        video: fp32 [frames, 3, height, width] in [0, 1]; a picture has one frame.
        truth: bool [masked concepts + 1, frames, height, width]; the rest comes last, exactly one is true everywhere.
        concepts: Those with a mask, the rest, others.
        prompt: A caption.
    """

    name: str
    video: Tensor
    truth: Tensor
    concepts: tuple[str, ...]
    prompt: str = ""
    others: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        shape = (len(self.concepts) - len(self.others), len(self.video), *self.video.shape[2:])
        if tuple(self.truth.shape) != shape:
            raise ShapeError(f"the truth of {self.name} must be {list(shape)}, got {list(self.truth.shape)}")


def read_index(folder: Path) -> list[SceneFile]:
    """The lines of a folder's `scenes.jsonl`, checked; no picture is read.

    Raises:
        ModelError: The file or a picture is missing, or a line says something else.
        PromptError: A concept is empty, or there twice.
    """
    lines = read_json_lines(folder / INDEX, "scenes", ModelError)
    if not lines:
        raise ModelError(f"{str(folder / INDEX)!r} has no line; one describes one picture or clip")
    found = []
    for number, values in lines:
        where = f"{str(folder / INDEX)!r}, line {number}"
        others = values.get("others")
        scene = from_table(
            SceneFile,
            values | ({"others": tuple(others)} if isinstance(others, list) else {}),
            where,
            ModelError,
        )
        if not scene.masks:
            raise ModelError(f"{where}: masks must name at least one concept")
        _ = scene.concepts  # checked before anything is read
        for path in (scene.file, *scene.masks.values()):
            if not (folder / path).exists():
                raise ModelError(f"{where}: {path!r} is not in {str(folder)!r}")
        found.append(scene)
    return found


def read_scenes(folder: Path) -> Iterator[Scene]:
    """The scenes of a folder, one after the other.

    Raises:
        ModelError: As for `read_index`, or a picture cannot be read.
        ShapeError: A mask has another size than its picture, or a clip's masks another number of frames.
    """
    for scene in read_index(folder):
        yield _read_scene(folder, scene)


def _read_scene(folder: Path, scene: SceneFile) -> Scene:
    path = folder / scene.file
    still = not is_folder(path) and path.suffix.lower() in PICTURES and path.suffix.lower() != ".webp"
    video = read_picture(path)[None] if still else read_footage(path)
    masks = [_read_mask(folder / mask, scene.file, video) for mask in scene.masks.values()]
    taken = torch.zeros_like(masks[0])
    own = []
    for mask in masks:
        own.append(mask & ~taken)
        taken |= mask
    return Scene(
        scene.file, video, torch.stack([*own, ~taken]), scene.concepts, scene.prompt, tuple(scene.others)
    )


def _read_mask(path: Path, name: str, video: Tensor) -> Tensor:
    files = entries(path, ModelError) if is_folder(path) else [path]
    files = [file for file in files if file.suffix.lower() == ".png"]
    planes = []
    for file in files:
        with open_picture(file, "a mask", ModelError) as image:
            planes.append(torch.from_numpy(np.asarray(image.convert("L")).copy()) >= LEVEL)
    if len(planes) != len(video):
        raise ShapeError(f"{name!r} has {len(video)} frames, its mask {str(path)!r} has {len(planes)}")
    for plane in planes:
        if plane.shape != video.shape[2:]:
            sizes = [f"{width} × {height}" for height, width in (video.shape[2:], plane.shape)]
            raise ShapeError(f"{name!r} has {sizes[0]} pixels, its mask {str(path)!r} has {sizes[1]}")
    return torch.stack(planes)


def write_scene(folder: Path, scene: Scene) -> SceneFile:
    """Write a scene in the layout, and its line to the end of the index.

    Args:
        folder: Made if missing.
        scene: What to write.

    Returns:
        The line.

    Raises:
        OutputError: Something cannot be written.
    """
    from PIL import Image

    def write(planes: Tensor, stem: str) -> str:
        """One PNG, or a folder of them; planes [frames, height, width(, 3)] of bytes."""
        for number, plane in enumerate(planes):
            path = folder / (f"{stem}.png" if len(planes) == 1 else f"{stem}/{number:04d}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as temporary:
                Image.fromarray(plane.numpy()).save(temporary, format="PNG")
        return f"{stem}.png" if len(planes) == 1 else stem

    frames = (scene.video * 255).round().byte().permute(0, 2, 3, 1)
    masked = scene.concepts[: len(scene.truth) - 1]
    masks = {
        concept: write(truth.byte() * 255, f"{scene.name}-mask-{index}")
        for index, (concept, truth) in enumerate(zip(masked, scene.truth, strict=False))
    }
    line = SceneFile(
        write(frames, scene.name), masks, scene.prompt, scene.concepts[len(masked)], scene.others
    )
    values = {name: getattr(line, name) for name in ("file", "prompt", "masks", "rest", "others")}
    with (folder / INDEX).open("a", encoding="utf-8") as index:
        index.write(json.dumps(values, ensure_ascii=False) + "\n")
    return line
