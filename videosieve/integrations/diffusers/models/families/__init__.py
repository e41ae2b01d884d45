"""One file per family of models, each a tuple of rows; a new one is added here."""

from videosieve.integrations.diffusers.models.families import cogvideox, hunyuanvideo, wan

ROWS = (*hunyuanvideo.ROWS, *cogvideox.ROWS, *wan.ROWS)

__all__ = ["ROWS"]
