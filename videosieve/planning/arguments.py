"""Empty tensors for one forward of a transformer, by the names that diffusers gives its arguments."""

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.models import ModelRow
from videosieve.layout import Grid
from videosieve.planning.packed_arguments import FRAMES_PER_SECOND, MAKERS
from videosieve.planning.text_arguments import first_of, text_arguments

CHANNELS = ("in_channels", "in_visual_dim")
HISTORY = {
    "latents_history_4x": 16,
    "latents_history_2x": 2,
    "latents_clean": 2,
    "latents_history_long": 16,
    "latents_history_mid": 2,
    "latents_history_short": 2,
}
"""Latent frames of history, as the pipelines of Framepack and Helios keep them."""


def empty_arguments(
    row: ModelRow, transformer: Any, latents: tuple[int, int, int], text: int, batch: int
) -> dict[str, Any]:
    """What the forward needs, on the default device; what it or its layout reads (masks, indices) on the CPU.

    Args:
        row: What is known about the transformer's class.
        transformer: The transformer.
        latents: Latent frames, rows and columns; frames are padded as the pipelines pad them.
        text: Text tokens, of the prompt's first text where there are several.
        batch: Batch elements.

    Returns:
        Those of the arguments known here that the forward has.
    """
    config: Any = transformer.config
    if row.sequence in MAKERS:
        return MAKERS[str(row.sequence)](config, latents, grid_of(row, config, latents), text, batch)
    frames, rows, columns = latents
    frames += -frames % row.patch_sides(config)[0]  # CogVideoX 1.5's pipeline pads so
    channels = first_of(config, CHANNELS)
    if row.axes == "BTHWC" and config.get("visual_cond"):
        channels = 2 * channels + 1  # Kandinsky joins condition and its mask as channels
    sides = {"B": batch, "C": channels, "T": frames, "H": rows, "W": columns}
    hidden = torch.empty([sides[axis] for axis in row.axes])
    accepted = inspect.signature(type(transformer).forward).parameters
    known: dict[str, Any] = {"hidden_states": hidden, "timestep": torch.empty(batch)}
    known |= text_arguments(config, text, batch)
    known |= _positions(config, row.grid(tuple(hidden.shape), config))
    known |= _conditions(config, frames, (rows, columns), batch)
    known |= _history(row, sides, accepted)
    if "r_timestep" in accepted:  # AnyFlow: where a step begins and where it ends, for every frame
        known |= {name: torch.empty(batch, frames) for name in ("timestep", "r_timestep")}
    return {key: value for key, value in known.items() if key in accepted}


def grid_of(row: ModelRow, config: Any, latents: tuple[int, int, int]) -> Grid:
    """Video tokens of latents; frames are rounded up as the model or its pipeline pads them."""
    frames, height, width = row.patch_sides(config)
    return Grid(-(-latents[0] // frames), latents[1] // height, latents[2] // width)


def _positions(config: Mapping[str, Any], grid: Grid) -> dict[str, Any]:
    """Rotary positions, where the pipeline computes them and hands them over."""
    if config.get("use_rotary_positional_embeddings"):
        table = torch.empty(grid.tokens, config["attention_head_dim"])
        return {"image_rotary_emb": (table, table)}
    if config.get("interpolation_scale_t") is not None:  # Allegro scales positions before it turns by them
        return {"image_rotary_emb": _angles_and_places(config, grid)}
    return {"visual_rope_pos": [torch.arange(side) for side in (grid.frames, grid.height, grid.width)]}


def _angles_and_places(
    config: Mapping[str, Any], grid: Grid
) -> tuple[list[tuple[Tensor, Tensor]], tuple[Tensor, ...]]:
    """Angles of every axis, and the place of every token on it."""
    axes = [torch.arange(side) for side in (grid.frames, grid.height, grid.width)]
    places = tuple(axis.reshape(1, -1) for axis in torch.meshgrid(*axes, indexing="ij"))
    sizes = (max(grid.frames, grid.height, grid.width) + 1, config["attention_head_dim"] // 3)
    angles = [(torch.empty(sizes), torch.empty(sizes)) for _ in axes]
    return angles, places


def _conditions(config: Mapping[str, Any], frames: int, sides: tuple[int, int], batch: int) -> dict[str, Any]:
    """Guidance, control, pose, face and sound, as far as the config speaks of them."""
    known: dict[str, Any] = {}
    if config.get("guidance_embeds"):
        known["guidance"] = torch.empty(batch)
    if config.get("vace_in_channels"):
        known["control_hidden_states"] = torch.empty(batch, config["vace_in_channels"], frames, *sides)
    if config.get(
        "motion_encoder_size"
    ):  # Wan Animate: the first latent frame is the reference, which has no pose
        face = config["motion_encoder_size"]
        known["pose_hidden_states"] = torch.empty(batch, config["latent_channels"], frames - 1, *sides)
        known["face_pixel_values"] = torch.empty(batch, 3, 4 * (frames - 2) + 1, face, face)
    if config.get("in_audio_dim"):  # Kandinsky 6: 44,100 samples a second, 1024 of them in a latent
        seconds = (4 * (frames - 1) + 1) / FRAMES_PER_SECOND
        known["audio_hidden_states"] = torch.empty(
            batch, math.ceil(seconds * 44_100 / 1024), config["in_audio_dim"]
        )
    return known


def _history(row: ModelRow, sides: Mapping[str, int], accepted: Mapping[str, Any]) -> dict[str, Any]:
    """Latents of frames that are there already, and where in time they and the new ones stand."""
    lengths = {
        part.argument: (part.needs, HISTORY[part.argument]) for part in row.before if part.argument in HISTORY
    }
    if not lengths:
        return {}
    known: dict[str, Any] = {
        name: torch.empty(sides["B"], sides["C"], frames, sides["H"], sides["W"])
        for name, (_, frames) in lengths.items()
    }
    places = {needs: torch.arange(frames) for needs, frames in lengths.values()}
    places |= {name: torch.arange(sides["T"]) for name in ("indices_latents", "indices_hidden_states")}
    per_item = "indices_hidden_states" in accepted  # Helios; Framepack has one list of places for all items
    return known | {
        name: value.expand(sides["B"], -1) if per_item else value for name, value in places.items()
    }
