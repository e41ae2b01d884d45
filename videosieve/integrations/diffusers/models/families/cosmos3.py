"""Cosmos 3: text attends causally to itself, the video to text and itself with grouped queries."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="Cosmos3OmniTransformer",
        family="Cosmos 3",
        attentions=r"layers\.\d+\.self_attn",
        axes="BCTHW",
        patch=(1, "latent_patch_size", "latent_patch_size"),
        text="first",
        texts=(Text("input_ids"),),
        branches=("cond", "uncond"),
        notes="one video; the text's own causal attention stays as it is; sound and actions stand behind the video",
        feed_forwards=r"layers\.\d+\.mlp(_moe_gen)?",
        latents="vision_tokens",
        timestep="vision_timesteps",
        sequence="text_keys",
        text_keys=True,
        pipelines="Cosmos 3 omni, and modular",
        frame_rate=24,
        usual=(Grid(48, 23, 40), "720p, 189 frames"),
    ),
)
