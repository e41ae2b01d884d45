"""Mochi: one attention call per batch item, each with its own valid text behind the video; timesteps rise."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="MochiTransformer3DModel",
        family="Mochi",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=(1, "patch_size", "patch_size"),
        text="last",
        texts=(Text(mask="encoder_attention_mask"),),
        branches=("cond_uncond",),
        notes="Mochi 1; guidance in one batch, whose items are attended one by one",
        feed_forwards=r"transformer_blocks\.\d+\.ff(_context)?",
        sequence="one_by_one",
        pipelines="MochiPipeline",
        frame_rate=30,
        usual=(Grid(28, 30, 53), "480 × 848, 163 frames"),
        break_even=18_400,
    ),
)
