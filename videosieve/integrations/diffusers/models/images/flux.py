"""Flux.1, Flux.2 and Chroma: text before the image in one sequence, coordinates for every token."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow

ROWS = (
    ModelRow(
        name="FluxTransformer2DModel",
        family="Flux.1",
        attentions=r"(single_)?transformer_blocks\.\d+\.attn",
        axes="BNC",
        patch=(1, 1, 1),
        text="first",
        texts=(Text(),),
        branches=("cond", "uncond"),
        notes="dev and schnell; Kontext: the pictures to go by stand behind the image",
        sequence="coordinates",
        pipelines="FluxPipeline",
    ),
    ModelRow(
        name="Flux2Transformer2DModel",
        family="Flux.2",
        attentions=r"(single_)?transformer_blocks\.\d+\.attn",
        axes="BNC",
        patch=(1, 1, 1),
        text="first",
        texts=(Text(),),
        branches=("cond", "uncond"),
        notes="dev and klein; pictures to go by stand behind the image",
        sequence="coordinates",
        pipelines="Flux2Pipeline, Flux2KleinPipeline",
    ),
    ModelRow(
        name="ChromaTransformer2DModel",
        family="Chroma",
        attentions=r"(single_)?transformer_blocks\.\d+\.attn",
        axes="BNC",
        patch=(1, 1, 1),
        text="first",
        texts=(Text(),),
        branches=("cond", "uncond"),
        notes="",
        sequence="coordinates",
        pipelines="ChromaPipeline",
    ),
)
