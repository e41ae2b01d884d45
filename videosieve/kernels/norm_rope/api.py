"""QK-norm, rotary positions and token order in one pass: documentation and checks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.kernels.arguments import check_heads, check_order
from videosieve.kernels.norm_rope.implementations import run
from videosieve.kernels.norm_rope.operator import compiled
from videosieve.kernels.norm_rope.streams import NormRope, Stream


def norm_rope(
    streams: Sequence[Stream],
    *,
    order: Tensor | None = None,
    heads: Tensor | None = None,
    fp8: bool = False,
    backend: str | None = None,
) -> NormRope:
    """Normalise q and k, rotate them by their positions, join the streams: one read and one write of q and k.

    Statistics, factors and rotation are computed in fp32 and rounded once; models that round between the steps differ
    from it by those roundings.

    Args:
        streams: Stretches of the sequence, in sequence order: [text, video] for CogVideoX, [video, text] for
            HunyuanVideo, [video] for Wan. They share batch, heads, head_dim, dtype and device.
        order: Token order of the result, as for `reorder_tokens`: int64 gather index [tokens], or
            [batch|1, heads|1, tokens] for an order per head. It must be a permutation, which is looked at on the CPU
            only. None keeps the order.
        heads: bool [batch|1, heads|1]; heads whose tokens are put in order. None means all.
        fp8: Whether to return q and k in float8_e4m3fn as well, with one scale per token and head. Not one per block of
            tokens: with an order, the tokens of a block come from far apart.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        q and k of all tokens.

    Raises:
        ShapeError: Streams do not fit together, or the order does not fit them.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    order = _check(streams, order, heads, fp8)
    if torch.compiler.is_compiling():
        return compiled(streams, order, heads, fp8, backend)
    return run(streams, order, heads, fp8, backend)


def _check(streams: Sequence[Stream], order: Tensor | None, heads: Tensor | None, fp8: bool) -> Tensor | None:
    """Returns the order, which the implementations may follow."""
    if not isinstance(streams, Sequence) or not all(isinstance(s, Stream) for s in streams):
        raise ShapeError(f"streams must be a sequence of Stream, got {type(streams).__name__}")
    if not streams:
        raise ShapeError("norm_rope needs at least one stream, got none")
    if not isinstance(fp8, bool):
        raise ShapeError(f"fp8 is True or False, got {fp8!r}")
    shapes = {(s.q.shape[0], s.q.shape[1], s.q.shape[3], s.q.dtype, s.q.device) for s in streams}
    if len(shapes) > 1:
        raise ShapeError(
            f"streams must share batch, heads, head_dim, dtype and device, got {sorted(map(str, shapes))}"
        )
    if heads is not None and order is None:
        raise ShapeError("heads says which heads the order is for, so it needs an order; got none")
    first, tokens = streams[0].q, sum(s.q.shape[2] for s in streams)
    check_heads(heads, first)
    # A view with as many tokens as all streams have together; no memory is touched.
    return check_order("order", order, first[:, :, :1].expand(-1, -1, tokens, -1))
