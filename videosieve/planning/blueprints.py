"""The models whose costs are known by name: configs as published, usual sizes and steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, chain, cycle, repeat, takewhile
from typing import Any

from videosieve.errors import ModelError


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A model as far as its costs go.

    Attributes:
        name: What people call it.
        transformer: Class name in diffusers.
        config: Config of the transformer; what is left out has the class's default.
        stride: Frames, rows and columns of pixels per latent; the first frame is a latent of its own where frames > 1.
        text: Text tokens of the prompt.
        branches: Forwards per step.
        batch: Batch elements per forward.
        size: Usual frames, height and width, pixels.
        steps: Usual denoising steps.
        spans: Frames that latents hold, one after the other and again from the first; empty where they hold one frame
            first and then as many as `stride` says.
        references: Latent frames that are given and stand before the video.
    """

    name: str
    transformer: str
    config: Mapping[str, Any] = field(default_factory=dict)
    stride: tuple[int, int, int] = (4, 8, 8)
    text: int = 512
    branches: int = 1
    batch: int = 1
    size: tuple[int, int, int] = (81, 720, 1280)
    steps: int = 50
    spans: tuple[int, ...] = ()
    references: int = 0

    def latents(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Latent frames, rows and columns of a video, references included."""
        along, down, across = self.stride
        if min(frames, height, width) < 1 or height % down or width % across:
            raise ModelError(
                f"{self.name} makes videos of a height and width that {down} and {across} divide, got {frames} frames "
                f"of {height} × {width}"
            )
        held = cycle(self.spans) if self.spans else chain((1,), repeat(along))
        ends = list(takewhile(lambda end: end <= frames, accumulate(held)))
        if not ends or ends[-1] != frames:
            told = f"{', '.join(map(str, self.spans))} and so on" if self.spans else f"1, then {along} each"
            raise ModelError(
                f"{self.name} makes videos whose frames fill its latents, which hold {told}: {ends[-1] if ends else 0} "
                f"frames do, {frames} do not"
            )
        return len(ends) + self.references, height // down, width // across


_COG = {
    "num_attention_heads": 48,
    "num_layers": 42,
    "use_rotary_positional_embeddings": True,
    "sample_height": 96,
    "sample_width": 170,
    "sample_frames": 81,
    "patch_size_t": 2,
}
_WAN_SMALL = {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}
_SKYREELS = {"num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824}
SHAPES = {
    "in_channels": 12,
    "out_channels": 12,
    "num_attention_heads": 6,
    "attention_head_dim": 32,
    "num_layers": 2,
    "num_single_layers": 6,
    "num_refiner_layers": 1,
    "text_embed_dim": 192,
    "pooled_projection_dim": 192,
    "rope_axes_dim": (8, 12, 12),
    "guidance_embeds": False,
}
_SHAPES_M = {**SHAPES, "num_attention_heads": 3, "attention_head_dim": 64, "rope_axes_dim": (16, 24, 24)}
_COG_SMALL = {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}
_WITH_IMAGE = {"added_kv_proj_dim": 5120}
_FRAMEPACK = {"has_image_proj": True, "has_clean_x_embedder": True}
_COSMOS2 = {"in_channels": 17, "num_attention_heads": 16, "adaln_lora_dim": 256, "extra_pos_embed_type": None}
_KANDINSKY5 = {
    "in_visual_dim": 16,
    "out_visual_dim": 16,
    "model_dim": 1792,
    "ff_dim": 7168,
    "visual_cond": True,
}
_MOTIF = {
    "attention_head_dim": 64,
    "num_layers": 12,
    "num_single_layers": 24,
    "num_decoder_layers": 8,
    "rope_axes_dim": (8, 28, 28),
    "enable_text_cross_attention_dual": True,
    "enable_text_cross_attention_single": True,
}
_EASY = {"in_channels": 16, "out_channels": 16, "patch_size": 2}
# Configs as published with the models as far as they are known here; what is left out has the default of the class.
_HUNYUAN, _COGVIDEOX, _WANX, _SKYREELS_V2 = (
    f"{name}Transformer3DModel" for name in ("HunyuanVideo", "CogVideoX", "Wan", "SkyReelsV2")
)
_LTX, _LTX2, _LTX_STRIDE = "LTXVideoTransformer3DModel", "LTX2VideoTransformer3DModel", (8, 32, 32)
_WIDE = (4, 16, 16)
_ALL = (
    Blueprint("hunyuanvideo", _HUNYUAN, {"guidance_embeds": True}, text=256, size=(129, 720, 1280)),
    # the longest prompt with the longest text to be drawn; no image
    Blueprint(
        "hunyuanvideo-1.5", "HunyuanVideo15Transformer3DModel", {}, _WIDE, 1000, 2, size=(121, 720, 1280)
    ),
    Blueprint(
        "framepack", "HunyuanVideoFramepackTransformer3DModel", _FRAMEPACK, text=256, size=(33, 720, 1280)
    ),
    Blueprint("cogvideox-1.5-5b", _COGVIDEOX, _COG, text=226, batch=2, size=(81, 768, 1360)),
    Blueprint("consisid", "ConsisIDTransformer3DModel", _COG_SMALL, text=226, batch=2, size=(49, 480, 720)),
    Blueprint("wan2.1-14b", _WANX, branches=2),
    Blueprint("wan2.1-1.3b", _WANX, _WAN_SMALL, branches=2, size=(81, 480, 832)),
    Blueprint("wan2.1-vace-14b", "WanVACETransformer3DModel", branches=2),
    # a segment, without guidance
    Blueprint(
        "wan2.2-animate-14b", "WanAnimateTransformer3DModel", _WITH_IMAGE, size=(77, 720, 1280), steps=20,
        references=1,
    ),
    Blueprint(
        "chronoedit-14b", "ChronoEditTransformer3DModel", {"in_channels": 36, "image_dim": 1280, **_WITH_IMAGE},
        branches=2, size=(29, 480, 832),
    ),
    Blueprint("skyreels-v2-14b", _SKYREELS_V2, _SKYREELS, branches=2, size=(97, 544, 960)),
    Blueprint("anyflow-14b", "AnyFlowTransformer3DModel", size=(81, 480, 832), steps=8),
    Blueprint("ltx-video-2b", _LTX, {}, _LTX_STRIDE, 128, batch=2, size=(161, 512, 704)),
    # the second stage, where the tokens are; guidance alone, without the two further calls of LTX-2.3
    Blueprint("ltx-2", _LTX2, {}, _LTX_STRIDE, 1024, batch=2, size=(121, 1024, 1536), steps=30),
    Blueprint("cosmos2-2b", "CosmosTransformer3DModel", _COSMOS2, branches=2, size=(93, 704, 1280), steps=35),
    Blueprint("cosmos3", "Cosmos3OmniTransformer", {}, _WIDE, 512, 2, size=(189, 720, 1280), steps=35),
    Blueprint(
        "kandinsky5-lite", "Kandinsky5Transformer3DModel", _KANDINSKY5, branches=2, size=(121, 512, 768)
    ),
    Blueprint("kandinsky6", "Kandinsky6Transformer3DModel", text=1024, branches=2, size=(121, 512, 768)),
    Blueprint(
        "minimax-h3", "MiniMaxH3Transformer3DModel", {}, _WIDE, size=(124, 768, 1344), spans=(1, 4, 4, 4, 4)
    ),
    Blueprint("motif-video-2b", "MotifVideoTransformer3DModel", _MOTIF, branches=2, size=(121, 736, 1280)),
    Blueprint(
        "mochi-1", "MochiTransformer3DModel", {}, (6, 8, 8), 256, batch=2, size=(163, 480, 848), steps=64
    ),
    Blueprint("helios-14b", "HeliosTransformer3DModel", branches=2, size=(33, 384, 640)),  # a chunk
    Blueprint(
        "easyanimate-5.1-12b", "EasyAnimateTransformer3DModel", _EASY, text=256, batch=2, size=(49, 1024, 1024)
    ),
    Blueprint(
        "allegro", "AllegroTransformer3DModel", batch=2, size=(88, 720, 1280), steps=100, spans=(4,)
    ),
    Blueprint("shapes-s", _HUNYUAN, SHAPES, (1, 2, 2), 24, 2, 1, (16, 32, 32), 20),
    Blueprint("shapes-m", _HUNYUAN, _SHAPES_M, (1, 2, 2), 24, 2, 1, (16, 64, 64), 20),
)  # fmt: skip
BLUEPRINTS = {blueprint.name: blueprint for blueprint in _ALL}
