"""One file per family of models, each a tuple of rows; a new one is added here."""

from videosieve.integrations.diffusers.models.families import (
    allegro,
    cogvideox,
    cosmos,
    cosmos3,
    hunyuanvideo,
    kandinsky,
    ltx,
    minimax_h3,
    recognised,
    wan,
    wan_kin,
)

ROWS = (
    *hunyuanvideo.ROWS,
    *cogvideox.ROWS,
    *wan.ROWS,
    *wan_kin.ROWS,
    *ltx.ROWS,
    *cosmos.ROWS,
    *cosmos3.ROWS,
    *kandinsky.ROWS,
    *minimax_h3.ROWS,
    *allegro.ROWS,
    *recognised.ROWS,
)

__all__ = ["ROWS"]
