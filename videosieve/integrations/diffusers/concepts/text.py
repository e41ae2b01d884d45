"""Concept words through a pipeline's own text encoder: each concept is a prompt of its own, in the model's template."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from videosieve.concepts.method import Pool
from videosieve.errors import IntegrationError, PromptError

_CAUSAL = ("Llama", "Llava")  # text encoders whose last token has read the others


@dataclass(frozen=True, slots=True)
class ConceptText:
    """Encoded concepts.

    Attributes:
        embeds: Token embeddings, one row a concept [concepts, tokens, channels].
        mask: 1 for real tokens, template included; 0 for padding [concepts, tokens].
        weights: How a concept's own tokens make its vector; rows sum to 1 [concepts, tokens].
    """

    embeds: Tensor
    mask: Tensor
    weights: Tensor

    def pool(self, tokens: Tensor) -> Tensor:
        """One vector a concept: [concepts, tokens, channels] → [1, concepts, channels]."""
        return torch.einsum("rs,rsd->rd", self.weights.to(tokens), tokens).unsqueeze(0)


@torch.no_grad()
def encode_concepts(
    pipe: Any, concepts: tuple[str, ...], pool: Pool, arguments: Mapping[str, Any]
) -> ConceptText:
    """Encode concepts as the pipeline encodes prompts.

    Args:
        pipe: A diffusers video pipeline.
        concepts: Words or phrases.
        pool: See `SaliencyMethod`.
        arguments: Of the pipeline's call; its template and text length are honoured.

    Returns:
        The encoded concepts, on the device and in the dtype of the text encoder.

    Raises:
        IntegrationError: The pipeline has no text encoder, or it also wants an image.
        PromptError: The model refuses a word, or a concept does not fit into its text.
    """
    for part in ("tokenizer", "text_encoder", "encode_prompt"):
        if getattr(pipe, part, None) is None:
            raise IntegrationError(
                f"saliency needs a pipeline with a tokenizer and a text encoder; {type(pipe).__name__} has no {part}"
            )
    known = inspect.signature(pipe.encode_prompt).parameters
    if "image" in known:
        raise IntegrationError(
            f"{type(pipe).__name__} encodes text together with an image, so a concept alone has no embedding; "
            f"use its text-to-video pipeline"
        )
    options: dict[str, Any] = {
        key: arguments[key]
        for key in ("prompt_template", "max_sequence_length")
        if key in known and arguments.get(key) is not None
    }
    if "do_classifier_free_guidance" in known:
        options["do_classifier_free_guidance"] = False
    encoded = pipe.encode_prompt(prompt=list(concepts), **options)
    template = options.get("prompt_template") or getattr(known.get("prompt_template"), "default", None) or {}
    words = _find_words(pipe.tokenizer, concepts, template, encoded[0].shape[1])
    mask = encoded[2] if len(encoded) > 2 else torch.ones_like(words)
    return ConceptText(encoded[0], mask, _weigh(words, _resolve(pool, pipe)).to(encoded[0].device))


def _find_words(
    tokenizer: Any, concepts: tuple[str, ...], template: Mapping[str, Any], length: int
) -> Tensor:
    """Which of `length` token embeddings are a concept's own words: bool [concepts, length]."""
    frame, crop = template.get("template", "{}"), template.get("crop_start", 0)
    if crop is None or "{}" not in frame:
        raise IntegrationError(
            f"a prompt_template for saliency needs '{{}}' in its text and a crop_start, got {dict(template)}"
        )
    start = frame.index("{}")
    words = torch.zeros(len(concepts), length, dtype=torch.bool)
    for row, concept in enumerate(concepts):
        tokens = tokenizer(frame.replace("{}", concept), return_offsets_mapping=True, truncation=False)
        spans = tokens["offset_mapping"]
        own = [i for i, (a, b) in enumerate(spans) if a < b and a < start + len(concept) and b > start]
        places = [place - crop for place in own]
        if not places or not 0 <= places[0] <= places[-1] < length:
            raise PromptError(
                f"the concept {concept!r} must fit into the model's text of {length} tokens; shorten it, or raise "
                f"max_sequence_length"
            )
        words[row, places] = True
    return words


def _resolve(pool: Pool, pipe: Any) -> Pool:
    if pool != "auto":
        return pool
    return "last" if type(pipe.text_encoder).__name__.startswith(_CAUSAL) else "mean"


def _weigh(words: Tensor, pool: Pool) -> Tensor:
    order = words.cumsum(1) * words  # 1, 2, … at a concept's own tokens
    picked = {"mean": words, "first": order == 1, "last": order == order.amax(1, keepdim=True)}[pool]
    return picked / picked.sum(1, keepdim=True)
