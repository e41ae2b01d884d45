"""Kandinsky 5 and 6: channels last, video alone in self-attention, guidance in two calls."""

from videosieve.integrations.diffusers.models.parts import Condition
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

_NABLA = (
    "this checkpoint is already sparse (NABLA), with tokens in tiles of 8 × 8 that no layout describes; set "
    "attention_type to 'regular' in the transformer's config to use videosieve instead"
)

ROWS = (
    ModelRow(
        name="Kandinsky5Transformer3DModel",
        family="Kandinsky 5",
        attentions=r"visual_transformer_blocks\.\d+\.self_attention",
        axes="BTHWC",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="regular attention (5 s Lite); checkpoints with NABLA are sparse already and refused",
        feed_forwards=r"visual_transformer_blocks\.\d+\.feed_forward",
        cross_attentions=r"visual_transformer_blocks\.\d+\.cross_attention",
        dense_if=(Condition("attention_type", _NABLA, equals="nabla", refuses=True),),
        pipelines="Kandinsky5T2VPipeline, Kandinsky5I2VPipeline",
        frame_rate=24,
        usual=(Grid(31, 32, 48), "512 × 768, 121 frames"),
        break_even=13_100,
    ),
    ModelRow(
        name="Kandinsky6Transformer3DModel",
        family="Kandinsky 6",
        attentions=r"visual_transformer_blocks\.\d+\.video_dec_block\.self_attention",
        axes="BTHWC",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="text and image to video with audio; audio stays dense; the reference frame of image to video is no part "
        "of the video",
        feed_forwards=r"visual_transformer_blocks\.\d+\.video_dec_block\.feed_forward",
        cross_attentions=r"visual_transformer_blocks\.\d+\.video_dec_block\.cross_attention",
        sequence="marked_frames",
        pipelines="Kandinsky6TI2VAPipeline",
        frame_rate=24,
        usual=(Grid(31, 32, 48), "512 × 768, 121 frames"),
        break_even=38_800,
    ),
    ModelRow(
        name="Kandinsky6SRTransformer3DModel",
        family="Kandinsky 6 SR",
        attentions=r"visual_transformer_blocks\.\d+\.\w*attention",
        axes="BTHWC",
        patch=("patch_size",),
        text="none",
        branches=("cond",),
        notes="",
        dense="it is already sparse (NABLA, always on), with tokens in tiles of 8 × 8 that no layout describes; "
        "Kandinsky6TI2VAPipeline, which makes the video before, can be made sparse",
        pipelines="Kandinsky6SRPipeline",
        frame_rate=24,
    ),
)
