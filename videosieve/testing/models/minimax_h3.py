"""Tiny MiniMax-H3: 3 × 4 × 6 tokens of video at the end of a sequence with text, conditions and audio."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from videosieve.testing.models.forwards import Forward, noise, rows_of, seeded, sequence

_SIZES: dict[str, Any] = {
    "num_attention_heads": 2, "attention_head_dim": 16, "hidden_size": 24, "num_layers": 2, "num_refiner_layers": 1,
    "ffn_dim": 32, "in_channels": 4, "audio_in_channels": 4, "text_dim": 16, "freq_dim": 16,
    "time_embed_hidden_dim": 16, "time_embed_dim": 8, "rope_freq_dim": 2,
}  # fmt: skip
_TEXT = 7
_VIDEO, _WORDS, _AUDIO = 0, 1, 2
_AUGMENTED = 0.3
"""Time below which keyframes are noised; above it they have the video's own time."""

Part = tuple[str, Tensor]
"""What it is ("keyframe", "picture", "speech", "audio" or "video") and the positions [rows, 3] of its rows."""


def keyframe() -> Forward:
    """First frame to video with audio: [7 text | 24 keyframe | 10 audio | 72 video]."""
    return _forward([("keyframe", _cells(1, 7.0)), ("audio", _sound(5, 7.0)), ("video", _cells(3, 7.0))])


def keyframe_without_audio() -> Forward:
    """Nothing but the fall of time is between the keyframe and the video, once their timesteps are equal."""
    return _forward([("keyframe", _cells(1, 7.0)), ("video", _cells(3, 7.0))])


def references() -> Forward:
    """[7 text | 15 picture | 8 speech | 48 clip | 10 audio | 72 video]: the speech stands at time 1 throughout."""
    parts = [
        ("picture", _cells(1, 7.0, 3, 5)), ("speech", _sound(4, 8.0)), ("picture", _cells(2, 12.0)),
        ("audio", _sound(5, 20.0)), ("video", _cells(3, 20.0)),
    ]  # fmt: skip
    return _forward(parts)


def _forward(parts: list[Part]) -> Forward:
    from diffusers import MiniMaxH3Scheduler, MiniMaxH3Transformer3DModel  # diffusers 0.40

    model = seeded(MiniMaxH3Transformer3DModel, **_SIZES)
    names = ["text"] * _TEXT + [name for name, positions in parts for _ in positions]
    sound = torch.tensor([name in ("speech", "audio") for name in names])
    words = torch.tensor([name == "text" for name in names])
    places = torch.arange(len(names))
    before = len(names) - _TEXT - 72
    inputs = {
        "hidden_states": noise(1, int((~sound & ~words).sum()), 16),
        "audio_hidden_states": noise(1, int(sound.sum()), 4),
        "encoder_hidden_states": noise(1, _TEXT, 16),
        "token_tags": torch.where(words, _WORDS, torch.where(sound, _AUDIO, _VIDEO)),
        "position_ids": torch.cat([_line(_TEXT, 0.0), *(positions for _, positions in parts)]),
        "text_indices": places[words],
        "audio_indices": places[sound],
        "video_indices": places[~sound & ~words],
    }

    def at(given: dict[str, Any], time: Tensor) -> dict[str, Any]:
        """Sorted distinct times, as the pipeline makes them: the audio has its own, the conditions stand still."""
        own = float(time)
        times = {
            "keyframe": max(own, _AUGMENTED),
            "picture": max(own, _AUGMENTED),
            "speech": 1.0,
            "audio": own / 2,
        }
        rows = torch.tensor([times.get(name, own) for name in names])
        distinct, indices = torch.unique(rows, sorted=True, return_inverse=True)
        return {**given, "timestep": distinct, "timestep_indices": indices}

    return Forward(
        model,
        at(inputs, torch.tensor(0.4)),
        sequence(text=_TEXT, before=before, video=(3, 4, 6)),
        ("transformer_blocks.0.attn", "transformer_blocks.1.attn"),
        rows_of(3, inputs["hidden_states"].shape[1] - 72),
        at,
        branches={"cond": {}},
        named=False,
        reusable={"mlp": ("transformer_blocks.0.ff", "transformer_blocks.1.ff")},
        scheduler=MiniMaxH3Scheduler,
    )


def _line(tokens: int, first: float) -> Tensor:
    positions = torch.zeros(tokens, 3, dtype=torch.float64)
    positions[:, 0] = first + torch.arange(tokens)
    return positions


def _sound(latents: int, first: float) -> Tensor:
    """Two channels, one after the other, at the two edges of the picture."""
    positions = torch.cat([_line(latents, first)] * 2)
    positions[latents:, 2] = 30
    return positions


def _cells(frames: int, first: float, height: int = 4, width: int = 6) -> Tensor:
    """Frames of tokens whose times are as uneven as the model's: 5/3 of 1, 4, 4, 4, 4, again and again."""
    spans = torch.tensor(
        [5 / 3 * (1 if frame % 5 == 0 else 4) for frame in range(frames)], dtype=torch.float64
    )
    times = first + spans.cumsum(0) - spans
    rows, columns = (torch.linspace(-3, 35, side + 1, dtype=torch.float64)[:-1] for side in (height, width))
    return torch.stack(torch.meshgrid(times, rows, columns, indexing="ij"), dim=-1).flatten(0, 2)


def loop_of(given: Forward, conditions: int, speech: int) -> Callable[[int], Tensor]:
    """The denoising loop of the modular pipeline, text and conditions being there already.

    Args:
        given: The forward whose sequence is generated.
        conditions: Rows of condition video.
        speech: Rows of reference audio.

    Returns:
        A function of the number of sigmas, one more than there are steps; it has the attribute `pipeline`.
    """
    from diffusers import MiniMaxH3Scheduler
    from diffusers.modular_pipelines import SequentialPipelineBlocks
    from diffusers.modular_pipelines.minimax_h3.before_denoise import MiniMaxH3SetTimestepsStep
    from diffusers.modular_pipelines.minimax_h3.denoise import MiniMaxH3DenoiseStep

    steps = {"set_timesteps": MiniMaxH3SetTimestepsStep(), "denoise": MiniMaxH3DenoiseStep()}
    pipe: Any = SequentialPipelineBlocks.from_blocks_dict(steps).init_pipeline()
    pipe.update_components(
        transformer=given.model, scheduler=MiniMaxH3Scheduler(), audio_scheduler=MiniMaxH3Scheduler()
    )
    names = ("token_tags", "position_ids", "video_indices", "audio_indices", "text_indices")
    places = {name: given.inputs[name] for name in names}

    def generate(sigmas: int) -> Tensor:
        latents: Tensor = pipe(
            num_inference_steps=sigmas,
            latents=given.inputs["hidden_states"][0].clone(),
            audio_latents=given.inputs["audio_hidden_states"][0].clone(),
            prompt_embeds=given.inputs["encoder_hidden_states"],
            num_condition_video_rows=conditions,
            num_condition_audio_rows=speech,
            denoiser_input_fields=places,
            output="latents",
            **{name: places[name] for name in ("video_indices", "audio_indices", "text_indices")},
        )
        return latents

    generate.pipeline = pipe  # type: ignore[attr-defined]
    return generate
