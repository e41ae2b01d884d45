"""CogVideoX: text before the video in one sequence, guidance in one batch."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow

ROWS = (
    ModelRow(
        name="CogVideoXTransformer3DModel",
        family="CogVideoX",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BTCHW",
        patch=("patch_size_t", "patch_size", "patch_size"),
        text="first",
        texts=(Text(),),
        branches=("cond_uncond",),
        notes="1.0 and 1.5, text, image and video to video; call fuse_qkv_projections() before sparsify",
        feed_forwards=r"transformer_blocks\.\d+\.ff",
    ),
)
