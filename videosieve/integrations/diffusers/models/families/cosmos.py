"""Cosmos 1, 2 and 2.5: video alone in self-attention, condition frames are frames like others."""

from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="CosmosTransformer3DModel",
        family="Cosmos",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="1 and 2 (text and video to world), 2.5 (predict and transfer; the control network of transfer stays "
        "dense)",
        feed_forwards=r"transformer_blocks\.\d+\.ff",
        cross_attentions=r"transformer_blocks\.\d+\.attn2",
        pipelines="CosmosTextToWorldPipeline, CosmosVideoToWorldPipeline, Cosmos2VideoToWorldPipeline, "
        "Cosmos2_5_PredictBasePipeline, Cosmos2_5_TransferPipeline",
        frame_rate=16,
        frame_rates=(("extra_pos_embed_type", "learnable", 30),),  # Cosmos 1
        usual=(Grid(24, 44, 80), "704 × 1280, 93 frames"),
    ),
)
