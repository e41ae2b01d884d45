"""The mask function: one row stands for the causal mask of a whole forward, batch × keys instead of × queries.

transformers builds masks by the name of the attention. Ours asks its own `sdpa_mask` for the last query alone. That row
fixes where the queries sit, left padding and the unwritten end of a static cache. Anything else than plain causal masks
(windows, packed sequences, images or-ed in) stays as transformers builds it.
"""

from typing import Any

import torch
from torch import Tensor

NAME = "videosieve"
"""Our name in transformers' two registries. Names with "flash", "/" or "sdpa" in them have other meanings there."""

ENDS_HERE, OWN_IS_LAST = torch.bool, torch.uint8
"""dtype of a row: its last true key is the last query's own, or its last column is (right padding may hide it)."""


def last_row_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: int = 0,
    mask_function: Any = None,
    attention_mask: Tensor | None = None,
    use_vmap: bool = False,
    **options: Any,
) -> Tensor | None:
    """What transformers asks a mask function for.

    Args:
        batch_size: Sequences.
        q_length: Query tokens.
        kv_length: Key tokens, an unwritten end of a static cache included.
        q_offset: Key of the first query, a number or a tensor.
        kv_offset: First key.
        mask_function: transformers' rule for a pair; `causal_mask_function` or another.
        attention_mask: Padding [batch, tokens] or None.
        use_vmap: Whether the rule is a custom one.
        **options: What else transformers hands over.

    Returns:
        None where everything is plainly causal; [batch, 1, 1, keys] where one row says it all, see `ENDS_HERE` and
        `OWN_IS_LAST`; else bool [batch, 1, queries, keys] as transformers makes it.
    """
    from transformers import masking_utils

    sdpa_mask: Any = masking_utils.sdpa_mask  # typed as if every keyword had to be spelled out

    common: dict[str, Any] = {"batch_size": batch_size, "kv_length": kv_length, "kv_offset": kv_offset}
    common |= {
        "mask_function": mask_function,
        "attention_mask": attention_mask,
        "use_vmap": use_vmap,
    } | options
    tracing = torch.compiler.is_compiling()
    if isinstance(q_offset, Tensor) and not tracing and q_length > 1:
        q_offset = int(q_offset)  # a static cache counts in a tensor; one look a forward
    plain = (
        mask_function is masking_utils.causal_mask_function
        and not use_vmap
        and options.get("local_size") is None
    )
    if not plain or q_length == 1 or kv_offset or not isinstance(q_offset, int):
        return sdpa_mask(q_length=q_length, q_offset=q_offset, **common)
    if q_offset == 0 and (attention_mask is None or (not tracing and _all_there(attention_mask, q_length))):
        return None
    ends = q_offset + q_length
    if (
        attention_mask is not None
        and kv_length != ends
        and (tracing or not bool(attention_mask[:, ends - 1].all()))
    ):
        return sdpa_mask(q_length=q_length, q_offset=q_offset, **common)
    row: Any = sdpa_mask(q_length=1, q_offset=ends - 1, **common | {"allow_is_causal_skip": False})
    return row.to(OWN_IS_LAST) if kv_length == ends else row


def _all_there(attention_mask: Tensor, tokens: int) -> bool:
    return attention_mask.ndim == 2 and bool(attention_mask[:, :tokens].all())


def is_row(mask: Tensor | None) -> bool:
    """Whether a mask is one of our rows, and not a mask with a row for every query."""
    return (
        mask is not None and mask.ndim == 4 and mask.shape[2] == 1 and mask.dtype in (ENDS_HERE, OWN_IS_LAST)
    )


def expand_row(row: Tensor, queries: int) -> Tensor:
    """The whole mask that a row stands for.

    Args:
        row: [batch, 1, 1, keys], as `last_row_mask` returns.
        queries: Query tokens.

    Returns:
        bool [batch, 1, queries, keys].
    """
    keys = torch.arange(row.shape[-1], device=row.device)
    seen = row.bool()
    if row.dtype == OWN_IS_LAST:
        first = torch.full(row.shape[:1], row.shape[-1] - queries, device=row.device)
    else:
        first = torch.where(seen[:, 0, 0], keys, -1).amax(-1) + 1 - queries
    own = first[:, None] + torch.arange(queries, device=row.device)
    return seen & (keys <= own.unsqueeze(-1)).unsqueeze(1)
