"""Video transformers of diffusers for which sparse attention does not apply, each with its reason."""

from videosieve.integrations.diffusers.models.rows import ModelRow

_ELSEWHERE = "videosieve.attention(q, k, v, layout) is there for attention calls of your own"

ROWS = (
    ModelRow(
        name="LatteTransformer3DModel",
        family="Latte",
        attentions=r"(temporal_)?transformer_blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=(1, "patch_size", "patch_size"),
        text="none",
        branches=("cond_uncond",),
        notes="",
        dense="Latte attends within a frame and along time, never over both: sequences of about a thousand tokens, and "
        "of as many as there are frames, leave nothing to skip. Any model that attends over space and time at once "
        "can be made sparse",
        pipelines="LattePipeline",
    ),
    ModelRow(
        name="SanaVideoTransformer3DModel",
        family="Sana Video",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond_uncond",),
        notes="",
        dense="it uses linear attention, without a softmax: its cost already grows linearly with the tokens, and there "
        f"are no scores of which some could be left out; {_ELSEWHERE}",
        pipelines="SanaVideoPipeline, SanaImageToVideoPipeline",
        frame_rate=16,
    ),
    ModelRow(
        name="SanaWMTransformer3DModel",
        family="Sana WM",
        attentions=r"blocks\.\d+\.attn",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond",),
        notes="",
        dense="it is mostly recurrent linear attention, and its few softmax layers have no processor that could be "
        f"replaced; {_ELSEWHERE}",
        pipelines="SanaWMPipeline",
        frame_rate=16,
    ),
    ModelRow(
        name="SanaWMLTX2RefinerTransformer3DModel",
        family="Sana WM refiner",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BNC",
        patch=(1, 1, 1),
        text="none",
        branches=("cond",),
        notes="",
        dense="it generates with a key-value cache of first and recent frames, so that queries and keys are not the "
        f"same tokens, and no argument says how large a frame is; {_ELSEWHERE}",
        pipelines="SanaWMPipeline (refiner)",
        frame_rate=16,
    ),
)
