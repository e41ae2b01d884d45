"""The plain function for programs that have attention calls and no pipeline: servers, node graphs, engines.

    attend = bind("svg", density=0.3)                       # once
    out = attend(q, k, v, {"step": 3, "steps": 50, "layer": 7, "layers": 40, "grid": (21, 45, 80)})

Tensors are [batch, tokens, heads, head_dim]. Imports torch and nothing of a host; every process has its own states.
"""

from collections.abc import Mapping
from math import prod
from threading import RLock
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.forward import Site
from videosieve.layout import VideoLayout
from videosieve.method_rules import require_both_ways
from videosieve.recipe import Recipe
from videosieve.run import Run
from videosieve.trace import LOG

WITHOUT_GRID = ("xattention", "minference", "sieve", "svg2", "adaspa", "oracle_top_k", "random_blocks")
"""Methods that choose by queries and keys alone."""
WITH_MEMORY = ("adaspa", "sieve", "svg2", "svg_ear", "window_residual")
"""Methods that remember something from step to step."""
MOST_OWNERS = 64
"""Models or requests whose place is remembered, those heard of last."""


class PlainAttention:
    """Attention of one recipe for a host that calls it layer by layer.

    Attributes:
        run: Applies the recipe; its trace keeps the last generation.

    Args:
        method: As for `videosieve.sparsify`.
        **options: Fields of the method, `dense_steps`, `dense_layers`, `min_tokens` and the like.

    Raises:
        RecipeError: Unknown method, option or value; a causal method; a recipe that returns earlier outputs.
    """

    def __init__(self, method: Any = "svg", **options: Any) -> None:
        recipe = Recipe.of(method, **options)
        require_both_ways(recipe.method, recipe.compensate)
        if recipe.schedule.reused_kinds or recipe.schedule.shares_branches:
            raise RecipeError(
                f"recipe {recipe.name!r} returns earlier outputs, which an attention call cannot; take another"
            )
        self.run = Run(recipe, recall_rows=0)
        self.run.trace.keep = "last"
        self._said: set[str] = set()
        self._newest: dict[str, tuple[int, int, int]] = {}
        self._begun = 0
        self._lock = RLock()

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        params: Mapping[str, Any] | None = None,
        *,
        is_causal: bool = False,
        softmax_scale: float | None = None,
    ) -> Tensor:
        """Attend, sparse where the call is self-attention over a video that the recipe can choose in.

        Args:
            q: Queries [batch, tokens, heads, head_dim], after QK-norm and RoPE, without padding.
            k: Keys; their heads may divide those of the queries.
            v: Values, shaped like k.
            params: What the host knows, all optional: `step` and `steps`, `layer` and `layers`, `branch`, `owner`
                (which model or request), `grid` (frames, rows, columns of tokens) or `latent_shape` (…, frames, rows,
                columns) with `patch_size`, `prefix` and `suffix` (tokens before and after the video), `attn_mask`.
                None counts as left out; what is not known here is the host's own and ignored.
            is_causal: Whether no query may see a later key; such calls stay dense.
            softmax_scale: Factor on every q·k; None means head_dim ** -0.5.

        Returns:
            [batch, tokens, heads, head_dim]. Where a call stays dense for another reason than the schedule's, the
            reason is logged once (`videosieve`, WARNING).

        Raises:
            RecipeError: The recipe counts steps or layers, or has a memory, and the host does not say where it is.
        """
        given = {key: value for key, value in (params or {}).items() if value is not None}
        self._require_places(given)
        query, key, value = (x.transpose(1, 2) for x in (q, k, v))
        layout, reason = self._layout(query, key, value, given, is_causal)
        if layout is None:
            self._say(reason)
            out = F.scaled_dot_product_attention(
                query, key, value, attn_mask=given.get("attn_mask"), is_causal=is_causal, scale=softmax_scale,
                enable_gqa=query.shape[1] != key.shape[1],
            )  # fmt: skip
            return out.transpose(1, 2)
        with self._lock:
            owner = str(given.get("owner", ""))
            call = AttentionCall(query, key, value, layout, self._site(owner, given), softmax_scale)
            return self.run.attend(call, owner).transpose(1, 2)

    def _require_places(self, given: Mapping[str, Any]) -> None:
        recipe, missing = self.run.recipe, []
        counted = {"steps": "dense_steps", "layers": "dense_layers"}
        for name, option in counted.items():
            said = name in given and name[:-1] in given
            if not said and getattr(recipe.schedule, name, 1):
                missing.append(f"{name[:-1]} and {name} (or {option}=0)")
        if recipe.method.name in WITH_MEMORY:
            missing += [name for name in ("step", "layer", "branch") if name not in given]
        if missing:
            raise RecipeError(
                f"recipe {recipe.name!r} needs to know where a call is: give {', '.join(missing)} in params, which has "
                f"{', '.join(given) or 'nothing'}"
            )

    def _layout(
        self, q: Tensor, k: Tensor, v: Tensor, given: Mapping[str, Any], causal: bool
    ) -> tuple[VideoLayout | None, str]:
        """The layout of a call, or why it stays dense."""
        if causal or given.get("attn_mask") is not None:
            return None, "a mask or causal attention"
        if not q.shape == k.shape == v.shape:
            return None, "queries, keys and values differ in shape (cross-attention, grouped queries)"
        if q.requires_grad or k.requires_grad or v.requires_grad:
            return None, "gradients are needed"
        before, after = int(given.get("prefix", 0)), int(given.get("suffix", 0))
        grid, tokens = _grid(given), q.shape[2]
        if grid is not None and prod(grid) == tokens - before - after:
            return VideoLayout.of(*grid, text_first=before, text_last=after), ""
        if grid is None and self.run.recipe.method.name in (*WITHOUT_GRID, "dense"):
            return VideoLayout.of(1, 1, tokens - before - after, text_first=before, text_last=after), ""
        shown = (
            "no grid"
            if grid is None
            else f"a grid of {' × '.join(map(str, grid))} with {before} + {after} others"
        )
        return None, f"{shown} does not make {tokens} tokens"

    def _site(self, owner: str, given: Mapping[str, Any]) -> Site:
        """Where a call is. A step that falls begins a new generation of its owner; without steps, a layer that does."""
        step, layer = int(given.get("step", 0)), int(given.get("layer", 0))
        generation, *before = self._newest.pop(owner, (-1, -1, -1))
        again = step < before[0] if "step" in given else layer <= before[1]
        if generation < 0 or again:
            generation, self._begun = self._begun, self._begun + 1
            self.run.begin({number for number, *_ in self._newest.values()})
        self._newest[owner] = generation, step, layer
        while len(self._newest) > MOST_OWNERS:  # requests that nobody heard of for long
            self._newest.pop(next(iter(self._newest)))
        steps, layers = (
            max(int(given.get(name, 1)), at + 1) for name, at in (("steps", step), ("layers", layer))
        )
        return Site(layer, layers, step, steps, str(given.get("branch", "cond")), generation)

    def _say(self, reason: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            LOG.warning("recipe %r: a call stays dense: %s", self.run.recipe.name, reason)


def bind(method: Any = "svg", **options: Any) -> PlainAttention:
    """A function `attend(q, k, v, params)` for one recipe, with states of its own."""
    return PlainAttention(method, **options)


_BOUND: dict[str, PlainAttention] = {}
_BINDING = RLock()


def attend_bshd(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    params: Mapping[str, Any] | None = None,
    *,
    is_causal: bool = False,
    softmax_scale: float | None = None,
) -> Tensor:
    """`PlainAttention` for hosts that configure by call: `params["recipe"]` has the method and its options.

    Args:
        q: Queries [batch, tokens, heads, head_dim].
        k: Keys.
        v: Values.
        params: As for `PlainAttention`, with `recipe`: a mapping such as {"method": "svg", "density": 0.3}; the first
            call with a recipe binds it, later ones find it and its states again.
        is_causal: As for `PlainAttention`.
        softmax_scale: As for `PlainAttention`.

    Returns:
        [batch, tokens, heads, head_dim].
    """
    options = dict((params or {}).get("recipe") or {})
    key = repr(sorted(options.items(), key=lambda item: item[0]))
    with _BINDING:
        attend = _BOUND.get(key)
        if attend is None:
            attend = _BOUND[key] = PlainAttention(options.pop("method", "svg"), **options)
    return attend(q, k, v, params, is_causal=is_causal, softmax_scale=softmax_scale)


def _grid(given: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Frames, rows and columns of tokens, as the host says them or from its latents; None where it does not."""
    if "grid" in given:
        frames, rows, columns = given["grid"]
        return int(frames), int(rows), int(columns)
    if "latent_shape" not in given or "patch_size" not in given:
        return None
    sides = [
        -(-int(size) // int(side))
        for size, side in zip(given["latent_shape"][-3:], given["patch_size"], strict=True)
    ]
    return sides[0], sides[1], sides[2]
