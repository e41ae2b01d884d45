"""Where each family keeps its text: which tokenizer, in which template, and which output of `encode_prompt` it is."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from videosieve.errors import IntegrationError

Encoded = tuple[Tensor, Tensor | None]


class Frame(NamedTuple):
    """The text around a prompt.

    Attributes:
        text: With {} in the place of the prompt.
        crop: How many tokens at its beginning are cut off.
        special: Whether the tokenizer adds special tokens to it, as most do.
    """

    text: str = "{}"
    crop: int = 0
    special: bool = True


def _plain(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    del pipe, arguments
    return Frame()


def _none(pipe: Any) -> int:
    del pipe
    return 0


def _yes(pipe: Any) -> bool:
    del pipe
    return True


def _no(pipe: Any) -> bool:
    del pipe
    return False


@dataclass(frozen=True, slots=True)
class TextSource:
    """How a pipeline encodes a prompt.

    Attributes:
        tokenizers: The pipeline's tokenizers that may have made the tokens; the first that is there has.
        mask: Which of `encode_prompt`'s outputs marks real tokens; None where none does.
        frame: (pipe, arguments of its call) → the text around a prompt.
        padded: (pipe) → whether padding stays among the embeddings, and stands first where the tokenizer puts it there.
        skipped: (pipe) → rows of the embeddings before these tokens.
        read: (pipe, outputs of `encode_prompt`) → embeddings [prompts, tokens, channels] and mask; None takes the first
            output, and `mask`.
    """

    tokenizers: tuple[str, ...] = ("tokenizer",)
    mask: int | None = None
    frame: Callable[[Any, Mapping[str, Any]], Frame] = _plain
    padded: Callable[[Any], bool] = _yes
    skipped: Callable[[Any], int] = _none
    read: Callable[[Any, Any], Encoded] | None = None

    def tokenizer(self, pipe: Any) -> Any:
        """The tokenizer behind the embeddings; that of a processor where the pipeline has one."""
        found = next(
            (one for name in self.tokenizers if (one := getattr(pipe, name, None)) is not None), None
        )
        if found is None:
            raise IntegrationError(
                f"saliency needs a pipeline with a tokenizer and a text encoder; {type(pipe).__name__} has no "
                f"{' and no '.join(self.tokenizers)}"
            )
        return getattr(found, "tokenizer", found)

    def embeddings(self, pipe: Any, encoded: Any) -> Encoded:
        """Of what `encode_prompt` returned."""
        if self.read is not None:
            return self.read(pipe, encoded)
        outputs = encoded if isinstance(encoded, tuple) else (encoded,)
        return outputs[0], None if self.mask is None else outputs[self.mask]


def _hunyuanvideo(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    """The template that the call was given, or the pipeline's own."""
    import inspect

    known = inspect.signature(pipe.encode_prompt).parameters.get("prompt_template")
    template = arguments.get("prompt_template") or getattr(known, "default", None) or {}
    frame, crop = template.get("template", "{}"), template.get("crop_start", 0)
    if crop is None or "{}" not in frame:
        raise IntegrationError(
            f"a prompt_template for saliency needs '{{}}' in its text and a crop_start, got {dict(template)}"
        )
    return Frame(frame, crop)


def _attributes(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    """Qwen-Image, HunyuanImage: the pipeline has its template as attributes."""
    del arguments
    return Frame(pipe.prompt_template_encode, pipe.prompt_template_encode_start_idx)


def _chat(pipe: Any, messages: list[dict[str, Any]], **options: Any) -> str:
    chat = pipe.tokenizer.apply_chat_template(messages, tokenize=False, **options)
    return chat[0] if isinstance(chat, list) else chat


def _hunyuanvideo15(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    del arguments
    messages = [{"role": "system", "content": pipe.system_message}, {"role": "user", "content": "{}"}]
    return Frame(
        _chat(pipe, messages, add_generation_prompt=True), pipe.prompt_template_encode_start_idx, False
    )


def _z_image(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    del arguments
    message = {"role": "user", "content": "{}"}
    return Frame(_chat(pipe, [message], add_generation_prompt=True, enable_thinking=True))


def _flux2(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    del arguments
    if not hasattr(pipe, "system_message"):  # klein
        message = {"role": "user", "content": "{}"}
        return Frame(_chat(pipe, [message], add_generation_prompt=True, enable_thinking=False))
    return Frame(
        _chat(pipe, _turns(system=pipe.system_message, user="{}"), add_generation_prompt=False), 0, False
    )


def _turns(**texts: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in texts.items()]


def _easyanimate(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    del arguments
    return Frame(_chat(pipe, _turns(user="{}"), add_generation_prompt=True))


def _cosmos(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    """T5 takes the prompt as it is; the language model of 2.5 takes it in a conversation."""
    del arguments
    if not type(pipe).__name__.startswith("Cosmos2_5"):
        return Frame()
    system = "You are a helpful assistant who will provide prompts to an image generator."
    return Frame(_chat(pipe, _turns(system=system, user="{}"), add_generation_prompt=False), 0, False)


def _kandinsky(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    del arguments
    return Frame(pipe.prompt_template, pipe.prompt_template_encode_start_idx)


def _kandinsky6(pipe: Any, arguments: Mapping[str, Any]) -> Frame:
    """The module of the pipeline has its template as a constant, and how many tokens of it are cut off."""
    del arguments
    modules = [vars(sys.modules[cls.__module__]) for cls in type(pipe).__mro__]
    named = [one for one in modules if "_PROMPT_TEMPLATE" in one and "_QWEN_CROP_START" in one]
    if not named:
        raise IntegrationError(
            f"the template that {type(pipe).__name__} puts around prompts is not where diffusers 0.42 has it, so a "
            f"concept's own tokens cannot be found in it"
        )
    return Frame(named[0]["_PROMPT_TEMPLATE"], named[0]["_QWEN_CROP_START"])


def _connect(pipe: Any, encoded: Any) -> Encoded:
    """LTX-2: through the connectors, which the pipeline puts between text encoder and transformer."""
    side = getattr(pipe.tokenizer, "padding_side", "left")
    return pipe.connectors(encoded[0], encoded[1], padding_side=side)[0], None


def _keeps_padding(pipe: Any) -> bool:
    """LTX-2: connectors with registers put those in the place of padding, behind the text."""
    return pipe.connectors.video_connector.learnable_registers is None


def _read_list(pipe: Any, encoded: Any) -> Encoded:
    """Z-Image: a list of texts without padding."""
    del pipe
    texts: list[Tensor] = encoded[0]
    lengths = torch.tensor([len(text) for text in texts])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return torch.nn.utils.rnn.pad_sequence(texts, batch_first=True), mask.to(texts[0].device, torch.int64)


def _clip_rows(pipe: Any) -> int:
    """Stable Diffusion 3: the tokens of CLIP stand before those of T5; without T5 they are the text."""
    return 0 if getattr(pipe, "tokenizer_3", None) is None else pipe.tokenizer_max_length


SOURCES: dict[str, TextSource] = {
    "HunyuanVideoTransformer3DModel": TextSource(mask=2, frame=_hunyuanvideo),
    "HunyuanVideoFramepackTransformer3DModel": TextSource(mask=2, frame=_hunyuanvideo),
    "HunyuanVideo15Transformer3DModel": TextSource(mask=1, frame=_hunyuanvideo15),
    "MotifVideoTransformer3DModel": TextSource(mask=2),
    "MochiTransformer3DModel": TextSource(mask=1),
    "EasyAnimateTransformer3DModel": TextSource(mask=2, frame=_easyanimate, padded=_no),
    "CosmosTransformer3DModel": TextSource(frame=_cosmos),
    "Kandinsky5Transformer3DModel": TextSource(frame=_kandinsky),
    "Kandinsky6Transformer3DModel": TextSource(mask=2, frame=_kandinsky6),
    "LTX2VideoTransformer3DModel": TextSource(padded=_keeps_padding, read=_connect),
    "FluxTransformer2DModel": TextSource(("tokenizer_2",)),
    "Flux2Transformer2DModel": TextSource(frame=_flux2),
    "SD3Transformer2DModel": TextSource(("tokenizer_3", "tokenizer"), skipped=_clip_rows),
    "QwenImageTransformer2DModel": TextSource(mask=1, frame=_attributes, padded=_no),
    "HunyuanImageTransformer2DModel": TextSource(mask=1, frame=_attributes),
    "ZImageTransformer2DModel": TextSource(frame=_z_image, padded=_no, read=_read_list),
}
PLAIN = TextSource()
"""Every other family: T5 or UMT5, the prompt as it is."""
