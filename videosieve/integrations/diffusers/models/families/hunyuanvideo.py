"""HunyuanVideo and what shares its class: padded text behind the video, in one sequence."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="HunyuanVideoTransformer3DModel",
        family="HunyuanVideo",
        attentions=r"(single_)?transformer_blocks\.\d+\.attn",
        axes="BCTHW",
        patch=("patch_size_t", "patch_size", "patch_size"),
        text="last",
        texts=(Text(mask="encoder_attention_mask"),),
        branches=("cond", "uncond"),
        notes="text to video; image to video (latent_concat, token_replace); SkyReels-V1; the bundled shapes models",
        feed_forwards=r"transformer_blocks\.\d+\.ff(_context)?",
        joint_projections=r"single_transformer_blocks\.\d+\.proj_out",
        joint_inputs=r"single_transformer_blocks\.\d+\.(proj|act)_mlp",
        pipelines="HunyuanVideoPipeline, HunyuanVideoImageToVideoPipeline, HunyuanSkyreelsImageToVideoPipeline",
        recipe="svg-hunyuanvideo",
        frame_rate=24,
        usual=(Grid(33, 45, 80), "720 × 1280, 129 frames"),
    ),
)
