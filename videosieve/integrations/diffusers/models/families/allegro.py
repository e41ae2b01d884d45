"""Allegro: video alone in self-attention, heads of 96 channels, no QK-norm, guidance in one batch."""

from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="AllegroTransformer3DModel",
        family="Allegro",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size_t", "patch_size", "patch_size"),
        text="none",
        branches=("cond_uncond",),
        notes="head_dim 96: kernels that want 64 or 128 refuse it by name; no QK-norm, so scores spread wider",
        feed_forwards=r"transformer_blocks\.\d+\.ff",
        cross_attentions=r"transformer_blocks\.\d+\.attn2",
        pipelines="AllegroPipeline",
        frame_rate=15,
        usual=(Grid(22, 45, 80), "720 × 1280, 88 frames"),
        break_even=16_700,
    ),
)
