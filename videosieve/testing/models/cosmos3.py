"""Tiny Cosmos 3: 3 × 4 × 6 tokens of video behind 7 tokens of text that only its keys have."""

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from videosieve.testing.models.forwards import Forward, noise, seeded, sequence

_SIZES: dict[str, Any] = {
    "head_dim": 16, "hidden_size": 32, "intermediate_size": 32, "latent_channel": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_hidden_layers": 2, "patch_latent_dim": 16, "vocab_size": 50,
    "rope_axes_dim": (4, 2, 2), "dtype": "float32",
}  # fmt: skip
_TEXTS = {"cond": 7, "uncond": 4}


def video() -> Forward:
    """Text to video."""
    return _forward([(3, 8, 12)])


def odd_sides() -> Forward:
    """Latents whose sides the model pads to whole tokens."""
    return _forward([(3, 7, 11)])


def picture_and_sound() -> Forward:
    """A picture of another size before the video, sound behind it."""
    return _forward([(1, 6, 10), (3, 8, 12)], sound=5)


def _forward(items: list[tuple[int, int, int]], sound: int = 0) -> Forward:
    from diffusers import Cosmos3OmniTransformer  # diffusers 0.39

    model = seeded(Cosmos3OmniTransformer, **_SIZES, sound_gen=sound > 0, sound_dim=6 if sound else None)
    shapes = [(frames, -(-rows // 2), -(-columns // 2)) for frames, rows, columns in items]
    sizes = [frames * rows * columns for frames, rows, columns in shapes]
    main = len(items) - 1
    given = {
        "vision_tokens": [noise(1, 4, *item) for item in items],
        "vision_token_shapes": shapes,
        "vision_noisy_frame_indexes": [
            torch.arange(frames if item == main else 0) for item, (frames, *_) in enumerate(items)
        ],
        "sound_tokens": [noise(6, sound)] if sound else None,
        "sound_token_shapes": [(sound, 1, 1)] if sound else None,
        "sound_timesteps": torch.full((sound,), 500.0) if sound else None,
        "sound_noisy_frame_indexes": [torch.arange(sound)] if sound else None,
    }
    branches = {name: _texts(text, sizes, sound) for name, text in _TEXTS.items()}

    def at(inputs: dict[str, Any], time: Tensor) -> dict[str, Any]:
        return {**inputs, "vision_timesteps": time.repeat(sizes[main])}

    def latents(inputs: dict[str, Any]) -> Tensor:
        return inputs["vision_tokens"][main].flatten(3)

    return Forward(
        model,
        at({**given, **branches["cond"]}, torch.tensor(500.0)),
        sequence(text=_TEXTS["cond"], before=sum(sizes[:main]), video=shapes[main], after=sound),
        ("layers.0.self_attn", "layers.1.self_attn"),
        latents,
        at,
        branches=branches,
        reusable={"mlp": tuple(f"layers.{n}.{part}" for n in range(2) for part in ("mlp", "mlp_moe_gen"))},
    )


def _texts(text: int, sizes: list[int], sound: int) -> dict[str, Any]:
    """What a branch has of its own: its text, and with it every place in the sequence."""
    vision = sum(sizes)
    places = torch.arange(text, text + vision)
    sounds = torch.arange(text + vision, text + vision + sound)
    return {
        "input_ids": torch.arange(text),
        "text_indexes": torch.arange(text),
        "und_len": text,
        "sequence_length": text + vision + sound,
        "position_ids": torch.arange(text + vision + sound)[None].expand(3, -1),
        "vision_sequence_indexes": places,
        "vision_mse_loss_indexes": places[vision - sizes[-1] :],
        "sound_sequence_indexes": sounds if sound else None,
        "sound_mse_loss_indexes": sounds if sound else None,
    }


def tiny_cosmos3() -> Any:
    """The pipeline with tiny parts; call it with `**cosmos3_call()`."""
    from diffusers import AutoencoderKLWan, Cosmos3OmniPipeline, UniPCMultistepScheduler

    words = ["<unk>", "<|im_end|>", "<|vision_start|>", "a", "cat", "runs"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    cls: Any = Cosmos3OmniPipeline
    pipe = cls(
        video().model,
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            unk_token="<unk>",
            eos_token="<|im_end|>",
            chat_template="{% for one in messages %}{{ one['content'] }}{% endfor %}",
        ),
        seeded(
            AutoencoderKLWan, base_dim=3, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
            temperal_downsample=[False, True, True], latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ),
        UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        enable_safety_checker=False,
        default_use_system_prompt=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def cosmos3_call(seed: int = 0) -> dict[str, Any]:
    """Arguments for a quick call of `tiny_cosmos3()`: 72 video tokens, 5 of text with guidance and 4 without."""
    return {
        "prompt": "a cat runs", "negative_prompt": "a cat", "height": 64, "width": 96, "num_frames": 9,
        "num_inference_steps": 3, "generator": torch.Generator().manual_seed(seed), "output_type": "latent",
        "add_resolution_template": False, "add_duration_template": False,
    }  # fmt: skip
