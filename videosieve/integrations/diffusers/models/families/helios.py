"""Helios: chunk after chunk, with three lengths of history before the video; text through cross-attention."""

from videosieve.integrations.diffusers.models.parts import Extra
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="HeliosTransformer3DModel",
        family="Helios",
        attentions=r"blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="base, pyramid and distilled; every chunk, and every stage of a pyramid, is a generation of its own",
        feed_forwards=r"blocks\.\d+\.ffn",
        cross_attentions=r"blocks\.\d+\.attn2",
        before=(
            Extra("latents_history_long", (4, 8, 8), needs="indices_latents_history_long"),
            Extra("latents_history_mid", (2, 4, 4), needs="indices_latents_history_mid"),
            Extra("latents_history_short", (1, 2, 2), needs="indices_latents_history_short"),
        ),
        pipelines="HeliosPipeline, HeliosPyramidPipeline",
        frame_rate=24,
        usual=(Grid(9, 24, 40), "384 × 640, a chunk"),
        break_even=28_700,
    ),
)
