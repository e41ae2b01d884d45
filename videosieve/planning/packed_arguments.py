"""Arguments of a forward without memory, for models that take more than latents and a text."""

from collections.abc import Callable
from typing import Any

import torch

from videosieve.layout import Grid

Arguments = dict[str, Any]
Latents = tuple[int, int, int]

FRAMES_PER_SECOND = 24
"""Of what the models with audio generate."""


def _packed(config: Any, latents: Latents, grid: Grid, text: int, batch: int) -> Arguments:
    """LTX-Video."""
    del latents
    return {
        "hidden_states": torch.empty(batch, grid.tokens, config["in_channels"]),
        "encoder_hidden_states": torch.empty(batch, text, config["caption_channels"]),
        "encoder_attention_mask": torch.ones(batch, text),
        "timestep": torch.empty(batch),
        "num_frames": grid.frames,
        "height": grid.height,
        "width": grid.width,
    }


def _packed_first(config: Any, latents: Latents, grid: Grid, text: int, batch: int) -> Arguments:
    """LTX-2: 25 audio latents a second, and as much text for the audio as for the video."""
    audio = round(((grid.frames - 1) * 8 + 1) / FRAMES_PER_SECOND * 25)
    given = _packed(config, latents, grid, text, batch)
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


def _indexed(config: Any, latents: Latents, grid: Grid, text: int, batch: int) -> Arguments:
    """MiniMax-H3 without conditions: 40 audio latents a second of two channels; 17 n + 5 frames in 5 n + 2 latents."""
    del latents
    audio = 2 * round(((grid.frames - 2) / 5 * 17 + 5) / FRAMES_PER_SECOND * 40)
    places = torch.arange(text + audio + grid.tokens, device="cpu")
    cells = torch.cartesian_prod(
        *(torch.arange(side, device="cpu") for side in (grid.frames, grid.height, grid.width))
    )
    channels = config["in_channels"] * torch.Size(config["patch_size"]).numel()
    return {
        "hidden_states": torch.empty(batch, grid.tokens, channels),
        "audio_hidden_states": torch.empty(batch, audio, config["audio_in_channels"]),
        "encoder_hidden_states": torch.empty(batch, text, config["text_dim"]),
        "timestep": torch.empty(1, device="cpu"),
        "timestep_indices": torch.zeros_like(places),
        "token_tags": torch.zeros_like(places),
        "position_ids": torch.cat([torch.zeros(text + audio, 3, device="cpu"), cells.float()]),
        "text_indices": places[:text],
        "audio_indices": places[text : text + audio],
        "video_indices": places[text + audio :],
    }


def _text_keys(config: Any, latents: Latents, grid: Grid, text: int, batch: int) -> Arguments:
    """Cosmos 3, one video without sound: nothing has a batch axis, and sides are padded to whole tokens."""
    del grid, batch
    frames, rows, columns = latents
    side = config["latent_patch_size"]
    shape = (frames, -(-rows // side), -(-columns // side))
    places = torch.arange(text, text + torch.Size(shape).numel(), device="cpu")
    return {
        "vision_tokens": [torch.empty(1, config["latent_channel"], *latents)],
        "vision_token_shapes": [shape],
        "vision_noisy_frame_indexes": [torch.arange(frames)],
        "vision_timesteps": torch.empty(len(places)),
        "vision_sequence_indexes": places,
        "vision_mse_loss_indexes": places,
        "input_ids": torch.zeros(text, dtype=torch.long),
        "text_indexes": torch.arange(text),
        "und_len": text,
        "sequence_length": text + len(places),
        "position_ids": torch.arange(text + len(places))[None].expand(3, -1),
    }


MAKERS: dict[str, Callable[[Any, Latents, Grid, int, int], Arguments]] = {
    "packed": _packed,
    "packed_first": _packed_first,
    "indexed": _indexed,
    "text_keys": _text_keys,
}
"""By kind of sequence: from config, latent frames, rows and columns, video tokens, text tokens and batch elements."""
