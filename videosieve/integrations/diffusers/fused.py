"""Processors that compute QK-norm and rotary positions of q and k in one pass (`kernels.norm_rope`).

They stand in for diffusers' own processors of HunyuanVideo, CogVideoX and Wan, differ from them by rounding only, and
end in the same attention primitive, so that the seam re-binds them like any other. Video and text are written straight
into one sequence; diffusers joins them in a pass of its own.

diffusers rounds to the model's dtype after the norm, after its weight and after the rotation; here everything between
load and store is fp32.
"""

import sys
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.attention_processor import (
    CogVideoXAttnProcessor2_0,
    FusedCogVideoXAttnProcessor2_0,
)
from diffusers.models.normalization import RMSNorm
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoAttnProcessor2_0
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from torch import Tensor
from torch.nn import Module

from videosieve.errors import IntegrationError
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream, norm_rope
from videosieve.kernels.norm_rope.launch import refuse


class FusedHunyuanVideo(HunyuanVideoAttnProcessor2_0):
    """Double blocks join video and text, each with norms of its own; single blocks get them as two inputs too."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        text = 0 if encoder_hidden_states is None else encoder_hidden_states.shape[1]
        double = attn.add_q_proj is not None and encoder_hidden_states is not None
        if text and not double:
            hidden_states = torch.cat((hidden_states, encoder_hidden_states), dim=1)  # pyright: ignore[reportArgumentType]
        q, k, v = (_heads(to(hidden_states), attn) for to in (attn.to_q, attn.to_k, attn.to_v))
        rotation = _rotation(image_rotary_emb, q)
        if double:
            added: Any = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
            text_q, text_k, text_v = (_heads(to(encoder_hidden_states), attn) for to in added)
            v = torch.cat([v, text_v], dim=1)
            streams = [
                _stream(q, k, attn.norm_q, attn.norm_k, rotation),
                _stream(text_q, text_k, attn.norm_added_q, attn.norm_added_k, None),
            ]
        else:
            video = q.shape[1] - text
            streams = [_stream(q[:, :video], k[:, :video], attn.norm_q, attn.norm_k, rotation)]
            if text:
                streams.append(_stream(q[:, video:], k[:, video:], attn.norm_q, attn.norm_k, None))
        fused = norm_rope(streams)
        output = dispatch_attention_fn(
            fused.q.transpose(1, 2),
            fused.k.transpose(1, 2),
            v,
            attn_mask=attention_mask,
            dropout_p=0.0,
            is_causal=False,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        return _project_hunyuanvideo(attn, output.flatten(2, 3).to(q.dtype), encoder_hidden_states)


class FusedWan(WanAttnProcessor):
    """Video only; one norm across all heads. Cross-attention keeps diffusers' processor."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: Any = None,
    ) -> Tensor:
        del encoder_hidden_states  # of self-attention there is none
        if attn.fused_projections:
            q, k, v = attn.to_qkv(hidden_states).chunk(3, dim=-1)
        else:
            q, k, v = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        rotation = None
        if rotary_emb is not None:
            cos, sin = rotary_emb
            rotation = Rotation(cos[0, :, 0, 0::2], sin[0, :, 0, 1::2])
        q, k, v = (_heads(x, attn) for x in (q, k, v))
        fused = norm_rope([_stream(q, k, attn.norm_q, attn.norm_k, rotation, across_heads=True)])
        output = dispatch_attention_fn(
            fused.q.transpose(1, 2),
            fused.k.transpose(1, 2),
            v,
            attn_mask=attention_mask,
            dropout_p=0.0,
            is_causal=False,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        return attn.to_out[1](attn.to_out[0](output.flatten(2, 3).type_as(q)))


def copies_of_wan() -> list[type]:
    """Copies of Wan's processor in modules of their own, those that the installed diffusers has.

    Their code for self-attention is Wan's, line by line; SkyReels-V2's differs in cross-attention only.
    """
    places = {
        "transformer_wan_animate": "WanAttnProcessor",
        "transformer_chronoedit": "WanAttnProcessor",
        "transformer_skyreels_v2": "SkyReelsV2AttnProcessor",
    }
    found = []
    for module, name in places.items():
        try:
            found.append(getattr(import_module(f"diffusers.models.transformers.{module}"), name))
        except (ImportError, AttributeError):
            continue
    return found


class FusedCogVideoX(CogVideoXAttnProcessor2_0):
    """Text first, without rotation; the same norms for text and video."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        text = encoder_hidden_states.shape[1]
        joined = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        if attention_mask is not None:
            mask = attn.prepare_attention_mask(attention_mask, joined.shape[1], joined.shape[0])
            attention_mask = mask.view(joined.shape[0], attn.heads, -1, mask.shape[-1])
        q, k, v = (_heads(x, attn) for x in self._project(attn, joined))
        rotation = _rotation(image_rotary_emb, q)
        cut = 0 if rotation is None else text
        streams = [_stream(q[:, cut:], k[:, cut:], attn.norm_q, attn.norm_k, rotation)]
        if cut:
            streams.insert(0, _stream(q[:, :cut], k[:, :cut], attn.norm_q, attn.norm_k, None))
        fused = norm_rope(streams)
        output = F.scaled_dot_product_attention(
            fused.q, fused.k, v.transpose(1, 2), attn_mask=attention_mask, dropout_p=0.0, is_causal=False
        )
        output = attn.to_out[1](attn.to_out[0](output.transpose(1, 2).flatten(2, 3)))
        return output[:, text:], output[:, :text]

    def _project(self, attn: Any, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)


class FusedCogVideoXJoint(FusedCogVideoX, FusedCogVideoXAttnProcessor2_0):
    """After `fuse_qkv_projections()`: one projection for q, k and v."""

    def _project(self, attn: Any, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return attn.to_qkv(hidden_states).chunk(3, dim=-1)


FUSED: dict[type, type] = {
    HunyuanVideoAttnProcessor2_0: FusedHunyuanVideo,
    WanAttnProcessor: FusedWan,
    CogVideoXAttnProcessor2_0: FusedCogVideoX,
    FusedCogVideoXAttnProcessor2_0: FusedCogVideoXJoint,
    **dict.fromkeys(copies_of_wan(), FusedWan),
}


def fuse_processors(processors: list[Any], component: str) -> list[Any]:
    """The fused stand-ins for diffusers' own processors, each with the settings of its original.

    Args:
        processors: Of the self-attentions of one transformer.
        component: Name of the transformer, for messages.

    Returns:
        One stand-in per processor; the originals are not touched.

    Raises:
        IntegrationError: A processor is not one that diffusers itself gives to these models.
    """
    other = _other_make(processors)
    if other:
        raise IntegrationError(
            f"fused=True needs processors that diffusers itself gives to its models: "
            f"{', '.join(_name(cls) for cls in FUSED)}; {component} has {other}. Leave fused out to keep it"
        )
    stand_ins = []
    for processor in processors:
        stand_ins.append(object.__new__(FUSED[type(processor)]))
        stand_ins[-1].__dict__.update(processor.__dict__)
    return stand_ins


def why_not_fused(processors: list[Any], attention: Module, heads: int, head_dim: int) -> str | None:
    """Why these self-attentions are not fused unasked, or None.

    Args:
        processors: Of the self-attentions of one transformer.
        attention: One of the self-attentions; its weights tell device and dtype.
        heads: Attention heads.
        head_dim: Values per head.
    """
    other = _other_make(processors)
    if other:
        return f"there is nothing fused in place of {other}"
    weight = next(attention.parameters())
    if weight.device.type != "cuda":
        return f"the transformer is on {weight.device}, not on a CUDA device"
    probe = torch.empty(1, heads, 1, head_dim, dtype=weight.dtype, device=weight.device)
    return refuse([Stream(probe, probe)], None, None, False)


def _other_make(processors: list[Any]) -> str | None:
    """Name of the first processor that is not diffusers' own, or whose class another library has patched."""
    for cls in map(type, processors):
        if cls not in FUSED:
            return _name(cls)
        # A wrapped or exchanged `__call__` was defined elsewhere; a stand-in would leave it out silently.
        if getattr(cls.__call__, "__globals__", None) is not vars(sys.modules[cls.__module__]):
            return f"a patched {_name(cls)}"
    return None


def _name(cls: type) -> str:
    """With the module: three processors of diffusers are called WanAttnProcessor."""
    return f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"


def _heads(x: Tensor, attn: Any) -> Tensor:
    return x.unflatten(2, (attn.heads, -1))  # [batch, tokens, heads, head_dim]


def _rotation(tables: tuple[Tensor, Tensor] | None, like: Tensor) -> Rotation | None:
    """diffusers writes every angle twice, for both values of a pair."""
    if tables is None:
        return None
    cos, sin = (table.to(like.device) for table in tables)
    return Rotation(cos[:, 0::2], sin[:, 0::2])


def _stream(
    q: Tensor,
    k: Tensor,
    norm_q: Module | None,
    norm_k: Module | None,
    rotation: Rotation | None,
    across_heads: bool = False,
) -> Stream:
    """A stream of q and k [batch, tokens, heads, head_dim]; what the op cannot express, the norm's module computes."""
    q, q_norm = _norm(q, norm_q, across_heads)
    k, k_norm = _norm(k, norm_k, across_heads)
    return Stream(q.transpose(1, 2), k.transpose(1, 2), q_norm, k_norm, rotation)


def _norm(x: Tensor, module: Any, across_heads: bool) -> tuple[Tensor, HeadNorm | None]:
    if module is None:
        return x, None
    kind: Any = {RMSNorm: "rms", torch.nn.RMSNorm: "rms", torch.nn.LayerNorm: "layer"}.get(type(module))
    # Offloading and casting work by hooks around a module's forward: its weights are in place only inside.
    hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    if kind is None or module.eps is None or hooked:
        return (module(x.flatten(2)).view(x.shape) if across_heads else module(x)), None
    return x, HeadNorm(kind, module.eps, module.weight, getattr(module, "bias", None), across_heads)


def _project_hunyuanvideo(
    attn: Any, output: Tensor, encoder_hidden_states: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    if encoder_hidden_states is None:
        return output, None
    text = encoder_hidden_states.shape[1]
    video, text_output = output[:, : output.shape[1] - text], output[:, output.shape[1] - text :]
    if getattr(attn, "to_out", None) is not None:
        video = attn.to_out[1](attn.to_out[0](video))
    if getattr(attn, "to_add_out", None) is not None:
        text_output = attn.to_add_out(text_output)
    return video, text_output
