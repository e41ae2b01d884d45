"""Arguments of a forward without memory, for models that take more than latents and a text."""

from collections.abc import Callable
from typing import Any

import torch

from videosieve.layout import Grid

Arguments = dict[str, Any]

_FRAMES_PER_SECOND = 24
"""Of what the models with audio generate."""


def _packed(config: Any, grid: Grid, text: int, batch: int) -> Arguments:
    """LTX-Video."""
    return {
        "hidden_states": torch.empty(batch, grid.tokens, config["in_channels"]),
        "encoder_hidden_states": torch.empty(batch, text, config["caption_channels"]),
        "encoder_attention_mask": torch.ones(batch, text),
        "timestep": torch.empty(batch),
        "num_frames": grid.frames,
        "height": grid.height,
        "width": grid.width,
    }


def _packed_first(config: Any, grid: Grid, text: int, batch: int) -> Arguments:
    """LTX-2: 25 audio latents a second, and as much text for the audio as for the video."""
    audio = round(((grid.frames - 1) * 8 + 1) / _FRAMES_PER_SECOND * 25)
    given = _packed(config, grid, text, batch)
    told = config["use_prompt_embeddings"]  # else the text arrives as wide as the model

    def width(part: str) -> int:
        heads, channels = config[f"{part}num_attention_heads"], config[f"{part}attention_head_dim"]
        return config["caption_channels"] if told else heads * channels

    return given | {
        "encoder_hidden_states": torch.empty(batch, text, width("")),
        "audio_hidden_states": torch.empty(batch, audio, config["audio_in_channels"]),
        "audio_encoder_hidden_states": torch.empty(batch, text, width("audio_")),
        "audio_encoder_attention_mask": torch.ones(batch, text),
        "audio_num_frames": audio,
        "sigma": torch.empty(batch),
    }


def _indexed(config: Any, grid: Grid, text: int, batch: int) -> Arguments:
    """MiniMax-H3 without conditions: 40 audio latents a second of two channels; 17 frames in 5 latents."""
    audio = 2 * round(grid.frames * 17 / 5 / _FRAMES_PER_SECOND * 40)
    places = torch.arange(text + audio + grid.tokens)
    channels = config["in_channels"] * torch.Size(config["patch_size"]).numel()
    return {
        "hidden_states": torch.empty(batch, grid.tokens, channels),
        "audio_hidden_states": torch.empty(batch, audio, config["audio_in_channels"]),
        "encoder_hidden_states": torch.empty(batch, text, config["text_dim"]),
        "timestep": torch.empty(1),
        "timestep_indices": torch.zeros_like(places),
        "token_tags": torch.zeros_like(places),
        "position_ids": torch.empty(len(places), 3),
        "text_indices": places[:text],
        "audio_indices": places[text : text + audio],
        "video_indices": places[text + audio :],
    }


MAKERS: dict[str, Callable[[Any, Grid, int, int], Arguments]] = {
    "packed": _packed,
    "packed_first": _packed_first,
    "indexed": _indexed,
}
"""By kind of sequence: from config, grid of video tokens, text tokens and batch elements."""
