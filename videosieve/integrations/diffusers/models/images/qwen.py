"""Qwen-Image: text before the image, dual-stream blocks only."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow

ROWS = (
    ModelRow(
        name="QwenImageTransformer2DModel",
        family="Qwen-Image",
        attentions=r"transformer_blocks\.\d+\.attn",
        axes="BNC",
        patch=(1, 1, 1),
        text="first",
        texts=(Text(),),
        branches=("cond", "uncond"),
        notes="Qwen-Image; its edit pipelines encode text with a picture",
        sequence="shapes",
        pipelines="QwenImagePipeline",
    ),
)
