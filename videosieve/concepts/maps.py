"""Saliency maps: which part of a video or an image each concept is about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from videosieve.colours import CONCEPTS, HEAT, light, rgb
from videosieve.concepts.accumulate import Keep
from videosieve.concepts.pictures import write_film, write_picture
from videosieve.errors import OutputError, ShapeError
from videosieve.fields import In, checked, from_table
from videosieve.files import open_tensors, whole_file, write_tensors
from videosieve.frame_rate import FRAME_RATE

# A concept keeps its colour from picture to picture.
COLOURS = tuple(rgb(light(f"concept-{index}")) for index in range(CONCEPTS))
_HEAT = tuple(map(rgb, HEAT.split()))


@dataclass(frozen=True)
class SaliencyMaps:
    """Maps of several concepts over one video or image.

    Attributes:
        concepts: Words or phrases.
        maps: fp32 [concepts, frames, height, width] on the token grid, [concepts, height, width] of an image; the
            concepts' probabilities, which sum to 1 at every place, or the raw scores where those were asked for. They
            are relative: a concept's map says where it beats the *other concepts*.
        method: "concept" (output space) or "cross_attention".
        layers: Layers that were averaged.
        steps: Denoising steps that were averaged.
        parts: Maps of single layers (layer,), steps (step,) or sites (layer, step), where they were asked for.
        video: fp32 [video frames, 3, height, width] in [0, 1], the generated or given video; None where it was not
            decoded. Of an image its one frame; `image` is the same without that axis.
        frame_of: For every video frame the frame of the token grid that covers it.
        raw: Whether the maps are means of dot products and not of probabilities.
        noise: The noise level of every step as a fraction of all training timesteps; empty where it is not known.
        kept: What `parts` are of: "layers", "steps" or "sites"; "mean" where there are none.
    """

    concepts: tuple[str, ...]
    maps: Tensor
    method: str
    layers: tuple[int, ...]
    steps: tuple[int, ...]
    parts: Mapping[tuple[int, ...], Tensor] = field(default_factory=dict)
    video: Tensor | None = None
    frame_of: tuple[int, ...] = ()
    raw: bool = False
    kept: Keep = "mean"
    noise: tuple[float, ...] = ()

    @property
    def of_image(self) -> bool:
        """Whether an image was looked at: maps then have no frames."""
        return self.maps.ndim == 3

    @property
    def image(self) -> Tensor | None:
        """The generated or given image, fp32 [3, height, width] in [0, 1]; None of a video, or not decoded."""
        return self.video[0] if self.of_image and self.video is not None else None

    def means(self) -> dict[str, Tensor]:
        """Maps of single layers and steps by name, "layer 3" and "step 7", as far as parts were kept.

        Layers come first; of sites the means over the other axis. Indices are from 0, as everywhere.
        """
        axes = {"layers": (0,), "steps": (1,), "sites": (0, 1)}.get(self.kept, ())
        named: dict[str, list[Tensor]] = {}
        for axis in axes:
            for key, part in sorted(
                self.parts.items(), key=lambda item, axis=axis: item[0][axis % len(item[0])]
            ):
                named.setdefault(f"{('layer', 'step')[axis]} {key[axis % len(key)]}", []).append(part)
        return {name: torch.stack(parts).mean(0) for name, parts in named.items()}

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """The maps as probabilities: as they are, or the softmax over concepts of raw ones.

        Args:
            temperature: Of that softmax, above 0.

        Returns:
            Shaped like the maps; sums to 1 over the concepts.

        Raises:
            ShapeError: The temperature is not above 0.
        """
        checked("temperature", temperature, Annotated[float, In("(0, inf)")], ShapeError)
        return (self.maps / temperature).softmax(0) if self.raw else self.maps

    def of(self, concept: str) -> Tensor:
        """The map of one concept [frames, height, width], of an image [height, width]."""
        return self.maps[self._index(concept)]

    def upsample(self, height: int | None = None, width: int | None = None) -> Tensor:
        """Maps of the size of the video: linear in a frame, repeated over the video frames of a token frame.

        Args:
            height: Pixels; None takes the video's.
            width: Pixels; None takes the video's.

        Returns:
            [concepts, video frames, height, width], of an image [concepts, height, width]; sums to 1 over the
            concepts.

        Raises:
            ShapeError: There is no video and no size was given.
        """
        if (height is None or width is None) and self.video is None:
            raise ShapeError(
                "there is no decoded video to take the size from; give height and width in pixels"
            )
        rows, columns = (0, 0) if self.video is None else self.video.shape[-2:]
        size = (height or rows, width or columns)
        maps = self.maps[None] if self.of_image else self.maps
        maps = interpolate(maps, size=size, mode="bilinear", align_corners=False)
        if self.of_image:
            return maps[0]
        return maps[:, list(self.frame_of)] if self.frame_of else maps

    def masks(self, threshold: float | Literal["mean", "argmax"] = "argmax") -> Tensor:
        """Where each concept is.

        Args:
            threshold: "argmax": where the concept beats all others; "mean": above the mean of its own map, as the
                paper's single-object evaluation has it; a number in [0, 1]: above this probability.

        Returns:
            bool, shaped like the maps, on the token grid.

        Raises:
            ShapeError: Another threshold.
        """
        if threshold == "argmax":
            winners = self.maps.argmax(0)
            return torch.stack([winners == index for index in range(len(self.concepts))])
        if threshold == "mean":
            return self.maps > self.maps.flatten(1).mean(1).view(-1, *[1] * (self.maps.ndim - 1))
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise ShapeError(f"threshold must be 'argmax', 'mean' or a number in [0, 1], got {threshold!r}")
        if self.raw:
            raise ShapeError(
                f"raw scores have no threshold in [0, 1], got {threshold!r}; take 'argmax' or 'mean', or maps of "
                f"probabilities"
            )
        return self.maps > threshold

    def overlay(
        self, frames: Tensor | None = None, concept: str | None = None, strength: float = 0.6
    ) -> Tensor:
        """The video with the maps painted over it.

        Args:
            frames: [video frames, 3, height, width] in [0, 1]; None takes `video`.
            concept: One concept as a heat map, darkest to brightest over its own range; None paints every concept in
                its colour of `COLOURS`, mixed by probability.
            strength: Share of the paint, in [0, 1].

        Returns:
            fp32 [video frames, 3, height, width] in [0, 1]; one frame of an image.

        Raises:
            ShapeError: No frames, frames of another number or shape, or an unknown concept.
        """
        frames = self.video if frames is None else frames
        if frames is None or frames.ndim != 4 or frames.shape[1] != 3:
            got = "none" if frames is None else list(frames.shape)
            raise ShapeError(
                f"overlay needs frames [video frames, 3, height, width], got {got}; give the decoded video"
            )
        if not 0 <= strength <= 1:
            raise ShapeError(f"strength must lie in [0, 1], got {strength=}")
        maps = self.upsample(*frames.shape[-2:])
        maps = maps[:, None] if self.of_image else maps
        if len(frames) != maps.shape[1]:
            raise ShapeError(f"the maps cover {maps.shape[1]} video frames, got {len(frames)}")
        if concept is None:
            if self.raw:  # paint is mixed by shares
                maps = torch.stack([maps.argmax(0) == index for index in range(len(self.concepts))]).float()
            colours = torch.tensor([COLOURS[index % len(COLOURS)] for index in range(len(self.concepts))])
            paint = torch.einsum("rthw,rc->tchw", maps, colours)
        else:
            paint = _heat(maps[self._index(concept)])
        return frames.float().cpu() * (1 - strength) + paint * strength

    def save(self, path: str | Path, concept: str | None = None, fps: float = FRAME_RATE) -> Path:
        """Write maps, parts and video as safetensors, which `load` reads, or the overlay as something to look at.

        Args:
            path: Ends in .safetensors, in .mp4 (the overlay of a video), or in .png (frames of it side by side, or the
                image). It appears whole or not at all.
            concept: For pictures: one concept as a heat map; None paints all. Safetensors hold all of them anyway.
            fps: Frames per second of a film.

        Returns:
            The path.

        Raises:
            OutputError: Another ending, an image as a film, or the system refused.
            ShapeError: A picture without a video under it, or an unknown concept.
        """
        path = Path(path)
        if path.suffix == ".safetensors":
            self._write(path)
        elif path.suffix == ".mp4" and self.of_image:
            raise OutputError(f"an image is written as .safetensors or .png, got {str(path)!r}")
        elif path.suffix in (".mp4", ".png"):
            overlay = self.overlay(concept=concept)
            with whole_file(path) as temporary:
                if path.suffix == ".mp4":
                    write_film(overlay, temporary, fps)
                else:
                    write_picture(overlay, temporary)
        else:
            raise OutputError(
                f"saliency is written as .safetensors (all maps), .mp4 or .png (overlay), got {str(path)!r}"
            )
        return path

    def _write(self, path: Path) -> None:
        tensors = {"maps": self.maps} | {f"part.{_join(key)}": part for key, part in self.parts.items()}
        tensors |= {} if self.video is None else {"video": self.video}
        facts = {
            name: getattr(self, name)
            for name in ("concepts", "method", "layers", "steps", "frame_of", "raw", "kept", "noise")
        }
        write_tensors(path, tensors, {"saliency": json.dumps(facts)})

    @classmethod
    def load(cls, path: str | Path) -> "SaliencyMaps":
        """Read what `save` wrote.

        Raises:
            OutputError: The file is missing, or holds something else.
        """
        try:
            with open_tensors(path, "saliency", "saliency maps", OutputError) as (file, facts):
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            parts = {
                tuple(map(int, name.removeprefix("part.").split("-"))): tensor
                for name, tensor in tensors.items()
                if name.startswith("part.")
            }
            values = {"maps": tensors["maps"], "parts": parts, "video": tensors.get("video"), **facts}
            return from_table(cls, values, f"{str(path)!r}", OutputError)
        except (ValueError, LookupError, TypeError) as error:
            raise OutputError(f"{str(path)!r} holds no saliency maps: {error}") from None

    def _index(self, concept: str) -> int:
        if concept not in self.concepts:
            raise ShapeError(f"there is no map of {concept!r}; there are {', '.join(self.concepts)}")
        return self.concepts.index(concept)


def _join(key: tuple[int, ...]) -> str:
    return "-".join(map(str, key))


def _heat(values: Tensor) -> Tensor:
    """A map [frames, height, width] as colours [frames, 3, height, width], stretched to its own range."""
    low, high = values.min(), values.max()
    place = (values - low) / (high - low).clamp_min(1e-12) * (len(_HEAT) - 1)
    lower = place.floor().clamp(0, len(_HEAT) - 2).long()
    ramp = torch.tensor(_HEAT)
    share = (place - lower).unsqueeze(-1)
    return (ramp[lower] * (1 - share) + ramp[lower + 1] * share).permute(0, 3, 1, 2)
