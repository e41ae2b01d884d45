"""Z-Image: image and caption in single-stream blocks, each padded to a multiple of 32 tokens."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow

ROWS = (
    ModelRow(
        name="ZImageTransformer2DModel",
        family="Z-Image",
        attentions=r"layers\.\d+\.attention",
        axes="BCTHW",
        patch=(1, 2, 2),
        text="last",
        texts=(Text("cap_feats"),),
        branches=("cond_uncond",),
        conditional_first=True,
        notes="Z-Image and Turbo; omni calls, which list several pictures for an image, are not described",
        latents="x",
        timestep="t",
        sequence="listed",
        pipelines="ZImagePipeline",
    ),
)
