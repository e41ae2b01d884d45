"""Framepack: HunyuanVideo that goes on from a compressed history; image and text behind the window of new frames."""

from videosieve.integrations.diffusers.models.parts import Extra, Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
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
        before=(
            Extra("latents_history_4x", (4, 8, 8), needs="indices_latents_history_4x"),
            Extra("latents_history_2x", (2, 4, 4), needs="indices_latents_history_2x"),
            Extra("latents_clean", (1, 2, 2), needs="indices_latents_clean"),
        ),
        sequence="trimmed_alone",
        pipelines="HunyuanVideoFramepackPipeline",
        frame_rate=30,
        usual=(Grid(9, 45, 80), "720 × 1280, a window of 9 latent frames"),
    ),
)
