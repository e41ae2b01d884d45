"""Text in the keys only: Cosmos 3, whose video attends to [text | video | sound | action] and whose text does not."""

from math import prod

import torch
from torch import Tensor

from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.sequences.base import Sequence, lay_out
from videosieve.layout import Grid


class TextKeys(Sequence):
    """Keys [text | extra | video | extra], queries without the text: one video unbatched, latents in a list.

    Of several items in `vision_tokens` (a picture and a video) the one with most tokens is the video, the last of those
    that have as many. `vision_token_shapes` count tokens, sides that the model pads included.
    """

    @property
    def latents(self) -> Tensor:
        items = self.arguments.get(self.row.latents)
        return items[self._main] if items and self._shapes else None  # type: ignore[return-value]

    @property
    def batch(self) -> int:
        return 1

    def reads(self) -> list[Tensor]:
        places = self.arguments["vision_sequence_indexes"]
        text = int(self.arguments["und_len"])
        due = torch.arange(text, text + len(places), device=places.device)
        return [(places == due).all().reshape(1)]

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        text, tokens = int(self.arguments["und_len"]), int(self.arguments["sequence_length"])
        sizes, main = [prod(shape) for shape in self._shapes], self._main
        if not bool(values[0]) or len(self.arguments["vision_sequence_indexes"]) != sum(sizes):
            return "vision tokens do not follow the text in one run, so that their places are not known"
        before = sum(sizes[:main])
        after = tokens - text - before - sizes[main]
        layout = lay_out(Grid(*self._shapes[main]), [("text", text), ("extra", before)], [("extra", after)])
        return (Arrangement.of(layout, keys_only=text),)

    @property
    def _shapes(self) -> list[tuple[int, int, int]]:
        return [tuple(map(int, shape)) for shape in self.arguments.get("vision_token_shapes") or ()]  # type: ignore[misc]

    @property
    def _main(self) -> int:
        sizes = [prod(shape) for shape in self._shapes]
        return max(range(len(sizes)), key=lambda item: (sizes[item], item))
