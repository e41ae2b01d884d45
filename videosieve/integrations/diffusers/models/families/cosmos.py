"""Cosmos 1, 2 and 2.5: video alone in self-attention, condition frames are frames like others.

Cosmos 3: text attends causally to itself, the video to text and itself with grouped queries.
"""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
    ModelRow(
        name="CosmosTransformer3DModel",
        family="Cosmos",
        attentions=r"transformer_blocks\.\d+\.attn1",
        axes="BCTHW",
        patch=("patch_size",),
        text="none",
        branches=("cond", "uncond"),
        notes="1 and 2 (text and video to world), 2.5 (predict and transfer; the control network of transfer stays "
        "dense)",
        feed_forwards=r"transformer_blocks\.\d+\.ff",
        cross_attentions=r"transformer_blocks\.\d+\.attn2",
        pipelines="CosmosTextToWorldPipeline, CosmosVideoToWorldPipeline, Cosmos2VideoToWorldPipeline, "
        "Cosmos2_5_PredictBasePipeline, Cosmos2_5_TransferPipeline",
        frame_rate=16,
        frame_rates=(("extra_pos_embed_type", "learnable", 30),),  # Cosmos 1
        usual=(Grid(24, 44, 80), "704 × 1280, 93 frames"),
        break_even=14_900,
    ),
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
        break_even=23_900,
    ),
)
