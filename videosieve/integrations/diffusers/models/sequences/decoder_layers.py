"""Motif's sequences: [video | image | text] in most layers, [decoder video | encoder video] in the last ones."""

from dataclasses import replace

import torch
from torch import Tensor

from videosieve.integrations.diffusers.models.arrangements import Arrangement, Group
from videosieve.integrations.diffusers.models.sequences.latents import Latents
from videosieve.layout import Grid, Segment, VideoLayout


class DecoderLayers(Latents):
    """Two arrangements by layer. Text padding may stand before the text: tokenizers of Gemma put it there.

    In the decoder layers two videos of T frames stand one behind the other, and the layout is one video of 2T frames:
    decoder frame 0, encoder frame 0, decoder frame 1, … So frames that show the same moment are neighbours for methods
    that keep a band in time, and one place across all frames is still a column of the grid. No paper has looked at
    these layers; with the encoder's video as "extra" tokens three quarters of all pairs would stay dense.
    """

    def reads(self) -> list[Tensor]:
        mask = self._mask()
        return super().reads() + ([] if mask is None else [mask != 0])

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        masked = self._mask() is not None
        told = super().arrange(values[:-1] if masked else values)
        if isinstance(told, str):
            return told
        joint = told[0]
        if masked:
            joint = replace(joint, groups=tuple(self._place(group, values[-1]) for group in joint.groups))
        total, decoders = (self.transformer.config[f"num_{name}_layers"] for name in ("single", "decoder"))
        if not decoders:
            return (joint,)
        encoder, decoder = (
            "|".join(map(str, numbers))
            for numbers in (range(total - decoders), range(total - decoders, total))
        )
        single = r"single_transformer_blocks\.({})\.attn"
        joint_layers = r"transformer_blocks\.\d+\.attn" + ("|" + single.format(encoder) if encoder else "")
        return (
            replace(joint, layers=joint_layers),
            Arrangement((self._both_videos(),), 2 * self.grid().tokens, layers=single.format(decoder)),
        )

    def _mask(self) -> Tensor | None:
        return self.arguments.get("encoder_attention_mask")

    def _place(self, group: Group, valid: Tensor) -> Group:
        """A group whose text does not come first of its rows, with the places where it stands."""
        item = group.items[0] if group.items else 0
        rows = valid[item % len(valid)].nonzero().flatten()
        start = group.layout.tokens - len(rows)
        if torch.equal(rows, torch.arange(len(rows))):
            return group
        return replace(group, rows=torch.cat([torch.arange(start), start + rows]).to(self.latents.device))

    def _both_videos(self) -> Group:
        grid = self.grid()
        both = Grid(2 * grid.frames, grid.height, grid.width)
        places = torch.arange(both.tokens, device=self.latents.device).view(2, grid.frames, -1)
        return Group(
            VideoLayout((Segment("video", both.tokens, both),)), rows=places.transpose(0, 1).flatten()
        )
