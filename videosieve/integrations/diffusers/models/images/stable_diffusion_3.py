"""Stable Diffusion 3 and 3.5: text behind the image, guidance in one batch."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow

ROWS = (
    ModelRow(
        name="SD3Transformer2DModel",
        family="Stable Diffusion 3",
        attentions=r"transformer_blocks\.\d+\.attn",  # attn2 of 3.5 medium sees the image alone
        axes="BCHW",
        patch=(1, "patch_size", "patch_size"),
        text="last",
        texts=(Text(),),
        branches=("cond_uncond",),
        notes="3 and 3.5, medium, large and turbo",
        pipelines="StableDiffusion3Pipeline",
    ),
)
