"""Image transformers, for saliency alone: one file per family; sparse attention does not apply to them."""

from videosieve.integrations.diffusers.models.images import (
    flux,
    hunyuanimage,
    qwen,
    stable_diffusion_3,
    z_image,
)
from videosieve.integrations.diffusers.models.rows import ModelRow

IMAGES: dict[str, ModelRow] = {
    row.name: row
    for row in (*flux.ROWS, *stable_diffusion_3.ROWS, *qwen.ROWS, *hunyuanimage.ROWS, *z_image.ROWS)
}

__all__ = ["IMAGES"]
