"""What a method answers, looked at before anything is computed from it.

A method is code that others write. One that keeps nothing for some query would give zeros that look like a very fast
result, and one that forgets the state would fail far from its own lines.
"""

from typing import Any

from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError, ShapeError
from videosieve.kernels.triton_support import debugging
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.kept_blocks import KeptBlocks
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.base import Method, Selection, State, TokenOrder


def ask(method: Method, call: AttentionCall, state: State) -> tuple[Selection | None, State]:
    """`method.select`, its answer checked.

    Whether every query keeps a key is looked at on the CPU only: elsewhere it would make the host wait for the device
    at every call. VIDEOSIEVE_DEBUG looks there too.

    Args:
        method: What decides.
        call: The attention call.
        state: What the method handed back last time.

    Returns:
        Selection and state, as the method gave them.

    Raises:
        RecipeError: The answer is not a pair of a Selection or None and a state.
        ShapeError: Some query keeps no key, or the method is not for calls with further or fewer keys.
    """
    if not call.is_square and not method.is_causal:
        raise ShapeError(
            f"{type(method).__name__} is not causal, and chooses where queries and keys are the same tokens and "
            f"heads: got q {list(call.q.shape)} and k {list(call.k.shape)}; repeat grouped "
            f"keys, or take a causal method"
        )
    answer: Any = method.select(call, state)
    if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[0], Selection | None):
        raise RecipeError(
            f"{type(method).__name__}.select must return (Selection or None, state), got {_describe(answer)}"
        )
    if answer[0] is not None:
        _check_selection(type(method).__name__, answer[0])
    return answer


def _check_selection(name: str, selection: Selection) -> None:
    mask: Any = selection.mask
    if not isinstance(mask, BlockMask | RaggedBlockMask):
        raise RecipeError(
            f"the selection of {name} must hold a BlockMask or a RaggedBlockMask, got {_describe(mask)}"
        )
    for order in (selection.query_order, selection.key_order):
        if not isinstance(order, TokenOrder | None):
            raise RecipeError(
                f"the orders of {name}'s selection must be TokenOrder or None, got {_describe(order)}"
            )
    looked_at = mask.keep.device.type == "cpu" or debugging()
    if looked_at and (empty := mask.plans.setdefault("answer.empty", _find_empty(mask))):
        raise ShapeError(
            f"every query must keep a key, but {name} selects nothing for {empty}; keep at least the heaviest block "
            f"of every row, and look for NaN in q and k where a method does"
        )


def _find_empty(mask: KeptBlocks) -> str:
    """The first row of blocks that has queries and keeps no key, and how many there are; empty where none."""
    kept: Tensor = mask.keep
    if isinstance(mask, RaggedBlockMask):  # blocks may hold no token
        kept = kept & (mask.key_sizes > 0).unsqueeze(-2)
    empty = ~kept.any(-1)
    if isinstance(mask, RaggedBlockMask):
        empty = empty & (mask.query_sizes > 0)
    if not bool(empty.any()):
        return ""
    batch, head, row = empty.nonzero()[0].tolist()
    return f"{int(empty.sum())} of {empty.numel()} rows of blocks, the first at {batch=}, {head=}, {row=}"


def _describe(answer: Any) -> str:
    if isinstance(answer, tuple):
        return f"({', '.join(type(part).__name__ for part in answer)})"
    return type(answer).__name__
