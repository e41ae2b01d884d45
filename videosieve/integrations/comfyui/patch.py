"""One application of the node "Sparse attention" to one model of ComfyUI.

The override that it puts into `transformer_options` decides call by call. What it declines runs through the override
that was there before it, or through ComfyUI's own attention.
"""

import logging
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.errors import IntegrationError
from videosieve.forward import Site
from videosieve.integrations.comfyui.forwards import Forwards, published_grid
from videosieve.integrations.comfyui.tensors import Call
from videosieve.layout import VideoLayout
from videosieve.recipe import Recipe
from videosieve.records import Outcome
from videosieve.run import Run

LOG = logging.getLogger("videosieve")
HOOK = "optimized_attention_override"
TEXT = ("none", "before", "after")


def parse_blocks(text: str) -> frozenset[int]:
    """Numbers of blocks: "0, 1, 47-49".

    Raises:
        IntegrationError: Anything else than numbers and ranges.
    """
    blocks: set[int] = set()
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        found = re.fullmatch(r"(\d+)(?:\s*-\s*(\d+))?", part)
        if found is None:
            raise IntegrationError(f"dense blocks are numbers and ranges, like 0, 1, 47-49; got {part!r}")
        first, last = int(found[1]), int(found[2] or found[1])
        blocks.update(range(min(first, last), max(first, last) + 1))
    return frozenset(blocks)


@dataclass
class SparsePatch:
    """Settings, and what the run remembers until ComfyUI cleans up.

    Attributes:
        recipe: Method; its schedule begins with no dense steps or layers, as the node has its own.
        first_sigma: Largest noise level at which attention is sparse.
        last_sigma: Smallest one.
        dense_blocks: Numbers of blocks that stay dense.
        text: Where the text stands in a sequence that holds both: "none", "before" or "after" the video.
        verbose: Whether every new reason to stay dense is logged.
        run: What was computed, of the last run of the sampler.
    """

    recipe: Recipe
    first_sigma: float
    last_sigma: float
    dense_blocks: frozenset[int] = frozenset()
    text: str = "none"
    verbose: bool = False
    run: Run = field(init=False)

    def __post_init__(self) -> None:
        if self.text not in TEXT:
            raise IntegrationError(f"text must be one of {', '.join(TEXT)}, got {self.text!r}")
        self._own: set[Any] = set()
        self._inside = False
        self._start()

    @classmethod
    def of(
        cls, method: str, density: float, first_sigma: float, last_sigma: float, **settings: Any
    ) -> "SparsePatch":
        """From what the node asks for.

        Args:
            method: Name of a method or bundled recipe.
            density: Share of query–key pairs to compute, in (0, 1]; 0 leaves it to the method.
            first_sigma: As above.
            last_sigma: As above.
            **settings: `min_tokens`, and the other attributes.

        Raises:
            RecipeError: Unknown method, or a value that it does not take.
        """
        wanted = {"density": density} if density else {}
        tokens = settings.pop("min_tokens", 0)
        recipe = Recipe.of(method, **wanted, dense_steps=0, dense_layers=0, min_tokens=tokens)
        return cls(recipe, first_sigma, last_sigma, **settings)

    def install(self, options: MutableMapping[str, Any]) -> None:
        """Put the override on top of whatever is on the hook; nothing where it is on top already."""
        current = options.get(HOOK)
        if current in self._own:
            return
        override = self._override(current)
        self._own.add(override)
        options[HOOK] = override

    def begin_forward(self, latents: Any, model: Any, options: Any) -> None:
        """The diffusion model is about to run."""
        if self._forget_next:
            self._start()
        self._forwards.begin(latents, model, options or {})

    def end(self) -> None:
        """The sampler is done: memory goes, and what was computed stays until the next run."""
        self.run.begin()
        self._forget_next = True

    def _start(self) -> None:
        self.run, self._forwards, self._forget_next = Run(self.recipe), Forwards(), False
        self._said: set[str] = set()

    def _override(self, previous: Callable[..., Tensor] | None) -> Callable[..., Tensor]:
        def override(  # noqa: PLR0913 - ComfyUI's signature
            func: Callable[..., Tensor],
            q: Tensor,
            k: Tensor,
            v: Tensor,
            heads: int,
            mask: Tensor | None = None,
            attn_precision: Any = None,
            skip_reshape: bool = False,
            skip_output_reshape: bool = False,
            **kwargs: Any,
        ) -> Tensor:
            call = Call(q, k, v, heads, mask, skip_reshape, skip_output_reshape, kwargs)
            output = None if self._inside else self._attend(call)
            if output is not None:
                return output
            told: dict[str, Any] = {
                "mask": mask, "attn_precision": attn_precision, "skip_reshape": skip_reshape,
                "skip_output_reshape": skip_output_reshape, **kwargs,
            }  # fmt: skip
            outer, self._inside = self._inside, True  # an override below may chain one of ours from before
            try:
                return (
                    func(q, k, v, heads, **told)
                    if previous is None
                    else previous(func, q, k, v, heads, **told)
                )
            finally:
                self._inside = outer

        return override

    @torch.compiler.disable(recursive=True)
    def _attend(self, call: Call) -> Tensor | None:
        """The output, or None where the call is not ours."""
        options = call.options.get("transformer_options") or {}
        grid = published_grid(options) or self._forwards.grid
        if call.queries != call.keys or grid is None or call.queries < grid[0] * grid[1] * grid[2]:
            return None  # cross-attention, text alone, or no video
        layer, layers = self._forwards.next_layer(options)
        names = self._forwards.branches(options)
        sites = [self._forwards.site(layer, layers, name, options) for name in names]
        layout = self._layout(grid, call.queries)
        reason = self._why_dense(call, layout, layer, options, len(names))
        if layout is None or reason:
            self._note(sites[0], call, reason)
            return None
        scale = call.options.get("scale")
        parts = list(zip(*(x.chunk(len(names)) for x in call.heads_first()), sites, strict=True))
        outputs: dict[int, Tensor] = {}
        for place in sorted(range(len(names)), key=lambda place: names[place].startswith("uncond")):
            q, k, v, site = parts[place]  # conditional parts first: a recipe may let them choose for both
            outputs[place] = self.run.attend(
                AttentionCall(q, k, v, layout, site, scale), self._forwards.window
            )
        whole = torch.cat([outputs[place] for place in range(len(names))]) if len(names) > 1 else outputs[0]
        return call.back(whole)

    def _layout(self, grid: tuple[int, int, int], tokens: int) -> VideoLayout | None:
        rest = tokens - grid[0] * grid[1] * grid[2]
        if rest and self.text == "none":
            return None
        return VideoLayout.of(
            *grid, **({f"text_{'first' if self.text == 'before' else 'last'}": rest} if rest else {})
        )

    def _why_dense(
        self, call: Call, layout: VideoLayout | None, layer: int, options: Any, branches: int
    ) -> str:
        """Why a video self-attention stays dense, or nothing."""
        sigma, block = self._forwards.sigma, options.get("block_index", layer)
        checks = (
            (call.mask is not None, "it has a mask"),
            (layout is None, "its sequence holds more than the video, and `text` is none"),
            (sigma is None, "the host does not say the noise level"),
            (
                sigma is not None and not self.last_sigma <= sigma <= self.first_sigma,
                "outside of start and end",
            ),
            (block in self.dense_blocks, "a dense block"),
            (call.q.shape[0] % branches > 0, f"a batch of {call.q.shape[0]} for {branches} branches"),
        )
        return next((reason for holds, reason in checks if holds), "")

    def _note(self, site: Site, call: Call, reason: str) -> None:
        self.run.trace.add(site, Outcome("dense", "ComfyUI", call.pairs, 1.0, reason), 0.0)
        if self.verbose and reason not in self._said:
            self._said.add(reason)
            LOG.warning("%d tokens stay dense: %s", call.queries, reason)
