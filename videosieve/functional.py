"""The plain function under everything: sparse attention on tensors, no pipeline needed."""

from typing import Any

from torch import Tensor

from videosieve.call import AttentionCall, AttentionResult
from videosieve.errors import RecipeError
from videosieve.fields import checked
from videosieve.forward import Site
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import LONG_SIDE
from videosieve.methods import Method, Selection, ask, attend_selected, make_method


def attention(  # noqa: PLR0913 - the one plain function; everything after `method` is optional
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: VideoLayout,
    method: str | Method = "svg",
    *,
    scale: float | None = None,
    site: Site | None = None,
    backend: str | None = None,
    check_finite: bool = False,
    **parameters: Any,
) -> AttentionResult:
    """Self-attention of a video sequence, computed only where a method says it matters.

    Args:
        q: Queries [batch, heads, tokens, head_dim], after QK-norm and RoPE, without padding tokens.
        k: Keys, same shape.
        v: Values, same shape.
        layout: Which token is which; must add up to `tokens`.
        method: A method or its name; see `videosieve.METHODS`.
        scale: Factor on every q·k; head_dim ** -0.5 where left out.
        site: Layer, step and branch, for methods that look at them.
        backend: Implementation of block-sparse attention; None takes the fastest that can run the call.
        check_finite: Check q, k and v for NaN and infinity first, and say where they are.
        **parameters: Fields of the method, where it is given by name: `density=0.3`.

    Returns:
        Output, LSE over the kept keys (fp32) and the mask of kept blocks. Methods that carry state from step to step
        start from none at every call; use `sparsify` or a `Run` for those.

    Raises:
        ShapeError: The tensors disagree with one another or with the layout, are no floating-point numbers, or the
            method leaves a query without keys.
        RecipeError: Unknown method or parameter, or a value outside its range.
        BackendError: No implementation, or not the one asked for, can run the call.
        NumericsError: `check_finite` found NaN or infinity, or the scale is neither None nor finite.
    """
    if isinstance(method, Method) and parameters:
        raise RecipeError(
            f"give parameters to the method itself, not beside it: got {method} and {sorted(parameters)}"
        )
    chosen = make_method(method, **parameters) if isinstance(method, str) else method
    checked("method", chosen, Method, RecipeError)
    call = AttentionCall(q, k, v, layout, Site() if site is None else site, scale)
    if check_finite:
        call.check_finite()
    selection, _ = ask(chosen, call, None)
    return attend_selected(call, selection or _everything(call), backend)


def _everything(call: AttentionCall) -> Selection:
    return Selection(BlockMask.dense(call.tokens, BlockSize(LONG_SIDE, LONG_SIDE), device=call.q.device))
