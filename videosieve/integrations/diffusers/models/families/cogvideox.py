"""CogVideoX and what has its blocks: text before the video in one sequence, guidance in one batch."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

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
        notes="1.0 and 1.5, text, image and video to video, Fun control; call fuse_qkv_projections() before sparsify",
        feed_forwards=r"transformer_blocks\.\d+\.ff",
        pipelines="CogVideoXPipeline, CogVideoXImageToVideoPipeline, CogVideoXVideoToVideoPipeline, "
        "CogVideoXFunControlPipeline",
        recipe="svg-cogvideox",
        frame_rate=8,
        frame_rates=(("patch_size_t", 2, 16),),  # 1.5
        usual=(Grid(13, 30, 45), "480 × 720, 49 frames"),
        break_even=18_400,
    ),
    ModelRow(
        name="ConsisIDTransformer3DModel",
        family="ConsisID",
        like="CogVideoX",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BTCHW",
        patch=(1, "patch_size", "patch_size"),
        text="first",
        texts=(Text(),),
        branches=("cond_uncond",),
        notes="the face perceivers stay dense",
        feed_forwards=r"transformer_blocks\.\d+\.ff",
        pipelines="ConsisIDPipeline",
        recipe="svg-cogvideox",
        frame_rate=8,
        usual=(Grid(13, 30, 45), "480 × 720, 49 frames"),
        break_even=18_400,
    ),
)
