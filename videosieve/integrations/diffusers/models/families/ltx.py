"""LTX-Video and LTX-2: packed latents, text through cross-attention, guidance in one batch."""

from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="LTXVideoTransformer3DModel",
        family="LTX-Video",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BNC",
        patch=("patch_size_t", "patch_size", "patch_size"),
        text="none",
        branches=("cond_uncond",),
        notes="2B and 13B; conditions stand before the video; few tokens, so that little is gained below 13 thousand",
        feed_forwards=r"transformer_blocks\.\d+\.ff",
        cross_attentions=r"transformer_blocks\.\d+\.attn2",
        sequence="packed",
        pipelines="LTX text and image to video, condition, long multi-prompt",
        frame_rate=25,
        usual=(Grid(21, 16, 22), "512 × 704, 161 frames"),
        break_even=14_400,
    ),
    ModelRow(
        name="LTX2VideoTransformer3DModel",
        family="LTX-2",
        attentions=r"transformer_blocks\.\d+\.attn1",  # audio_attn1 and the attentions between both stay dense
        axes="BNC",
        patch=("patch_size_t", "patch_size", "patch_size"),
        text="none",
        branches=("cond_uncond",),
        notes="2.0, 2.3 and 2.5; audio stays dense, and so do tiles of a video and IC-LoRA below full strength",
        feed_forwards=r"transformer_blocks\.\d+\.ff",
        cross_attentions=r"transformer_blocks\.\d+\.attn2",
        sequence="packed_first",
        skipped_blocks="spatio_temporal_guidance_blocks",
        pipelines="LTX-2 text and image to video, condition, IC-LoRA, HDR; DFR stays dense",
        frame_rate=24,
        usual=(Grid(16, 32, 48), "1024 × 1536, 121 frames"),
        break_even=34_200,
    ),
)
