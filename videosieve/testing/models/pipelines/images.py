"""Tiny random image pipelines, built in code without any download: 16 × 24 pixels, 4 × 6 tokens.

Each has the real classes of diffusers, its own kind of VAE, tokenizers and text encoders; where the model wants a large
language model, a tiny Llama stands in for it, and the template around a prompt is short.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers as installed
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    LlamaConfig,
    LlamaModel,
    T5Config,
    T5EncoderModel,
)

from videosieve.testing.pipelines import T5_SIZES, clip_text, tokenizer

diffusers: Any = installed  # older releases lack some classes
HEIGHT, WIDTH = 16, 24
GRID = (4, 6)
_HEADS: dict[str, Any] = {"attention_head_dim": 16, "num_attention_heads": 2}
_CHAT = (
    "{% for one in messages %}{{ one.content if one.content is string else one.content[0].text }} {% endfor %}"
    "{% if add_generation_prompt %}over the{% endif %}"
)


@dataclass(frozen=True)
class ImageCase:
    """A tiny image pipeline and how it is called.

    Attributes:
        cls: The pipeline's class in diffusers; an older release may lack it.
        build: Makes the pipeline.
        call: Arguments of a call with guidance where the pipeline has any, beside those of `call_of`.
        plain: Arguments that turn guidance off.
    """

    cls: str
    build: Callable[[], Any]
    call: dict[str, Any]
    plain: dict[str, Any]

    @property
    def is_there(self) -> bool:
        """Whether the installed diffusers has the class."""
        return hasattr(installed, self.cls)

    def make(self) -> Any:
        """The pipeline, the same every time, without a progress bar."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            pipe = self.build()
            for parameter in pipe.transformer.parameters():
                if not parameter.any():  # gates and modulations that begin at 0
                    torch.nn.init.normal_(parameter, std=0.2)
        pipe.transformer.eval()
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """Of a quick call with 3 steps."""
        return {
            "prompt": "a red cat runs", "height": HEIGHT, "width": WIDTH, "num_inference_steps": 3,
            "generator": torch.Generator().manual_seed(0), "output_type": "pt", **self.call, **changes,
        }  # fmt: skip


def _vae(cls: str = "AutoencoderKL") -> Any:
    sizes: dict[str, Any] = {
        "block_out_channels": (4, 4), "latent_channels": 4, "norm_num_groups": 2, "layers_per_block": 1,
        "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    }  # fmt: skip
    scales = {"shift_factor": 0.1, "scaling_factor": 0.4} if cls == "AutoencoderKL" else {}
    return getattr(diffusers, cls)(**sizes, **scales).eval()


def _flow(**options: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0, **options)


def _t5() -> T5EncoderModel:
    return T5EncoderModel(T5Config(**T5_SIZES)).eval()


def _llama() -> LlamaModel:
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=128, pad_token_id=0, eos_token_id=1, bos_token_id=3,
    )  # fmt: skip
    return LlamaModel(config).eval()


def _chat_tokenizer(**changes: Any) -> Any:
    made = tokenizer()
    made.chat_template = _CHAT
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def flux() -> Any:
    """Flux.1 dev."""
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, **_HEADS, joint_attention_dim=32,
        pooled_projection_dim=8, guidance_embeds=True, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return diffusers.FluxPipeline(
        scheduler=_flow(), vae=_vae(), text_encoder=clip_text(), tokenizer=tokenizer(), text_encoder_2=_t5(),
        tokenizer_2=tokenizer(), transformer=transformer,
    )  # fmt: skip


def chroma() -> Any:
    """Chroma."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers imports its own class by an old name
        transformer = diffusers.ChromaTransformer2DModel(
            in_channels=16, num_layers=2, num_single_layers=2, **_HEADS, joint_attention_dim=32,
            axes_dims_rope=(4, 4, 8), approximator_num_channels=16, approximator_hidden_dim=16, approximator_layers=1,
        )  # fmt: skip
    return diffusers.ChromaPipeline(
        scheduler=_flow(), vae=_vae(), text_encoder=_t5(), tokenizer=tokenizer(), transformer=transformer
    )


def flux2() -> Any:
    """Flux.2 dev, with text padded on the left as its tokenizer does."""
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, **_HEADS, joint_attention_dim=32,
        timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4),
    )  # fmt: skip
    vae = _vae("AutoencoderKLFlux2")
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    pipe = diffusers.Flux2Pipeline(
        scheduler=_flow(), vae=vae, text_encoder=_llama(), tokenizer=_chat_tokenizer(padding_side="left"),
        transformer=transformer,
    )  # fmt: skip
    pipe.system_message = "the sun sleeps"
    return pipe


def stable_diffusion_3() -> Any:
    """Stable Diffusion 3.5 medium: QK-norm, and a second attention over the image alone."""
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=12, in_channels=4, out_channels=4, num_layers=3, **_HEADS, joint_attention_dim=32,
        caption_projection_dim=32, pooled_projection_dim=16, pos_embed_max_size=16, qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )  # fmt: skip
    config = CLIPTextConfig(
        vocab_size=32, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=8, pad_token_id=0, eos_token_id=1, bos_token_id=3,
    )  # fmt: skip
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer, scheduler=_flow(), vae=_vae(),
        text_encoder=CLIPTextModelWithProjection(config).eval(), tokenizer=tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(config).eval(), tokenizer_2=tokenizer(),
        text_encoder_3=_t5(), tokenizer_3=tokenizer(),
    )  # fmt: skip


def _with_template(pipe: Any) -> Any:
    pipe.prompt_template_encode = "the sun over {} sleeps"
    pipe.prompt_template_encode_start_idx = 3
    return pipe


def qwen() -> Any:
    """Qwen-Image."""
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=3, **_HEADS, joint_attention_dim=16,
        axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1, 1], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.1, 0.0, -0.1, 0.2], latents_std=[1.0, 0.5, 2.0, 1.5],
    ).eval()  # fmt: skip
    return _with_template(
        diffusers.QwenImagePipeline(
            scheduler=_flow(), vae=vae, text_encoder=_llama(), tokenizer=tokenizer(), transformer=transformer
        )
    )


def hunyuanimage() -> Any:
    """HunyuanImage 2.1 with a second text for glyphs; its guider is on."""
    transformer = diffusers.HunyuanImageTransformer2DModel(
        in_channels=4, out_channels=4, **_HEADS, num_layers=2, num_single_layers=2, num_refiner_layers=1, mlp_ratio=2.0,
        patch_size=(1, 1), text_embed_dim=16, text_embed_2_dim=32, rope_axes_dim=(8, 8),
    )  # fmt: skip
    vae = diffusers.AutoencoderKLHunyuanImage(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(32, 32, 32), layers_per_block=1,
        spatial_compression_ratio=4, sample_size=16, scaling_factor=0.7,
    ).eval()  # fmt: skip
    guider = diffusers.AdaptiveProjectedMixGuidance(guidance_scale=3.5)
    pipe = diffusers.HunyuanImagePipeline(
        scheduler=_flow(), vae=vae, text_encoder=_llama(), tokenizer=tokenizer(), text_encoder_2=_t5(),
        tokenizer_2=tokenizer(), transformer=transformer, guider=guider,
    )  # fmt: skip
    pipe.tokenizer_max_length = pipe.tokenizer_2_max_length = 16
    return _with_template(pipe)


def z_image() -> Any:
    """Z-Image; guidance in one batch, the conditional half first."""
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=3, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
        axes_dims=[4, 4, 8], axes_lens=[256, 32, 32],
    )  # fmt: skip
    return diffusers.ZImagePipeline(
        scheduler=_flow(),
        vae=_vae(),
        text_encoder=_llama(),
        tokenizer=_chat_tokenizer(),
        transformer=transformer,
    )


_SHORT = {"max_sequence_length": 16}
IMAGE_CASES = {
    "flux": ImageCase(
        "FluxPipeline",
        flux,
        {**_SHORT, "true_cfg_scale": 2.0, "negative_prompt": "sea"},
        {"true_cfg_scale": 1.0},
    ),
    "chroma": ImageCase("ChromaPipeline", chroma, {**_SHORT, "guidance_scale": 3.0}, {"guidance_scale": 1.0}),
    "flux2": ImageCase("Flux2Pipeline", flux2, {**_SHORT, "text_encoder_out_layers": (1, 2)}, {}),
    "sd3": ImageCase(
        "StableDiffusion3Pipeline",
        stable_diffusion_3,
        {**_SHORT, "guidance_scale": 3.0},
        {"guidance_scale": 1.0},
    ),
    "qwen": ImageCase(
        "QwenImagePipeline", qwen, {"true_cfg_scale": 2.0, "negative_prompt": "sea"}, {"true_cfg_scale": 1.0}
    ),
    "hunyuanimage": ImageCase("HunyuanImagePipeline", hunyuanimage, {}, {}),
    "z-image": ImageCase(
        "ZImagePipeline", z_image, {**_SHORT, "guidance_scale": 3.0}, {"guidance_scale": 0.0}
    ),
}
