"""The order of the tokens as an option of methods that choose among blocks by queries and keys alone.

A block is a stretch of the sequence, and what a stretch holds is a matter of order: a run of a row as the tokens lie, a
place through time in token-major order, a box of space and time in cubes or along a Hilbert curve. A method that looks
at queries and keys only can choose among the blocks of any order; `Reordered` hands it the call in that order and puts
the order into its selection. `head` chooses one for every head by itself, once a generation, as Sparse VideoGen chooses
between two (arXiv:2502.01776).
"""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall, AttentionResult
from videosieve.errors import RecipeError
from videosieve.fields import shown
from videosieve.kernels import Centroids, centroids_of, reorder_tokens
from videosieve.layout import VideoLayout
from videosieve.methods.base import Method, Selection, State, TokenOrder
from videosieve.methods.cubes import cube_name, cube_orders, cubes_for
from videosieve.methods.geometry.hilbert import hilbert_order
from videosieve.methods.geometry.tiles import Tile
from videosieve.methods.tried_orders import choose_orders

MODEL, HEAD = "model", "head"
NAMED = (MODEL, "token_major", "hilbert", HEAD)


def check_order(order: object, method: Method) -> None:
    """Raise a RecipeError unless `order` is one and the method takes the tokens in any."""
    if not isinstance(order, str) or (order not in NAMED and _cube(order) is None):
        raise RecipeError(
            f"token_order is one of {', '.join(NAMED)}, or a cube of frames, rows and columns such as '4x4x4', "
            f"got {shown(order)}"
        )
    if order == MODEL:
        return
    if not method.takes_any_order:
        raise RecipeError(
            f"token_order needs a method that chooses among blocks by queries and keys alone; {method.name!r} with "
            f"these parameters puts the tokens in an order of its own or needs theirs. Leave token_order out"
        )
    if order == HEAD and type(method).observe is not Method.observe:
        raise RecipeError(
            f"token_order 'head' tries every order at one call, and {method.name!r} learns from the call before; "
            f"give one order"
        )


@lru_cache(maxsize=16)
def orders_of(
    order: str, layout: VideoLayout, side: int, device: torch.device
) -> tuple[tuple[str, ...], Tensor]:
    """Names and gather indices of an order's candidates; one but for `head`.

    Args:
        order: As `check_order` accepts it.
        layout: Which token is which.
        side: Block side, tokens; says which cubes are tried.
        device: Where the indices are needed.

    Returns:
        Names, and int64 [candidates, tokens]; the video comes first in all. Shared: do not write to it.
    """
    lying = torch.arange(layout.tokens)
    named = {
        MODEL: lying,
        "token_major": layout.token_major_order(),
        "hilbert": hilbert_order(layout, torch.device("cpu")),
    }
    if order in named:
        return (order,), _video_first(layout, named[order])[None].to(device)
    if order != HEAD:
        cube = _cube(order)
        cubes: tuple[Tile, ...] = () if cube is None else (cube,)
        return tuple(map(cube_name, cubes)), cube_orders(layout, cubes, device)
    plain = torch.stack([_video_first(layout, index) for index in named.values()])
    cubes = cubes_for(side)
    return (*named, *map(cube_name, cubes)), torch.cat([plain.to(device), cube_orders(layout, cubes, device)])


def _video_first(layout: VideoLayout, index: Tensor) -> Tensor:
    video = layout.video
    return torch.cat([index[video], index[: video.start], index[video.stop :]])


def _cube(order: str) -> Tile | None:
    sides = order.replace("×", "x").split("x")
    if len(sides) != 3 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        return None
    return int(sides[0]), int(sides[1]), int(sides[2])


@dataclass(frozen=True, slots=True)
class ReorderedState:
    """What is kept between the calls of one layer and branch.

    Attributes:
        chosen: int64 [batch, heads]; which order every head got.
        inner: What the method itself keeps.
    """

    chosen: Tensor
    inner: State


@dataclass(frozen=True)
class Reordered(Method):
    """Another method at work on tokens in another order.

    Attributes:
        method: The other method; one that `check_order` accepts.
        order: The order.
        compensate: Whether centroids will answer for what it leaves out; orders of heads are judged by the result.
    """

    name: ClassVar[str] = "reordered"

    method: Method
    order: str
    compensate: bool = False

    def select(self, call: AttentionCall, state: ReorderedState | None) -> tuple[Selection | None, State]:
        """Choose in the order, and say so."""
        side = self._side(call)
        names, orders = orders_of(self.order, call.layout, side, call.q.device)
        if state is None:
            keep = partial(self._keep, call)
            chosen = choose_orders(call, orders, self.method.block_size(call), keep, self.compensate)
            state = ReorderedState(chosen, None)
        order = orders[0] if len(names) == 1 else orders[state.chosen]
        selection, inner = self.method.select(in_order(call, order), state.inner)
        state = replace(state, inner=inner)
        if selection is None:
            return None, state
        pattern = {} if len(names) == 1 else {"patterns": names, "pattern": state.chosen}
        tokens = TokenOrder(order)
        return replace(selection, query_order=tokens, key_order=tokens, **pattern), state

    def observe(self, call: AttentionCall, result: AttentionResult, state: ReorderedState) -> State:
        """The method sees its own order; only one that takes a single order learns."""
        if type(self.method).observe is Method.observe:
            return state
        _, orders = orders_of(self.order, call.layout, self._side(call), call.q.device)
        order = orders[0] if len(orders) == 1 else orders[state.chosen]
        lse = reorder_tokens(result.lse.unsqueeze(-1), order).squeeze(-1)
        moved = replace(result, output=reorder_tokens(result.output, order), lse=lse)
        return replace(state, inner=self.method.observe(in_order(call, order), moved, state.inner))

    def _side(self, call: AttentionCall) -> int:
        """The side of the method's query blocks."""
        return self.method.block_size(call).query

    def _keep(self, call: AttentionCall, order: Tensor) -> tuple[Tensor, Centroids]:
        moved = in_order(call, order)
        selection, _ = self.method.select(moved, None)
        if selection is None:
            raise RecipeError(f"{self.method.name!r} leaves a call dense, so no order can be tried on it")
        mask = selection.mask
        return mask.keep.expand(call.batch, call.heads, -1, -1), centroids_of(moved.k, moved.v, mask)


def in_order(call: AttentionCall, order: Tensor) -> AttentionCall:
    """A call with its tokens reordered, the video first.

    Args:
        call: The attention call.
        order: int64 gather index [tokens] or [batch, heads, tokens], the video first.

    Returns:
        The call; its layout has the video in front and everything else behind it.
    """
    q, k, v = (reorder_tokens(x, order) for x in (call.q, call.k, call.v))
    segments = sorted(call.layout.segments, key=lambda segment: segment.kind != "video")
    return AttentionCall(q, k, v, VideoLayout(tuple(segments)), call.site, call.scale)
