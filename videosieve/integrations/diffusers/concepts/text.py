"""Concept words through a pipeline's own text encoder: each concept is a prompt of its own, in the model's template."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from videosieve.concepts.method import Pool
from videosieve.errors import IntegrationError, PromptError
from videosieve.integrations.diffusers.concepts.text_sources import PLAIN, SOURCES, Frame
from videosieve.integrations.diffusers.targets import describe

_CAUSAL = ("Llama", "Llava", "Qwen", "Mistral", "Gemma")  # text encoders whose last token has read the others


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
        pipe: A diffusers pipeline of videos or images.
        concepts: Words or phrases.
        pool: See `SaliencyMethod`.
        arguments: Of the pipeline's call; its template and text length are honoured.

    Returns:
        The encoded concepts, on the device and in the dtype of the text encoder.

    Raises:
        IntegrationError: The pipeline has no text encoder, or it also wants an image.
        PromptError: The model refuses a word, a concept has no token of its own, two have the same tokens, or one
            does not fit into the model's text.
    """
    source = SOURCES.get(describe(pipe, images=True)[0].row.name, PLAIN)
    tokenizer = source.tokenizer(pipe)
    for part in ("text_encoder", "encode_prompt"):
        if getattr(pipe, part, None) is None:
            raise IntegrationError(
                f"saliency needs a pipeline with a tokenizer and a text encoder; {type(pipe).__name__} has no {part}"
            )
    known = inspect.signature(pipe.encode_prompt).parameters
    if "image" in known:
        raise IntegrationError(
            f"{type(pipe).__name__} encodes text together with an image, so a concept alone has no embedding; use its "
            f"pipeline that generates from text alone"
        )
    frame = source.frame(pipe, arguments)
    options = _options(known, arguments, len(concepts))
    embeds, mask = source.embeddings(pipe, pipe.encode_prompt(prompt=list(concepts), **options))
    places = [_find_words(tokenizer, concept, frame) for concept in concepts]
    _require_different(concepts, places)
    left = source.padded(pipe) and getattr(tokenizer, "padding_side", "right") == "left"
    shifts = [
        embeds.shape[1] - found.length if left else source.skipped(pipe) - frame.crop for found in places
    ]
    words = _mark(places, shifts, embeds.shape[1], concepts)
    if mask is None:
        mask = _mark([found.whole(frame.crop) for found in places], shifts, embeds.shape[1]).long()
    return ConceptText(embeds, mask.to(embeds.device), _weigh(words, _resolve(pool, pipe)).to(embeds.device))


def _options(known: Mapping[str, Any], arguments: Mapping[str, Any], count: int) -> dict[str, Any]:
    """What `encode_prompt` is given beside the prompt."""
    options: dict[str, Any] = {
        key: arguments[key]
        for key in ("prompt_template", "max_sequence_length", "text_encoder_out_layers")
        if key in known and arguments.get(key) is not None
    }
    if "do_classifier_free_guidance" in known:
        options["do_classifier_free_guidance"] = False
    if "batch_size" in known:
        options["batch_size"] = count
    needed = [name for name, one in known.items() if one.default is one.empty and name != "prompt"]
    return options | dict.fromkeys(needed)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a concept's own tokens stand in its text.

    Attributes:
        own: Their indices.
        ids: What they are.
        length: Tokens of the whole text.
    """

    own: tuple[int, ...]
    ids: tuple[int, ...]
    length: int

    def whole(self, crop: int) -> "_Places":
        """The whole text in the place of the words, but for what is cut off."""
        return replace(self, own=tuple(range(crop, self.length)))


def _find_words(tokenizer: Any, concept: str, frame: Frame) -> _Places:
    start = frame.text.index("{}")
    text = frame.text.replace("{}", concept)
    tokens = tokenizer(text, return_offsets_mapping=True, truncation=False, add_special_tokens=frame.special)
    spans, ids = tokens["offset_mapping"], tokens["input_ids"]
    own = tuple(i for i, (a, b) in enumerate(spans) if a < b and a < start + len(concept) and b > start)
    names = tuple(ids[i] for i in own)
    unknown = tokenizer.unk_token_id
    if not own or (unknown is not None and set(names) == {unknown}):
        raise PromptError(
            f"the concept {concept!r} has no token in the model's vocabulary; use other words for it"
        )
    return _Places(own, names, len(ids))


def _require_different(concepts: tuple[str, ...], places: list[_Places]) -> None:
    seen: dict[tuple[int, ...], str] = {}
    for concept, found in zip(concepts, places, strict=True):
        if found.ids in seen:
            raise PromptError(
                f"the concepts {seen[found.ids]!r} and {concept!r} are the same tokens to this model, so neither can "
                f"beat the other; leave one out"
            )
        seen[found.ids] = concept


def _mark(places: list[_Places], shifts: list[int], length: int, concepts: tuple[str, ...] = ()) -> Tensor:
    """Which of `length` token embeddings are a concept's own: bool [concepts, length]; checked where they are named."""
    marks = torch.zeros(len(places), length, dtype=torch.bool)
    for row, (found, shift) in enumerate(zip(places, shifts, strict=True)):
        own = [place + shift for place in found.own]
        if concepts and not 0 <= own[0] <= own[-1] < length:
            raise PromptError(
                f"the concept {concepts[row]!r} must fit into the model's text of {length} tokens; shorten it, or "
                f"raise max_sequence_length"
            )
        marks[row, [place for place in own if 0 <= place < length]] = True
    return marks


def _resolve(pool: Pool, pipe: Any) -> Pool:
    if pool != "auto":
        return pool
    return "last" if type(pipe.text_encoder).__name__.startswith(_CAUSAL) else "mean"


def _weigh(words: Tensor, pool: Pool) -> Tensor:
    order = words.cumsum(1) * words  # 1, 2, … at a concept's own tokens
    picked = {"mean": words, "first": order == 1, "last": order == order.amax(1, keepdim=True)}[pool]
    return picked / picked.sum(1, keepdim=True)
