"""How attention sequences are built, one file a kind; a row names its kind."""

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.integrations.diffusers.models.sequences.base import Sequence
from videosieve.integrations.diffusers.models.sequences.decoder_layers import DecoderLayers
from videosieve.integrations.diffusers.models.sequences.indexed import Indexed
from videosieve.integrations.diffusers.models.sequences.latents import Latents
from videosieve.integrations.diffusers.models.sequences.marked_frames import MarkedFrames
from videosieve.integrations.diffusers.models.sequences.one_by_one import OneByOne
from videosieve.integrations.diffusers.models.sequences.packed import Packed, PackedFirst
from videosieve.integrations.diffusers.models.sequences.pictures import Coordinates, Listed, Shapes, TwoTexts
from videosieve.integrations.diffusers.models.sequences.text_keys import TextKeys
from videosieve.integrations.diffusers.models.sequences.trimmed_alone import TrimmedAlone

SEQUENCES: dict[str, type[Sequence]] = {
    "latents": Latents,
    "marked_frames": MarkedFrames,
    "packed": Packed,
    "packed_first": PackedFirst,
    "indexed": Indexed,
    "text_keys": TextKeys,
    "trimmed_alone": TrimmedAlone,
    "one_by_one": OneByOne,
    "decoder_layers": DecoderLayers,
    "coordinates": Coordinates,
    "shapes": Shapes,
    "two_texts": TwoTexts,
    "listed": Listed,
}


def sequence_of(row: ModelRow) -> type[Sequence]:
    """The kind of sequence that a row names.

    Raises:
        IntegrationError: There is no such kind.
    """
    kind = row.sequence
    if isinstance(kind, str) and kind in SEQUENCES:
        return SEQUENCES[kind]
    if isinstance(kind, type) and issubclass(kind, Sequence):
        return kind
    raise IntegrationError(
        f"the row of {row.name} must name how its sequence is built, one of {', '.join(SEQUENCES)}, or a subclass of "
        f"Sequence, got {kind!r}"
    )


__all__ = ["SEQUENCES", "Latents", "MarkedFrames", "Sequence", "sequence_of"]
