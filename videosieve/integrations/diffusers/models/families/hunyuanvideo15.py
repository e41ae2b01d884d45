"""HunyuanVideo-1.5: three padded texts behind the video, valid rows first; the mask is left out (`unmasked.py`)."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid

ROWS = (
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
    ),
)
