"""A pipeline's place around a tiny transformer: what saliency asks of one beside a call, without a denoising loop."""

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from videosieve.testing.pipelines import tokenizer


class _Encoder:
    """Stands where the text encoder is asked for its name."""


class StandIn:
    """A transformer with a tokenizer and embeddings that are drawn by token: a word is the same in every prompt.

    Attributes:
        components: The transformer, as a pipeline names it.
        scheduler: With two timesteps, one of them of the tiny forward.

    Args:
        transformer: The transformer.
        arguments: Of a forward of it.
        mask: Which output of `encode_prompt` is the mask; None for none.
        length: Tokens of an encoded prompt.
    """

    def __init__(
        self, transformer: Any, arguments: dict[str, Any], mask: int | None = None, length: int = 6
    ) -> None:
        self.transformer, self.tokenizer, self.text_encoder = transformer, tokenizer(), _Encoder()
        self.components = {"transformer": transformer}
        self.scheduler = FlowMatchEulerDiscreteScheduler()
        self.scheduler.set_timesteps(2)
        text = arguments.get("encoder_hidden_states", torch.zeros(1, 1, 8))
        self._text: Tensor = text[0] if isinstance(text, tuple) else text
        self._mask, self._length = mask, length

    def __call__(self) -> None:
        """A pipeline is called; here nothing runs but the transformer."""

    def vector(self, token: int) -> Tensor:
        """The embedding of one token [channels]."""
        generator = torch.Generator().manual_seed(token)
        return torch.randn(self._text.shape[-1], generator=generator).to(self._text)

    def encode_prompt(self, prompt: list[str]) -> tuple[Any, ...]:
        """Embeddings [prompts, tokens, channels], and a mask where the family has one."""
        encoded = self.tokenizer(prompt, padding="max_length", max_length=self._length, return_tensors="pt")
        embeds = torch.stack(
            [torch.stack([self.vector(int(one)) for one in row]) for row in encoded["input_ids"]]
        )
        outputs: list[Any] = [embeds, None, None, None]
        if self._mask is not None:
            outputs[self._mask] = encoded["attention_mask"]
        return tuple(outputs)
