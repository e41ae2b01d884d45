"""Functions for vLLM-Omni's `SPARSE_ATTN`, one a method: entry points of the group `vllm_omni.sparse_attn`.

    --diffusion-attention-config '{"per_role": {"self": {"backend": "SPARSE_ATTN",
        "extra": {"backend": "videosieve_svg", "params": {"density": 0.3, "dense_steps": 0.25}}}}}'

The host calls `fn(query, key, value, params, is_causal=…, softmax_scale=…)`, tensors [batch, tokens, heads, head_dim].
It says neither layer nor guidance branch, so methods that remember something between steps are not offered here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import IntegrationError
from videosieve.integrations.vllm_omni.params import attend, grid_params, own_params, step_params


def _function(method: str) -> Any:
    @torch.compiler.disable(recursive=True)
    def attend_sparse(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        params: dict[str, Any],
        is_causal: bool = False,
        softmax_scale: float | None = None,
    ) -> Tensor:
        if is_causal:
            raise IntegrationError(
                f"videosieve_{method} chooses among all tokens of a video, and this attention is causal; give its role "
                f"a dense backend"
            )
        asked = own_params(method, params)
        asked |= step_params(params.get("denoise_step_idx"), params.get("total_denoise_steps"))
        if "grid" not in asked:
            asked |= grid_params(params.get("latent_shape"), params.get("patch_size"))
        return attend(query, key, value, asked, softmax_scale)

    named: Callable[..., Tensor] = attend_sparse
    named.__name__ = named.__qualname__ = f"videosieve_{method}"
    named.__doc__ = f"Self-attention by the method {method!r}, as vLLM-Omni calls it."
    named.capabilities = {"supports_attention_mask": False, "supports_full_attn_spans": False}  # type: ignore[attr-defined]
    return named


videosieve_svg = _function("svg")
videosieve_xattention = _function("xattention")
videosieve_radial = _function("radial")
videosieve_sparge = _function("sparge")
videosieve_minference = _function("minference")
videosieve_sliding_tile = _function("sliding_tile")
videosieve_draft = _function("draft")
