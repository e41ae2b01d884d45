"""HunyuanImage 2.1: HunyuanVideo's blocks, with two texts behind the image."""

from videosieve.integrations.diffusers.models.parts import Text
from videosieve.integrations.diffusers.models.rows import ModelRow

ROWS = (
    ModelRow(
        name="HunyuanImageTransformer2DModel",
        family="HunyuanImage",
        attentions=r"(single_)?transformer_blocks\.\d+\.attn",
        axes="BCHW",
        patch=("patch_size",),
        text="last",
        texts=(
            Text("encoder_hidden_states_2", mask="encoder_attention_mask_2"),
            Text(mask="encoder_attention_mask"),
        ),
        branches=("cond", "uncond"),
        notes="2.1 and its distilled checkpoint",
        sequence="two_texts",
        pipelines="HunyuanImagePipeline",
    ),
)
