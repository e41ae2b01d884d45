"""A processor for HunyuanVideo-1.5 that never builds the mask of every token with every token.

diffusers' own makes a bool [batch, 1, tokens, tokens] in every layer, to say which rows are text padding: 12.9 GB at
720p and 121 frames, several times over. A bool [batch, 1, 1, tokens] says the same about keys, and the model reorders
its texts so that valid rows come first, so the router trims them and needs no mask at all. What differs is the output
of padded rows, which no valid row ever reads.
"""

import sys
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_hunyuan_video15 import HunyuanVideo15AttnProcessor2_0
from torch import Tensor


class UnmaskedHunyuanVideo15(HunyuanVideo15AttnProcessor2_0):
    """Projections, norms and rotation as diffusers has them; the mask has one row."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        q, k, v = (
            to(hidden_states).unflatten(2, (attn.heads, -1)) for to in (attn.to_q, attn.to_k, attn.to_v)
        )
        q, k = attn.norm_q(q), attn.norm_k(k)
        if image_rotary_emb is not None:
            q, k = _rotate(q, image_rotary_emb), _rotate(k, image_rotary_emb)
        text = 0 if encoder_hidden_states is None else encoder_hidden_states.shape[1]
        if text:
            added: Any = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
            text_q, text_k, text_v = (
                to(encoder_hidden_states).unflatten(2, (attn.heads, -1)) for to in added
            )
            text_q = text_q if attn.norm_added_q is None else attn.norm_added_q(text_q)
            text_k = text_k if attn.norm_added_k is None else attn.norm_added_k(text_k)
            q, k, v = (torch.cat(pair, dim=1) for pair in ((q, text_q), (k, text_k), (v, text_v)))
        if (
            self._parallel_config is not None
        ):  # a rank has a part of each text; the router knows what is padding
            attention_mask = None
        if attention_mask is not None:
            padding = (q.shape[1] - attention_mask.shape[1], 0)
            attention_mask = F.pad(attention_mask.bool(), padding, value=True)[:, None, None]
        output = dispatch_attention_fn(
            q, k, v, attn_mask=attention_mask, dropout_p=0.0, is_causal=False, backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )  # fmt: skip
        output = output.flatten(2, 3).to(q.dtype)
        if not text:
            return output, encoder_hidden_states
        video, text_output = output[:, :-text], output[:, -text:]
        if getattr(attn, "to_out", None) is not None:
            video = attn.to_out[1](attn.to_out[0](video))
        if getattr(attn, "to_add_out", None) is not None:
            text_output = attn.to_add_out(text_output)
        return video, text_output


def _rotate(x: Tensor, tables: Any) -> Any:
    return apply_rotary_emb(x, tables, sequence_dim=1)


UNMASKED: dict[type, type] = {HunyuanVideo15AttnProcessor2_0: UnmaskedHunyuanVideo15}


def without_square_mask(processor: Any) -> Any:
    """A stand-in that builds no mask of every token with every token, with the settings of the original.

    Args:
        processor: Of a self-attention; it is not touched.

    Returns:
        The stand-in, or the processor itself where diffusers' own code builds no such mask, or where somebody has
        patched it: what a patch does would be left out silently.
    """
    cls = type(processor)
    patched = getattr(cls.__call__, "__globals__", None) is not vars(sys.modules[cls.__module__])
    if cls not in UNMASKED or patched:
        return processor
    stand_in = object.__new__(UNMASKED[cls])
    stand_in.__dict__.update(processor.__dict__)
    return stand_in
