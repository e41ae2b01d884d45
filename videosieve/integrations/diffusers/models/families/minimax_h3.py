"""MiniMax-H3: text, conditions, audio and video in one sequence whose order indices give."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="MiniMaxH3Transformer3DModel",
        family="MiniMax-H3",
        attentions=r"transformer_blocks\.\d+\.attn",  # the text refiner's attentions have the same class
        axes="BNC",
        patch=("patch_size",),
        text="first",
        texts=(Text(),),
        branches=("cond",),
        notes="text, first and last frame, and references to video with audio; guidance is distilled: one call a step",
        feed_forwards=r"transformer_blocks\.\d+\.ff",
        sequence="indexed",
        pipelines="MiniMax-H3 (modular)",
        frame_rate=24,
        usual=(Grid(37, 24, 42), "768 × 1344, 124 frames"),
        break_even=26_900,
    ),
)
