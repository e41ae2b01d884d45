"""A diffusers pipeline over the shapes networks: HunyuanVideo's denoising loop, another text side and codec."""

from typing import Annotated, Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideoPipeline, HunyuanVideoTransformer3DModel
from diffusers.video_processor import VideoProcessor
from transformers import PreTrainedTokenizerFast

from videosieve.errors import PromptError, ShapeError
from videosieve.fields import Count, In, checked
from videosieve.finite import require_finite
from videosieve.frame_rate import FRAME_RATE
from videosieve.shapes.codec import ShapesCodec
from videosieve.shapes.model import Networks
from videosieve.shapes.text import ShapesTextEncoder
from videosieve.shapes.world.captions import check_prompt

GUIDANCE = 3.0  # binds colours and motions to the right object more often than 1.0; see the model card
_Frames = Annotated[int, In("[1, 64]", "must be in [1, 64] (16 is trained)")]
_Scale = Annotated[float, In("[0, inf)")]

Prompt = str | list[str]
Encoded = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class ShapesPipeline(HunyuanVideoPipeline):
    """Text to small videos of moving shapes; call it like any diffusers video pipeline.

    Args:
        text_encoder: Encodes captions.
        tokenizer: Closed vocabulary; see videosieve.shapes.world.captions.
        transformer: diffusers' own class.
        vae: The lossless codec.
        scheduler: Flow matching, Euler.
        saliency_layers: Layers where concepts show best, by saliency method; it is kept in the config.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    frame_rate = FRAME_RATE
    recipe = "sieve"  # what sparsify takes where nobody names a recipe

    def __init__(
        self,
        text_encoder: ShapesTextEncoder,
        tokenizer: PreTrainedTokenizerFast,
        transformer: HunyuanVideoTransformer3DModel,
        vae: ShapesCodec,
        scheduler: FlowMatchEulerDiscreteScheduler,
        saliency_layers: dict[str, list[int]] | None = None,
    ) -> None:
        # the parent's __init__ registers two text encoders; this model has one
        super(HunyuanVideoPipeline, self).__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            transformer=transformer,
            scheduler=scheduler,
        )
        self.register_to_config(saliency_layers=saliency_layers or {})
        self.vae_scale_factor_temporal = vae.temporal_compression_ratio
        self.vae_scale_factor_spatial = vae.spatial_compression_ratio
        self.video_processor = VideoProcessor(vae_scale_factor=self.vae_scale_factor_spatial)

    @classmethod
    def from_networks(cls, networks: Networks) -> "ShapesPipeline":
        """Wraps networks, for example of a model in training, without copying them."""
        return cls(
            networks.text_encoder,
            networks.tokenizer,
            networks.transformer,
            networks.codec,
            networks.scheduler,
        )

    # fewer arguments than the parent's, whose loop passes them by name
    def encode_prompt(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        prompt: Prompt | None,
        num_videos_per_prompt: int = 1,
        prompt_embeds: torch.Tensor | None = None,
        pooled_prompt_embeds: torch.Tensor | None = None,
        prompt_attention_mask: torch.Tensor | None = None,
        device: torch.device | None = None,
        **_: Any,
    ) -> Encoded:
        """Encodes captions, or passes embeddings through.

        Args:
            prompt: One caption or several; ignored where `prompt_embeds` is given.
            num_videos_per_prompt: Copies of each row.
            prompt_embeds: Token embeddings [batch, tokens, width].
            pooled_prompt_embeds: Their masked mean [batch, width].
            prompt_attention_mask: 1 for real tokens [batch, tokens].
            device: Where the result goes.

        Returns:
            Token embeddings, pooled embeddings and mask, padded at the tail.

        Raises:
            PromptError: If a word is unknown, or only some of the three embeddings are given.
        """
        device = device or self._execution_device
        if prompt_embeds is not None:
            if pooled_prompt_embeds is None or prompt_attention_mask is None:
                raise PromptError(
                    "prompt_embeds come with pooled_prompt_embeds and prompt_attention_mask (and so do the negative "
                    "ones); pass all three, as encode_prompt returns them"
                )
            return prompt_embeds, pooled_prompt_embeds, prompt_attention_mask
        prompts = [prompt] if isinstance(prompt, str) else list(prompt or [""])
        for text in prompts:
            check_prompt(text)
        tokens = self.tokenizer(prompts, padding="max_length", return_tensors="pt").to(device)
        encoded = self.text_encoder(tokens.input_ids, tokens.attention_mask)
        parts = (encoded.last_hidden_state, encoded.pooler_output, tokens.attention_mask)
        embeds, pooled, mask = (part.repeat_interleave(num_videos_per_prompt, dim=0) for part in parts)
        return embeds, pooled, mask

    def check_inputs(
        self,
        prompt: Prompt | None,
        prompt_2: Prompt | None,
        height: int,
        width: int,
        prompt_embeds: torch.Tensor | None = None,
        callback_on_step_end_tensor_inputs: list[str] | None = None,
        prompt_template: dict[str, Any] | None = None,
    ) -> None:
        """Refuses what the model cannot make, before anything is computed.

        Raises:
            PromptError: If a word is unknown, no prompt is given, or `prompt_2` is used.
            ShapeError: If height or width is no positive multiple of 4.
        """
        if height % 4 or width % 4 or min(height, width) < 4:
            raise ShapeError(
                f"height and width must be positive multiples of 4 (32 is trained); got {height=}, {width=}"
            )
        if prompt_2 is not None:
            raise PromptError("prompt_2 has no meaning here: a shapes model has one text encoder; use prompt")
        if isinstance(prompt, list) and not prompt:
            raise PromptError("prompt must be a caption or a non-empty list of captions; got []")
        # the parent asks for multiples of 16 of a large model; ours are checked above
        super().check_inputs(
            prompt, None, 16, 16, prompt_embeds, callback_on_step_end_tensor_inputs, prompt_template
        )
        for text in [prompt] if isinstance(prompt, str) else prompt or []:
            check_prompt(text)

    @torch.no_grad()
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        prompt: Prompt | None = None,
        negative_prompt: Prompt | None = None,
        height: int | None = None,
        width: int | None = None,
        num_frames: int = 16,
        num_inference_steps: int = 20,
        true_cfg_scale: float = GUIDANCE,
        **kwargs: Any,
    ) -> Any:
        """Makes videos.

        Args:
            prompt: One caption or several, in the model's words.
            negative_prompt: Captions to steer away from; default "" where `true_cfg_scale` > 1.
            height: Pixels, a multiple of 4; default: the size the model was trained at.
            width: Pixels, a multiple of 4.
            num_frames: 1 to 64; 16 is trained.
            num_inference_steps: Euler steps, >= 1.
            true_cfg_scale: Classifier-free guidance, >= 1; 1 computes no second branch and takes half the time.
            **kwargs: As in diffusers' HunyuanVideoPipeline (generator, latents, output_type, callbacks, ...).

        Returns:
            diffusers' HunyuanVideoPipelineOutput, or a tuple with return_dict=False.

        Raises:
            PromptError: If a caption or negative caption uses unknown words.
            ShapeError: If a size, frame count or step count is out of range.
            NumericsError: If the video holds NaN or infinity.
        """
        pixels = self.vae.sample_size
        num_frames = checked("num_frames", num_frames, _Frames, ShapeError)
        num_inference_steps = checked("num_inference_steps", num_inference_steps, Count, ShapeError)
        true_cfg_scale = checked("true_cfg_scale", true_cfg_scale, _Scale, ShapeError)
        if true_cfg_scale > 1 and kwargs.get("negative_prompt_embeds") is None:
            embeds = kwargs.get("prompt_embeds")
            rows = len(prompt) if isinstance(prompt, list) else 1 if embeds is None else len(embeds)
            negative_prompt = _one_per_prompt(rows, negative_prompt)
        named: dict[str, Any] = {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "height": pixels if height is None else checked("height", height, Count, ShapeError),
            "width": pixels if width is None else checked("width", width, Count, ShapeError),
            "num_frames": num_frames,
            "num_inference_steps": num_inference_steps,
            "true_cfg_scale": true_cfg_scale,
        }
        # diffusers carries latents and times on in the dtype of what the transformer returns: rounded to bf16, a time
        # would be that of another step.
        widened = self.transformer.register_forward_hook(_in_fp32)
        try:
            output = super().__call__(**named, **kwargs)
        finally:
            widened.remove()
        require_finite("the frames", output[0], "the weights are likely damaged: load the model again")
        return output


def _in_fp32(_module: Any, _arguments: Any, output: Any) -> Any:
    """The transformer's result in fp32, whatever the transformer computes in."""
    if isinstance(output, tuple):
        return tuple(x.float() if isinstance(x, torch.Tensor) else x for x in output)
    output.sample = output.sample.float()
    return output


def _one_per_prompt(rows: int, negative: Prompt | None) -> list[str]:
    texts = [negative or ""] * rows if isinstance(negative, str | None) else negative
    if len(texts) != rows:
        raise PromptError(f"negative_prompt must be one caption or one per prompt ({rows}); got {len(texts)}")
    for text in texts:
        check_prompt(text)
    return texts
