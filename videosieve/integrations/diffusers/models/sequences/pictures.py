"""Attention sequences of image transformers: one frame, with text around it and pictures to go by behind it."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.sequences.base import Sequence, lay_out
from videosieve.integrations.diffusers.models.sequences.latents import Latents
from videosieve.layout import Grid


class Coordinates(Sequence):
    """[text | image | pictures to go by], Flux: `img_ids` [tokens, axes] place every token; the image is at time 0."""

    def reads(self) -> list[Tensor]:
        places: Tensor = self.arguments["img_ids"]
        return [places if places.ndim == 2 else places[0]]

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        first, rows, columns = values[0].T[:3]
        tokens = int((first.cumsum(0) == 0).sum())
        height, width = (int(side[:tokens].amax()) + 1 if tokens else 0 for side in (rows, columns))
        if not tokens or height * width != tokens:
            return f"img_ids place {tokens} tokens of an image of {height} × {width}"
        text = self.arguments["encoder_hidden_states"].shape[1]
        return (Arrangement.of(_picture(text, height, width, self.latents.shape[1])),)


class Shapes(Sequence):
    """[text | image | pictures to go by], Qwen-Image: `img_shapes` has frames, rows and columns of every picture."""

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        del values
        shape: Any = self.arguments["img_shapes"][0]
        frames, height, width = shape[0] if isinstance(shape, list) else shape
        if frames != 1:
            return f"layers of {frames} pictures, of which no map tells the one from the other"
        text = self.arguments["encoder_hidden_states"].shape[1]
        return (Arrangement.of(_picture(text, height, width, self.latents.shape[1])),)


class TwoTexts(Latents):
    """[image | texts], HunyuanImage: the second text stands in the sequence only where the model embeds it."""

    @cached_property
    def _texts(self) -> list[Text]:
        embedded = getattr(self.transformer, "context_embedder_2", None) is not None
        return [text for text in super()._texts if embedded or text.argument == "encoder_hidden_states"]


class Listed(Sequence):
    """[image | padding | text | padding], Z-Image: latents and texts in lists, each padded to a multiple of 32."""

    MULTIPLE = 32

    @property
    def latents(self) -> Tensor:
        items = self.arguments.get(self.row.latents)
        whole = isinstance(items, list) and all(isinstance(item, Tensor) for item in items)
        return torch.stack(items) if whole and items else None  # type: ignore[arg-type,return-value]

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        del values
        _, _, frames, height, width = self.latents.shape
        side, depth = (
            self.arguments.get(name, least) for name, least in (("patch_size", 2), ("f_patch_size", 1))
        )
        grid = Grid(frames // depth, height // side, width // side)
        texts = [self._padded(len(text)) for text in self.arguments["cap_feats"]]
        after = self._padded(grid.tokens) - grid.tokens
        return (Arrangement.of(lay_out(grid, [], [("extra", after), ("text", max(texts))])),)

    def _padded(self, tokens: int) -> int:
        return -(-tokens // self.MULTIPLE) * self.MULTIPLE


def _picture(text: int, height: int, width: int, tokens: int) -> Any:
    return lay_out(Grid(1, height, width), [("text", text)], [("extra", tokens - height * width)])
