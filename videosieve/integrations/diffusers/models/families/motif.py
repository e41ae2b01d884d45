"""Motif-Video: image and padded text behind the video, and last layers that attend over the video twice."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="MotifVideoTransformer3DModel",
        family="Motif-Video",
        attentions=r"(single_)?transformer_blocks\.\d+\.attn",
        axes="BCTHW",
        patch=("patch_size_t", "patch_size", "patch_size"),
        text="last",
        texts=(Text("image_embeds"), Text(mask="encoder_attention_mask")),
        branches=("cond", "uncond"),
        notes="text and image to video; its last single blocks attend over [decoder video | encoder video]",
        feed_forwards=r"transformer_blocks\.\d+\.ff(_context)?",
        cross_attentions=r"(single_)?transformer_blocks\.\d+\.cross_attn",
        joint_projections=r"single_transformer_blocks\.\d+\.proj_out",
        joint_inputs=r"single_transformer_blocks\.\d+\.(proj|act)_mlp",
        order=("transformer_blocks", "single_transformer_blocks"),
        sequence="decoder_layers",
        pipelines="MotifVideoPipeline, MotifVideoImage2VideoPipeline",
        frame_rate=24,
        usual=(Grid(31, 46, 80), "736 × 1280, 121 frames"),
        break_even=7_700,
    ),
)
