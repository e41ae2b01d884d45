"""One file per family of models, each a tuple of rows; a new one is added here."""

from videosieve.integrations.diffusers.models.families import (
    cogvideox,
    easyanimate,
    framepack,
    helios,
    hunyuanvideo,
    hunyuanvideo15,
    mochi,
    motif,
    wan,
)

ROWS = (
    *hunyuanvideo.ROWS,
    *cogvideox.ROWS,
    *wan.ROWS,
    *hunyuanvideo15.ROWS,
    *framepack.ROWS,
    *helios.ROWS,
    *motif.ROWS,
    *mochi.ROWS,
    *easyanimate.ROWS,
)

__all__ = ["ROWS"]
