"""HunyuanVideo and what shares its class: padded text behind the video, in one sequence.

HunyuanVideo-1.5: three padded texts behind the video, valid rows first; the mask is left out (`unmasked.py`).

Framepack: HunyuanVideo that goes on from a compressed history; image and text behind the window of new frames.
"""

from videosieve.integrations.diffusers.models.parts import Condition, Cut, Extra, Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

CUTS = (
    Cut("rope", (0, 1), axis=0, axes=2),
    Cut("transformer_blocks.0", ("hidden_states", "encoder_hidden_states")),
    Cut("proj_out"),
)

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
        order=("transformer_blocks", "single_transformer_blocks"),
        pipelines="HunyuanVideoPipeline, HunyuanVideoImageToVideoPipeline, HunyuanSkyreelsImageToVideoPipeline",
        recipe="svg-hunyuanvideo",
        frame_rate=24,
        usual=(Grid(33, 45, 80), "720 × 1280, 129 frames"),
        break_even=18_400,
        cuts=CUTS,
        uncut_if=(
            Condition(
                "image_condition_type",
                "its first frame is modulated apart, by position in the whole video; run it on one device",
                equals="token_replace",
            ),
        ),
    ),
    ModelRow(
        name="HunyuanVideo15Transformer3DModel",
        family="HunyuanVideo-1.5",
        attentions=r"transformer_blocks\.\d+\.attn",
        axes="BCTHW",
        patch=("patch_size_t", "patch_size", "patch_size"),
        text="last",
        texts=(
            Text("image_embeds", zero_is_padding=True),  # text to video hands over zeros
            Text("encoder_hidden_states_2", mask="encoder_attention_mask_2"),
            Text(mask="encoder_attention_mask"),
        ),
        branches=("cond", "uncond"),
        notes="text and image to video, 480p and 720p; without the stock mask of every token with every token",
        feed_forwards=r"transformer_blocks\.\d+\.ff(_context)?",
        pipelines="HunyuanVideo15Pipeline, HunyuanVideo15ImageToVideoPipeline",
        frame_rate=24,
        usual=(Grid(31, 45, 80), "720 × 1280, 121 frames"),
        break_even=12_400,
        cuts=CUTS,
    ),
    ModelRow(
        name="HunyuanVideoFramepackTransformer3DModel",
        family="Framepack",
        attentions=r"(single_)?transformer_blocks\.\d+\.attn",
        axes="BCTHW",
        patch=("patch_size_t", "patch_size", "patch_size"),
        text="last",
        texts=(Text("image_embeds"), Text(mask="encoder_attention_mask")),
        branches=("cond", "uncond"),
        notes="image to video by sections, each a generation of its own; FramePack and FramePack F1",
        feed_forwards=r"transformer_blocks\.\d+\.ff(_context)?",
        joint_projections=r"single_transformer_blocks\.\d+\.proj_out",
        joint_inputs=r"single_transformer_blocks\.\d+\.(proj|act)_mlp",
        order=("transformer_blocks", "single_transformer_blocks"),
        before=(
            Extra("latents_history_4x", (4, 8, 8), needs="indices_latents_history_4x"),
            Extra("latents_history_2x", (2, 4, 4), needs="indices_latents_history_2x"),
            Extra("latents_clean", (1, 2, 2), needs="indices_latents_clean"),
        ),
        sequence="trimmed_alone",
        pipelines="HunyuanVideoFramepackPipeline",
        frame_rate=30,
        usual=(Grid(9, 45, 80), "720 × 1280, a window of 9 latent frames"),
        break_even=18_400,
    ),
)
