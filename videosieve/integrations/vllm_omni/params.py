"""From what vLLM-Omni hands over to the parameters of `attend_bshd`, and the call itself."""

import logging
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from videosieve.errors import IntegrationError
from videosieve.methods import METHODS

LOG = logging.getLogger("videosieve")

OPTIONS = ("min_tokens", "dense_steps", "dense_layers")
"""Options of a recipe that a person may write beside the fields of the method."""
PLACES = ("prefix", "suffix", "layer", "layers", "branch", "grid")
"""Where a call is, as far as a person says it; the rest of `attend_bshd`'s comes from the host."""

HOST = (
    "denoise_step_idx", "total_denoise_steps", "latent_shape", "patch_size", "total_latent_frames", "patches_per_frame",
    "kv_cache_dtype", "cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k", "valid_kv_length",
    "attention_mask_mode", "npu_attn_varlen", "laser_input_scale", "backend", "method",
)  # fmt: skip
"""What the host may add, whether it means something here or not."""


def own_params(method: str, params: Mapping[str, Any], strict: bool = False) -> dict[str, Any]:
    """What a person has written of a method, for `attend_bshd`; a key that nobody knows is logged once and left out.

    Args:
        method: Name of the method.
        params: Static and per-forward parameters, merged.
        strict: Whether a person has written all of them, so that a key that nobody knows is an error.

    Returns:
        `recipe` with the method, its fields and `OPTIONS`, and the keys of `PLACES`. Without `layers`, which the host
        does not say, no layer is dense unless a person asks for it.

    Raises:
        IntegrationError: There is no such method, or no such key where they are strict.
    """
    if method not in METHODS:
        raise IntegrationError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    own = {field.name for field in fields(METHODS[method])} | set(OPTIONS)  # type: ignore[arg-type]
    known = own | set(PLACES)
    for key in params:
        if key not in known and strict:
            raise IntegrationError(f"method {method!r} has no {key!r}; there are {', '.join(sorted(known))}")
        if key not in known and key not in HOST:
            _say_once(f"vLLM-Omni handed over {key!r}, which method {method!r} does not have; it is left out")
    recipe = {"method": method, **({} if "layers" in params else {"dense_layers": 0})}
    recipe |= {key: value for key, value in params.items() if key in own}
    return {"recipe": recipe, **{key: value for key, value in params.items() if key in PLACES}}


def step_params(step: Any, steps: Any) -> dict[str, int]:
    """Step and number of steps, where the host knows both; per-sample tensors count by their first entry."""
    if step is None or steps is None:
        return {}
    told, count = _first(step), _first(steps)
    return {"step": min(told, count - 1), "steps": count} if count > 0 and told >= 0 else {}


def grid_params(latent_shape: Any, patch_size: Any) -> dict[str, tuple[int, int, int]]:
    """The token grid of latents (frames, rows, columns) and a patch, as the host counts it; empty where unknown."""
    if latent_shape is None or patch_size is None:
        return {}
    sides, patch = _triple(latent_shape), _triple(patch_size)
    if min(patch) < 1:
        return {}
    frames, height, width = (side // part for side, part in zip(sides, patch, strict=True))
    return {"grid": (frames, height, width)}


def attend(q: Tensor, k: Tensor, v: Tensor, params: dict[str, Any], scale: float | None) -> Tensor:
    """`attend_bshd` with as many heads of keys as of queries; dense where steps count and the host does not say which.

    Args:
        q: Queries [batch, tokens, heads, head_dim].
        k: Keys [batch, tokens, heads or a divisor of them, head_dim].
        v: Values, like k.
        params: For `attend_bshd`.
        scale: Factor on every q·k; None means head_dim ** -0.5.

    Returns:
        [batch, tokens, heads, head_dim].
    """
    if q.shape[1] != k.shape[1]:
        return attend_plain(q, k, v, None, scale)
    groups, rest = divmod(q.shape[2], k.shape[2])
    if groups > 1 and not rest:
        k, v = (x.repeat_interleave(groups, dim=2) for x in (k, v))
    if "step" not in params and params["recipe"].get("dense_steps") != 0:
        say_dense("the host does not say the step, as in its warm-up; dense_steps=0 does without")
        return attend_plain(q, k, v, None, scale)
    return import_module("videosieve.integrations.plain").attend_bshd(q, k, v, params, softmax_scale=scale)


def attend_plain(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, causal: bool = False
) -> Tensor:
    """Dense attention of any shape; tensors as for `attend`, a mask [batch, keys] or as torch takes it."""
    if mask is not None and mask.ndim == 2:
        mask = mask.bool()[:, None, None]
    heads = (x.transpose(1, 2) for x in (q, k, v))
    grouped = q.shape[2] != k.shape[2]
    output = F.scaled_dot_product_attention(
        *heads, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
    )
    return output.transpose(1, 2).contiguous()


def say_dense(reason: str) -> None:
    """Log, once a process, why calls stay dense."""
    _say_once(f"dense under vLLM-Omni: {reason}")


_SAID: set[str] = set()


def _say_once(sentence: str) -> None:
    if sentence not in _SAID:
        _SAID.add(sentence)
        LOG.warning(sentence)


def _first(value: Any) -> int:
    return int(value.reshape(-1)[0]) if isinstance(value, Tensor) else int(value)


def _triple(value: Any) -> tuple[int, int, int]:
    flat = torch.as_tensor(value).reshape(-1)[:3].tolist()
    return int(flat[0]), int(flat[1]), int(flat[2])
