"""Sliding Tile Attention's offline search: which window of tiles changes a head's output least.

The authors search per step, layer and head on full-attention runs over 16 prompts, and keep the window of least mean L2
error. Here the error is summed over all steps shown, so that a table serves any number of steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.fields import check_fields
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.methods.base import Method, Selection, State, attend_selected
from videosieve.methods.geometry.tiles import Tile, tile_of, tile_video
from videosieve.methods.parameters import Window
from videosieve.methods.searches.head_tables import by_layer, choose_by_head
from videosieve.methods.sliding_tile import LONG_TILE, SHORT_TILE, windows_mask


@dataclass(frozen=True, slots=True)
class SlidingTileSearch(Method):
    """Computes every call in full and under every candidate, and adds up the errors.

    Run it over a few prompts as a method, then hand `run.states()` to `best_windows` before the run forgets them.

    Attributes:
        windows: Candidates, tiles along frames, rows and columns; of about equal density, or the widest wins.
        tile: As in SlidingTile.
    """

    name: ClassVar[str] = "sliding_tile_search"

    windows: tuple[Window, ...]
    tile: Tile | None = None

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        if not self.windows:
            raise RecipeError("a search needs at least one candidate window, got none")

    def select(self, call: AttentionCall, state: State) -> tuple[None, State]:
        """Dense; the state is the sum of squared errors [windows, heads]."""
        side = block_side(None, call.tokens)
        dense = BlockMask.dense(call.tokens, BlockSize(side, side), device=call.q.device)
        full = attend_selected(call, Selection(dense)).output.float()
        tile = tile_of(self.tile, call.layout, LONG_TILE, SHORT_TILE)
        tiling = tile_video(call.layout, tile, call.q.device)
        errors = []
        for window in self.windows:
            part = attend_selected(call, tiling.selection(windows_mask(tiling, (window,)))).output
            errors.append((part.float() - full).square().mean((-1, -2)).mean(0))
        error = torch.stack(errors)
        return None, error if state is None else state + error


def best_windows(
    states: Mapping[tuple[str, int, str], Any], windows: tuple[Tile, ...], layers: int
) -> tuple[tuple[Tile, ...], ...]:
    """The table for `SlidingTile.head_windows`.

    Args:
        states: `run.states()` of a run with SlidingTileSearch; errors of branches and transformers are added up.
        windows: The candidates of that search, in its order.
        layers: Layers of the model. One that stayed dense gets the first candidate.

    Returns:
        [layers][heads]; ties go to the first candidate.

    Raises:
        RecipeError: No call was searched.
    """
    errors = by_layer(states, torch.add, "searched")
    best = {layer: error.argmin(0) for layer, error in errors.items()}
    return choose_by_head(best, windows, layers, windows[0])
