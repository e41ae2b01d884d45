"""Models of other makers with Wan's blocks: SkyReels-V2 and AnyFlow."""

from videosieve.integrations.diffusers.models.parts import Condition
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="SkyReelsV2Transformer3DModel",
        family="SkyReels-V2",
        like="Wan",
        attentions=r"blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="text and image to video; diffusion forcing, synchronous or not, without causal blocks",
        feed_forwards=r"blocks\.\d+\.ffn",
        cross_attentions=r"blocks\.\d+\.attn2",
        dense_if=(
            Condition(
                "num_frame_per_block",
                "causal blocks mask attention between frames: every step stays dense; call the pipeline with "
                "causal_block_size=1 (or leave it out) to make it sparse",
                least=2,
            ),
        ),
        pipelines="SkyReelsV2Pipeline, SkyReelsV2ImageToVideoPipeline, SkyReelsV2DiffusionForcingPipeline, "
        "SkyReelsV2DiffusionForcingImageToVideoPipeline, SkyReelsV2DiffusionForcingVideoToVideoPipeline",
        frame_rate=24,
        usual=(Grid(25, 34, 60), "544 × 960, 97 frames"),
        break_even=29_700,
    ),
    ModelRow(
        name="AnyFlowTransformer3DModel",
        family="AnyFlow",
        like="Wan",
        attentions=r"blocks\.\d+\.attn1",
        axes="BTCHW",
        patch=("patch_size",),
        text="none",
        branches=("cond_uncond",),
        notes="4 to 8 steps: give dense_steps as a count, a fraction of so few steps rounds to one or none",
        feed_forwards=r"blocks\.\d+\.ffn",
        cross_attentions=r"blocks\.\d+\.attn2",
        pipelines="AnyFlowPipeline",
        frame_rate=16,
        usual=(Grid(21, 30, 52), "480 × 832, 81 frames"),
        break_even=29_800,
    ),
    ModelRow(
        name="AnyFlowFARTransformer3DModel",
        family="AnyFlow FAR",
        attentions=r"blocks\.\d+\.attn1",
        axes="BTCHW",
        patch=("patch_size",),
        text="none",
        branches=("cond_uncond",),
        notes="",
        dense="it generates frame by frame with a key-value cache and compressed history, so that queries and keys are "
        "not the same tokens; sparse attention needs both to be the whole video. AnyFlowPipeline, which is not "
        "causal, can be made sparse",
        pipelines="AnyFlowFARPipeline",
        frame_rate=16,
    ),
)
