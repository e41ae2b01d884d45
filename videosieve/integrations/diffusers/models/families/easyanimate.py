"""EasyAnimate: two texts before the video, padding and all, in one sequence; guidance in one batch."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="EasyAnimateTransformer3DModel",
        family="EasyAnimate",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=(1, "patch_size", "patch_size"),
        text="first",
        texts=(Text(), Text("encoder_hidden_states_t5")),
        branches=("cond_uncond",),
        notes="5 and 5.1, text to video, inpainting (image to video) and control",
        feed_forwards=r"transformer_blocks\.\d+\.(txt_)?ff",
        text_feed_forward="txt_ff",
        pipelines="EasyAnimatePipeline, EasyAnimateInpaintPipeline, EasyAnimateControlPipeline",
        frame_rate=8,
        usual=(Grid(13, 64, 64), "1024 × 1024, 49 frames"),
        break_even=18_400,
    ),
)
