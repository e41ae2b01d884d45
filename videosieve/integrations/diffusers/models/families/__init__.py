"""One file per family of models, each a tuple of rows; a new one is added here."""

from videosieve.integrations.diffusers.models.families import (
    allegro,
    cogvideox,
    cosmos,
    easyanimate,
    helios,
    hunyuanvideo,
    kandinsky,
    ltx,
    minimax_h3,
    mochi,
    motif,
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
    *kandinsky.ROWS,
    *minimax_h3.ROWS,
    *motif.ROWS,
    *mochi.ROWS,
    *helios.ROWS,
    *easyanimate.ROWS,
    *allegro.ROWS,
    *recognised.ROWS,
)

__all__ = ["ROWS"]
