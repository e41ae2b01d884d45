"""Empty tensors for one forward of a transformer, by the names that diffusers gives its arguments."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.models import ModelRow
from videosieve.layout import Grid
from videosieve.planning.packed_arguments import MAKERS

TEXT_WIDTHS = ("text_embed_dim", "text_dim", "in_text_dim", "caption_channels")
CHANNELS = ("in_channels", "in_visual_dim")


def empty_arguments(
    row: ModelRow, transformer: Any, latents: tuple[int, int, int], text: int, batch: int
) -> dict[str, Any]:
    """What the forward needs, on the default device.

    Args:
        row: What is known about the transformer's class.
        transformer: The transformer.
        latents: Latent frames, rows and columns; frames are padded as the pipelines pad them.
        text: Text tokens.
        batch: Batch elements.

    Returns:
        Those of the arguments known here that the forward has.
    """
    config: Any = transformer.config
    if row.sequence in MAKERS:
        return MAKERS[str(row.sequence)](config, grid_of(row, config, latents), text, batch)
    frames, rows, columns = latents
    frames += -frames % row.patch_sides(config)[0]  # CogVideoX 1.5's pipeline pads so
    channels = _first(config, CHANNELS)
    if row.axes == "BTHWC" and config.get("visual_cond"):
        channels = 2 * channels + 1  # Kandinsky joins condition and its mask as channels
    sides = {"B": batch, "C": channels, "T": frames, "H": rows, "W": columns}
    hidden = torch.empty([sides[axis] for axis in row.axes])
    grid = row.grid(tuple(hidden.shape), config)
    known: dict[str, Any] = {
        "hidden_states": hidden,
        "timestep": torch.empty(batch),
        "encoder_hidden_states": torch.empty(batch, text, _first(config, TEXT_WIDTHS)),
        "encoder_attention_mask": torch.ones(batch, text),
        "pooled_projections": torch.empty(batch, _first(config, ("pooled_projection_dim", "in_text_dim2"))),
        "text_rope_pos": torch.arange(text),
        "visual_rope_pos": [torch.arange(side) for side in (grid.frames, grid.height, grid.width)],
    }
    if config.get("vace_in_channels"):
        known["control_hidden_states"] = torch.empty(batch, config["vace_in_channels"], frames, rows, columns)
    if config.get("guidance_embeds"):
        known["guidance"] = torch.empty(batch)
    known |= _positions(config, grid)
    accepted = inspect.signature(type(transformer).forward).parameters
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
    return {}


def _angles_and_places(
    config: Mapping[str, Any], grid: Grid
) -> tuple[list[tuple[Tensor, Tensor]], tuple[Tensor, ...]]:
    """Angles of every axis, and the place of every token on it."""
    axes = [torch.arange(side) for side in (grid.frames, grid.height, grid.width)]
    places = tuple(axis.reshape(1, -1) for axis in torch.meshgrid(*axes, indexing="ij"))
    sizes = (max(grid.frames, grid.height, grid.width) + 1, config["attention_head_dim"] // 3)
    angles = [(torch.empty(sizes), torch.empty(sizes)) for _ in axes]
    return angles, places


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return int(next((value for name in names if (value := config.get(name))), 0))
