"""The models whose costs are known by name: configs as published, usual sizes and steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        text: Text tokens.
        branches: Forwards per step.
        batch: Batch elements per forward.
        size: Usual frames, height and width, pixels.
        steps: Usual denoising steps.
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

    def latents(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Latent frames, rows and columns of a video."""
        along, down, across = self.stride
        if min(frames, height, width) < 1 or (frames - 1) % along or height % down or width % across:
            raise ModelError(
                f"{self.name} makes 1 + a multiple of {along} frames of a height and width that {down} and {across} "
                f"divide, got {frames} frames of {height} × {width}"
            )
        return (frames - 1) // along + 1, height // down, width // across


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
# Configs as published with the models; defaults of diffusers' classes are HunyuanVideo, Wan 14B and VACE 14B.
_HUNYUAN, _COGVIDEOX, _WANX = (f"{name}Transformer3DModel" for name in ("HunyuanVideo", "CogVideoX", "Wan"))
_LTX, _LTX2, _LTX_STRIDE = "LTXVideoTransformer3DModel", "LTX2VideoTransformer3DModel", (8, 32, 32)
_ALL = (
    Blueprint("hunyuanvideo", _HUNYUAN, {"guidance_embeds": True}, text=256, size=(129, 720, 1280)),
    Blueprint("cogvideox-1.5-5b", _COGVIDEOX, _COG, text=226, batch=2, size=(81, 768, 1360)),
    Blueprint("wan2.1-14b", _WANX, branches=2),
    Blueprint("wan2.1-1.3b", _WANX, _WAN_SMALL, branches=2, size=(81, 480, 832)),
    Blueprint("wan2.1-vace-14b", "WanVACETransformer3DModel", branches=2),
    Blueprint("skyreels-v2-14b", "SkyReelsV2Transformer3DModel", _SKYREELS, branches=2, size=(97, 544, 960)),
    Blueprint("ltx-video-2b", _LTX, {}, _LTX_STRIDE, 128, batch=2, size=(161, 512, 704)),
    # the second stage, where the tokens are; guidance alone, without the two further calls of LTX-2.3
    Blueprint("ltx-2", _LTX2, {}, _LTX_STRIDE, 1024, batch=2, size=(121, 1024, 1536), steps=30),
    Blueprint("shapes-s", _HUNYUAN, SHAPES, (1, 2, 2), 24, 2, 1, (16, 32, 32), 20),
    Blueprint("shapes-m", _HUNYUAN, _SHAPES_M, (1, 2, 2), 24, 2, 1, (16, 64, 64), 20),
)
BLUEPRINTS = {blueprint.name: blueprint for blueprint in _ALL}
