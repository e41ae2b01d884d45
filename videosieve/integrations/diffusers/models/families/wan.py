"""Wan and what has its blocks: video alone in self-attention, text through cross-attention, guidance in two calls."""

from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="WanTransformer3DModel",
        family="Wan",
        attentions=r"blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="2.1 and 2.2 (both transformers share the step axis; TI2V-5B too), text, image and video to video; "
        "Lucy-Edit; checkpoints that were distilled to few steps",
        feed_forwards=r"blocks\.\d+\.ffn",
        cross_attentions=r"blocks\.\d+\.attn2",
        pipelines="WanPipeline, WanImageToVideoPipeline, WanVideoToVideoPipeline, LucyEditPipeline",
        recipe="svg-wan",
        frame_rate=16,
        frame_rates=(("in_channels", 48, 24),),  # TI2V-5B, the one with 48 latent channels
        usual=(Grid(21, 45, 80), "720 × 1280, 81 frames"),
    ),
    ModelRow(
        name="WanVACETransformer3DModel",
        family="Wan VACE",
        attentions=r"(vace_)?blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="control blocks are layers too, the first ones; reference images are the first latent frames",
        feed_forwards=r"(vace_)?blocks\.\d+\.ffn",
        cross_attentions=r"(vace_)?blocks\.\d+\.attn2",
        order=("vace_blocks", "blocks"),
        pipelines="WanVACEPipeline",
        recipe="svg-wan",
        frame_rate=16,
        usual=(Grid(21, 45, 80), "720 × 1280, 81 frames"),
    ),
    ModelRow(
        name="WanAnimateTransformer3DModel",
        family="Wan Animate",
        attentions=r"blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="the first latent frame is the reference; segments restart the clock; face adapters stay dense",
        feed_forwards=r"blocks\.\d+\.ffn",
        cross_attentions=r"blocks\.\d+\.attn2",
        pipelines="WanAnimatePipeline",
        recipe="svg-wan",
        frame_rate=30,
        usual=(Grid(21, 45, 80), "720 × 1280, segments of 77 frames"),
    ),
    ModelRow(
        name="ChronoEditTransformer3DModel",
        family="ChronoEdit",
        attentions=r"blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="edits images by two latent frames: 3,120 tokens at 480p, where little is gained; eight frames while "
        "temporal reasoning runs",
        feed_forwards=r"blocks\.\d+\.ffn",
        cross_attentions=r"blocks\.\d+\.attn2",
        pipelines="ChronoEditPipeline",
        frame_rate=16,
        usual=(Grid(8, 30, 52), "480 × 832, 29 frames"),
    ),
    ModelRow(
        name="WanAnimate2Transformer3DModel",
        family="Wan Animate 2",
        attentions=r"blocks\.\d+\.self_attn",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="",
        dense="it generates with a key-value cache of the reference, so that queries and keys are not the same tokens, "
        "and builds a block mask of its own; sparse attention needs both to be the whole video. WanAnimatePipeline "
        "(Wan Animate 1) can be made sparse",
        pipelines="WanAnimate2ModularPipeline",
        frame_rate=30,
    ),
)
