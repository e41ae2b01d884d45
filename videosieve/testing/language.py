"""Tiny language and vision-language models of transformers with random weights, made without any download."""

from typing import Any

import torch
from torch import Tensor

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 200,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
IMAGE, VIDEO, START, END = 190, 191, 192, 193

_VISION = {
    "Qwen2VL": {"embed_dim": 32, "hidden_size": 64},
    "Qwen2_5_VL": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 64,
        "window_size": 16,
        "fullatt_block_indexes": [1],
    },
    "Qwen3VL": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    },
}


def tiny_language_model(family: str = "Llama", **sizes: Any) -> Any:
    """A causal language model.

    Args:
        family: As in transformers' class names: "Llama", "Qwen2", "Mistral", …
        **sizes: Fields of its config in place of ours.

    Returns:
        `<family>ForCausalLM` in eval mode, the same weights every time.
    """
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES | sizes)
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


def tiny_vision_model(family: str) -> Any:
    """A vision-language model: "Qwen2VL", "Qwen2_5_VL" or "Qwen3VL", in eval mode, the same weights every time."""
    import transformers

    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    text = SIZES | {"rope_parameters": rope} | ({"head_dim": 16} if family == "Qwen3VL" else {})
    vision = {"depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2}
    tokens = {"image_token_id": IMAGE, "video_token_id": VIDEO}
    tokens |= {"vision_start_token_id": START, "vision_end_token_id": END}
    config = getattr(transformers, f"{family}Config")(
        text_config=text, vision_config=vision | _VISION[family], **tokens
    )
    return getattr(transformers, f"{family}ForConditionalGeneration")(config).eval()


def video_prompt(family: str, frames: int = 3, rows: int = 8, columns: int = 12) -> dict[str, Tensor]:
    """A prompt with a video for `tiny_vision_model`.

    Args:
        family: As there.
        frames: Pairs of frames.
        rows: Patches from top to bottom, even.
        columns: Patches from left to right, even.

    Returns:
        What `generate` takes.
    """
    generator = torch.Generator().manual_seed(1)
    places = rows * columns // 4
    if family == "Qwen3VL":  # every frame of its own, a timestamp before it
        video = torch.cat([torch.tensor([5, 6, START, *[VIDEO] * places, END]) for _ in range(frames)])
    else:
        video = torch.tensor([START, *[VIDEO] * (frames * places), END])
    before, after = (torch.randint(3, 180, (count,), generator=generator) for count in (10, 6))
    tokens = torch.cat([before, video, after])[None]
    return {
        "input_ids": tokens,
        "pixel_values_videos": torch.randn(frames * rows * columns, 3 * 2 * 4 * 4, generator=generator),
        "video_grid_thw": torch.tensor([[frames, rows, columns]]),
        "attention_mask": torch.ones_like(tokens),
        "mm_token_type_ids": torch.where(tokens == VIDEO, 2, 0),
    }


def prompt_tokens(batch: int, tokens: int) -> Tensor:
    """Random token ids [batch, tokens] without special ones, the same every time."""
    return torch.randint(3, 180, (batch, tokens), generator=torch.Generator().manual_seed(2))


def tiny_tokenizer(words: int = 170) -> Any:
    """A tokenizer of the words w0, w1, … for the models here; everything else is one unknown token."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "[UNK]": 3} | {f"w{i}": i + 4 for i in range(words)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="[UNK]"
    )
