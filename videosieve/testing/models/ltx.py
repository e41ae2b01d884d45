"""Tiny LTX-Video and LTX-2: 3 × 4 × 6 tokens of video, in every form that their pipelines call them in."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import LTXVideoTransformer3DModel
from torch import Tensor

from videosieve.layout import VideoLayout
from videosieve.testing.models.forwards import Forward, noise, rows_of, seeded, sequence

_SIZES: dict[str, Any] = {
    "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2,
    "cross_attention_dim": 32, "caption_channels": 16,
}  # fmt: skip
_AUDIO: dict[str, Any] = {
    "audio_in_channels": 4, "audio_out_channels": 4, "audio_num_attention_heads": 2, "audio_attention_head_dim": 8,
    "audio_cross_attention_dim": 16,
}  # fmt: skip
_NEWER: dict[str, Any] = {
    "rope_type": "split",
    "perturbed_attn": True,
    "gated_attn": True,
    "audio_gated_attn": True,
}
_GRID = (3, 4, 6)
_NUMBERS = {"num_frames": 3, "height": 4, "width": 6}
_ATTENTIONS = ("transformer_blocks.0.attn1", "transformer_blocks.1.attn1")
_REUSABLE = {
    "mlp": ("transformer_blocks.0.ff", "transformer_blocks.1.ff"),
    "cross": ("transformer_blocks.0.attn2", "transformer_blocks.1.attn2"),
}


def ltx() -> Forward:
    """Text to video: the three numbers, guidance in one batch."""
    return _ltx({"hidden_states": _twice(noise(1, 72, 4)), **_NUMBERS}, sequence(video=_GRID), rows_of(3))


def ltx_condition() -> Forward:
    """LTXConditionPipeline: no numbers; two conditions of a frame each before the video; a timestep per token."""
    coordinates = torch.cat([_mesh(times) for times in ([9.0], [17.0], [0.0, 1.0, 9.0])], dim=2)
    inputs = {"hidden_states": _twice(noise(1, 120, 4)), "video_coords": coordinates.expand(2, -1, -1)}
    forward = _ltx(inputs, sequence(before=48, video=_GRID), rows_of(3, 48))
    quiet = torch.zeros(2, 120)
    quiet[:, 48:] = 1
    forward.at = lambda given, time: {**given, "timestep": time * quiet.to(time.dtype)}
    forward.inputs = forward.at(forward.inputs, torch.tensor(500.0))
    return forward


def ltx_window() -> Forward:
    """LTXI2VLongMultiPromptPipeline: numbers that are not true; frames of the window before stand behind the video."""
    coordinates = torch.cat([_mesh(times) for times in ([0.0, 1.0, 9.0], [0.0], [-8.0])], dim=2)
    inputs = {
        "hidden_states": _twice(noise(1, 120, 4)), "video_coords": coordinates.expand(2, -1, -1),
        "num_frames": 1, "height": 1, "width": 1,
    }  # fmt: skip
    return _ltx(inputs, sequence(video=_GRID, after=48), rows_of(3, 0, 72))


def ltx2(**config: Any) -> Forward:
    """LTX-2.0 text to video with audio, guidance in one batch."""
    return _ltx2({}, sequence(video=_GRID), config)


def ltx2_newer() -> Forward:
    """The form of 2.3 and 2.5: gates on the heads, and attention that guidance may perturb."""
    return ltx2(**_NEWER)


def ltx2_keyframes() -> Forward:
    """A keyframe behind the video and a timestep per token, as the condition pipeline and IC-LoRA have them."""
    forward = _ltx2({}, sequence(video=_GRID, after=24), {})
    rope = forward.model.rope
    parts = [rope.prepare_video_coords(2, frames, 4, 6, torch.device("cpu")) for frames in (3, 1)]
    forward.inputs |= {"hidden_states": _twice(noise(1, 96, 4)), "video_coords": torch.cat(parts, dim=2)}
    forward.at = lambda given, time: {
        **given, "timestep": time.expand(2, 96), "audio_timestep": time.expand(2), "sigma": time.expand(2)
    }  # fmt: skip
    forward.inputs = forward.at(forward.inputs, torch.tensor(500.0))
    return forward


def _ltx(inputs: dict[str, Any], layout: VideoLayout, latents: Callable[..., Tensor]) -> Forward:
    model = seeded(LTXVideoTransformer3DModel, **_SIZES)
    text = {"encoder_hidden_states": noise(2, 7, 16), "encoder_attention_mask": torch.ones(2, 7)}
    given = _at({**text, **inputs}, torch.tensor(500.0))
    return Forward(model, given, layout, _ATTENTIONS, latents, _at, reusable=_REUSABLE)


def _ltx2(inputs: dict[str, Any], layout: VideoLayout, config: dict[str, Any]) -> Forward:
    from diffusers import LTX2VideoTransformer3DModel  # diffusers 0.37

    model = seeded(LTX2VideoTransformer3DModel, **_SIZES, **_AUDIO, rope_double_precision=False, **config)
    given = {
        "hidden_states": _twice(noise(1, 72, 4)), "audio_hidden_states": _twice(noise(1, 11, 4)),
        "encoder_hidden_states": noise(2, 7, 16), "audio_encoder_hidden_states": noise(2, 7, 16),
        "encoder_attention_mask": torch.ones(2, 7), "audio_encoder_attention_mask": torch.ones(2, 7),
        "audio_num_frames": 11, **_NUMBERS, **inputs,
    }  # fmt: skip
    given = _at(given, torch.tensor(500.0))
    return Forward(model, given, layout, _ATTENTIONS, rows_of(3, 0, 72), _at, reusable=_REUSABLE)


def _at(inputs: dict[str, Any], time: Tensor) -> dict[str, Any]:
    return {**inputs, "timestep": time.expand(2)}


def _twice(latents: Tensor) -> Tensor:
    """As guidance hands them over: both halves of the batch are the same latents."""
    return latents.repeat(2, 1, 1)


def _mesh(times: list[float]) -> Tensor:
    """Coordinates [1, 3, tokens] of frames at these times, in pixels."""
    axes = torch.meshgrid(torch.tensor(times), 32.0 * torch.arange(4), 32.0 * torch.arange(6), indexing="ij")
    return torch.stack([axis.flatten() for axis in axes])[None]
