"""Wan: video alone in self-attention, text through cross-attention, guidance in two calls."""

from videosieve.integrations.diffusers.models.rows import ModelRow

ROWS = (
    ModelRow(
        name="WanTransformer3DModel",
        family="Wan",
        attentions=r"blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="2.1 and 2.2 (both transformers share the step axis; TI2V-5B too), text, image and video to video",
        feed_forwards=r"blocks\.\d+\.ffn",
        cross_attentions=r"blocks\.\d+\.attn2",
    ),
)
