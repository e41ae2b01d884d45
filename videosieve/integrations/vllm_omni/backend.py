"""An attention backend for vLLM-Omni without its `SPARSE_ATTN`: layer, step, branch and video are known.

Imported by the host alone, after `register` has named it. Options come from the backend's `extra`: the method, its
fields, and what `attend_bshd` takes (`dense_steps`, `dense_layers`, `min_tokens`).
"""

import re
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import IntegrationError
from videosieve.integrations.vllm_omni.params import (
    attend,
    attend_plain,
    own_params,
    say_dense,
    step_params,
)
from videosieve.recipe import Recipe

_HOST: Any = import_module("vllm_omni.diffusion.attention.backends.abstract")
_CONTEXT: Any = import_module("vllm_omni.diffusion.forward_context")


class VideosieveBackend(_HOST.AttentionBackend):
    """What the host asks of a backend before it builds a layer."""

    accept_output_buffer = False

    @classmethod
    def supports_attention_mask(cls, attention_spec: object | None = None) -> bool:
        """Masks are respected: trimmed where they are padding behind the video, else attention stays dense."""
        del attention_spec
        return True

    @staticmethod
    def get_name() -> str:
        """As logs say it."""
        return "VIDEOSIEVE"

    @staticmethod
    def get_impl_cls() -> type:
        """What attends."""
        return VideosieveImpl

    @staticmethod
    def get_metadata_cls() -> type:
        """The host's own."""
        return _HOST.AttentionMetadata

    @staticmethod
    def get_builder_cls() -> type:
        """There is none: the host's attention layer makes the metadata."""
        raise NotImplementedError("VIDEOSIEVE has no metadata builder")

    @staticmethod
    def get_supported_head_sizes() -> list[int]:
        """Any."""
        return []


class VideosieveImpl(_HOST.AttentionImpl):
    """One attention layer of the host."""

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        softmax_scale: float,
        causal: bool = False,
        num_kv_heads: int | None = None,
        prefix: str = "",
        qkv_layout: str | None = None,
        backend_kwargs: dict[str, Any] | None = None,
        **extra_impl_args: Any,
    ) -> None:
        del num_heads, head_size, num_kv_heads, extra_impl_args
        options = dict(backend_kwargs or {})
        options |= options.pop("params", None) or {}
        method = options.pop("method", "svg")
        self._options = own_params(method, options, strict=True)
        Recipe.of(method, **{key: value for key, value in self._options["recipe"].items() if key != "method"})
        if qkv_layout not in (None, "BSND"):
            raise IntegrationError(
                f"{prefix} lays its tensors out as {qkv_layout}; give its role a dense backend"
            )
        self._scale, self._causal, self._prefix = softmax_scale, causal, prefix
        numbers = re.findall(r"(?:^|\.)\w*blocks?\.(\d+)(?:\.|$)", prefix)
        self._layer = {"layer": int(numbers[-1])} if numbers else {}

    @torch.compiler.disable(recursive=True)
    def forward(self, query: Tensor, key: Tensor, value: Tensor, attn_metadata: Any = None) -> Tensor:
        """Attend; tensors [batch, tokens, heads, head_dim]."""
        q, k, v, metadata = query, key, value, attn_metadata
        mask = getattr(metadata, "attn_mask", None)
        video = getattr(metadata, "video_layout", None)
        reason = self._why_dense(q, k, metadata, mask, video)
        if reason:
            if reason != "cross-attention":
                say_dense(f"{self._prefix or 'an attention'}: {reason}")
            return attend_plain(q, k, v, mask, self._scale, self._causal)
        params = self._options | self._layer | _moment()
        used = q.shape[1]
        if video is not None:
            frames, height, width = video.latent_grid
            used = (video.prefix_len or 0) + frames * height * width
            params |= {"grid": (frames, height, width), "prefix": video.prefix_len or 0}
        part = attend(q[:, :used], k[:, :used], v[:, :used], params, self._scale)
        if used == q.shape[1]:
            return part
        output = q.new_zeros(q.shape)  # padding: no row of the video reads it
        output[:, :used] = part
        return output

    def _why_dense(self, q: Tensor, k: Tensor, metadata: Any, mask: Tensor | None, video: Any) -> str:
        """Why a call does not go to the method, or nothing."""
        if q.shape[1] != k.shape[1]:
            return "cross-attention"
        if self._causal or getattr(metadata, "full_attn_spans", None) is not None:
            return "causal attention"
        if video is None:
            return "a mask without a video layout that says what it means" if mask is not None else ""
        return _misfit(video, q.shape[1], mask is not None)


def _misfit(video: Any, tokens: int, masked: bool) -> str:
    """Why a video layout does not describe a sequence, or nothing."""
    if len(getattr(video, "video_spans", ())) > 0:
        return "several videos in one sequence"
    if video.latent_grid is None:
        return "a video layout without a grid"
    frames, height, width = video.latent_grid
    used = (video.prefix_len or 0) + frames * height * width
    if used > tokens or (used < tokens and not masked):
        return f"the layout has {used} tokens and the sequence {tokens}"
    return ""


def _moment() -> dict[str, Any]:
    """Step and branch of the running forward, as far as the host says them."""
    if not _CONTEXT.is_forward_context_available():
        return {}
    context = _CONTEXT.get_forward_context()
    found: dict[str, Any] = step_params(
        getattr(context, "denoise_step_idx", None), getattr(context, "total_denoise_steps", None)
    )
    branch = getattr(context, "cfg_branch", None)
    return found | ({"branch": str(branch)} if branch else {})
