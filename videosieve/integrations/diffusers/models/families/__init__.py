"""One file per family of models, each a tuple of rows; a new one is added here."""

from videosieve.integrations.diffusers.models.families import (
    allegro,
    cogvideox,
    cosmos,
    hunyuanvideo,
    kandinsky,
    recognised,
    wan,
    wan_kin,
)

ROWS = (
    *hunyuanvideo.ROWS,
    *cogvideox.ROWS,
    *wan.ROWS,
    *wan_kin.ROWS,
    *cosmos.ROWS,
    *kandinsky.ROWS,
    *allegro.ROWS,
    *recognised.ROWS,
)

__all__ = ["ROWS"]
