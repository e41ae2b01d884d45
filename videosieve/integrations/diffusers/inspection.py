"""`inspect_attention`: where the heads of a pipeline look while it generates a video."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.errors import IntegrationError, PromptError
from videosieve.forward import Site
from videosieve.inspection import (
    MEASURES,
    Inspection,
    KeptRows,
    Plan,
    Reading,
    Spot,
    measure_heads,
    name_order,
    view_head,
)
from videosieve.integrations.diffusers.clips import frame_of, running, to_video
from videosieve.integrations.diffusers.concepts.question import require_indices
from videosieve.integrations.diffusers.targets import Target, describe
from videosieve.layout import VideoLayout
from videosieve.methods import Method, Selection
from videosieve.methods.estimates.sampled_rows import generator_for, stratified_rows
from videosieve.observation import Observation
from videosieve.recipe import Recipe
from videosieve.run import Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from videosieve.integrations.diffusers.options import PipelineCall

ATLAS_ROWS = 64
MOST_SPOTS = 64
PATCH_BYTES = 2**25  # of all spots together, in memory


def inspect_attention(
    pipe: Any,
    prompt: str,
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    recipe: "str | Path | Method | Recipe | Run | None" = None,
    **call: "Unpack[PipelineCall]",
) -> Inspection:
    """Generate a video and look at attention on the way; the video is the same bits as without.

    What is shown is full softmax attention of the queries and keys that the generation had, whether all of it was
    computed or a method's mask only. Under guidance the conditional branch is looked at.

    Args:
        pipe: A diffusers video pipeline; see `MODELS`.
        prompt: What the video shows.
        layers: Self-attentions with maps, in call order; None takes the first, the middle and the last.
        heads: Heads with maps; None takes up to four, evenly spread.
        steps: Denoising steps, from 0; None takes the middle one.
        recipe: None leaves attention to the pipeline; a recipe computes it as `sparsify` would; the run of a pipeline
            that is sparse already.
        **call: Arguments of the pipeline's call: steps, size, seed, guidance.

    Returns:
        The maps of layers × heads × steps, and the measures of every head at the chosen steps.

    Raises:
        PromptError: Several prompts or videos.
        IntegrationError: Layers, heads or steps are out of range or too many, or no call over the video was seen.
    """
    if not isinstance(prompt, str) or call.get("num_videos_per_prompt", 1) != 1:
        raise PromptError(
            f"an inspection looks at one video of one prompt, got {prompt!r}; call it once per video"
        )
    target = describe(pipe)[0]
    where = (_choose(layers, target.layers, 3, "layers", "self-attentions"),
             _choose(heads, target.heads, 4, "heads", "heads"))  # fmt: skip
    given: dict[str, Any] = {"output_type": "pt", **call}
    with running(pipe, recipe) as run:
        recorder = _Recorder(pipe, target, where, steps)
        recorder.attach(run, watched=recipe is None)
        try:
            frames = pipe(prompt=prompt, **given).frames
        finally:
            recorder.detach(run)
        name = "the pipeline's own attention" if recipe is None else run.recipe.name
    video = None if given["output_type"] == "latent" else to_video(frames)
    covering = () if video is None else frame_of(pipe, len(video), recorder.layout.grid)
    return recorder.result(prompt, name, video, covering)


class _Recorder:
    """Looks at the calls of one generation as they come."""

    def __init__(
        self, pipe: Any, target: Target, where: tuple[tuple[int, ...], ...], steps: Sequence[int] | None
    ) -> None:
        self._pipe, self._target = pipe, target
        self._layers, self._heads = where
        self._asked = None if steps is None else tuple(steps)
        self._chosen: dict[int, tuple[int, ...]] = {}
        self._plans: dict[VideoLayout, Plan] = {}
        self._readings: dict[Spot, Reading] = {}
        self._measures: dict[tuple[int, int], Tensor] = {}

    def attach(self, run: Run, watched: bool) -> None:
        """Start looking: at what a watched pipeline shows, or at what a recipe computes."""
        if watched:
            run.observers.append(self._observe)
        else:
            run.witnesses.append(self._witness)

    def detach(self, run: Run) -> None:
        """Stop looking."""
        for watchers, mine in ((run.observers, self._observe), (run.witnesses, self._witness)):
            if mine in watchers:
                watchers.remove(mine)  # type: ignore[arg-type]

    @property
    def layout(self) -> VideoLayout:
        """The layout that was seen."""
        self._require_sight()
        return next(iter(self._plans))

    def result(self, prompt: str, method: str, video: Tensor | None, covering: tuple[int, ...]) -> Inspection:
        """Everything that was seen, in order."""
        self._require_sight()
        (all_steps, steps), *_ = self._chosen.items()
        shape = len(MEASURES), len(steps), self._target.layers, self._target.heads
        atlas = torch.full(shape, torch.nan)
        for (layer, step), measured in self._measures.items():
            atlas[:, steps.index(step), layer] = measured
        wanted = [(layer, step) for layer in self._layers for step in steps]
        return Inspection(
            prompt,
            type(self._pipe).__name__,
            self._target.row.name,
            method,
            self._plans[self.layout],
            dict(sorted(self._readings.items())),
            atlas,
            min(ATLAS_ROWS, self.layout.grid.tokens),
            steps,
            all_steps,
            tuple(place for place in wanted if place not in self._measures),
            video,
            covering,
        )

    def _observe(self, seen: Observation) -> None:
        if self._is_wanted(seen.site, seen.conditional):
            tokens = seen.layout.tokens
            q, k, v = (x[:, :, :tokens] for x in (seen.q, seen.k, seen.v))
            call = AttentionCall(q, k, v, seen.layout, seen.site, seen.scale)
            self._look(call, seen.conditional[0], None)

    def _witness(self, call: AttentionCall, selection: Selection | None, owner: str) -> None:
        del owner
        if self._is_wanted(call.site, call.conditional_rows):
            self._look(call, call.conditional_rows[0], selection)

    def _is_wanted(self, site: Site, conditional: range) -> bool:
        if site.steps not in self._chosen:
            steps = (site.steps // 2,) if self._asked is None else self._asked
            require_indices(steps, site.steps, "steps", "denoising steps")
            steps = tuple(sorted(set(steps)))
            spots = len(self._layers) * len(self._heads) * len(steps)
            if spots > MOST_SPOTS:
                raise IntegrationError(
                    f"layers × heads × steps must be at most {MOST_SPOTS} to be looked at one by one, got "
                    f"{len(self._layers)} × {len(self._heads)} × {len(steps)} = {spots}; choose fewer of them"
                )
            self._chosen[site.steps] = steps
        first = bool(conditional) and site.is_conditional and not site.pass_number
        return first and site.step in self._chosen[site.steps]

    def _look(self, call: AttentionCall, batch: int, selection: Selection | None) -> None:
        site, layout = call.site, call.layout
        if layout not in self._plans:
            self._plans[layout] = self._plan(layout, len(self._chosen[site.steps]))
        plan = self._plans[layout]
        kept = None if selection is None else [KeptRows(selection, batch, head) for head in range(call.heads)]
        rows = stratified_rows(layout, min(ATLAS_ROWS, layout.grid.tokens), generator_for(0, site))
        masks: Any = kept
        self._measures[site.layer, site.step] = measure_heads(call, batch, rows.to(call.q.device), masks)
        for head in self._heads if site.layer in self._layers else ():
            mask = kept[head] if kept else None
            order = name_order(selection, layout, batch, head) if kept else ""
            self._readings[Spot(site.layer, head, site.step)] = Reading(
                view_head(call, batch, head, plan, mask),
                mask.density if mask else 1.0,
                mask.pattern if mask else "",
                order,
            )

    def _plan(self, layout: VideoLayout, steps: int) -> Plan:
        """Maps get smaller where there are many, so that a page of them stays small."""
        spots = len(self._layers) * len(self._heads) * steps
        cells = 128 if spots <= 16 else 96 if spots <= 32 else 64
        keys = Plan.of(layout, cells, 1).patches.cells
        each = PATCH_BYTES // spots // (keys[0] * keys[1] * keys[2])
        return Plan.of(layout, cells, max(1, min(1024, each)))

    def _require_sight(self) -> None:
        if not self._readings:
            raise IntegrationError(
                f"no self-attention over the whole video was computed in layers {list(self._layers)} at the chosen "
                f"steps: a step cache or output reuse skipped them, or the sequence lies on several devices; disable "
                f"the cache, or choose other layers and steps"
            )


def _choose(wanted: Sequence[int] | None, count: int, most: int, name: str, what: str) -> tuple[int, ...]:
    if wanted is None:
        number = min(most, count)
        return tuple(round(i * (count - 1) / max(number - 1, 1)) for i in range(number))
    require_indices(tuple(wanted), count, name, what)
    return tuple(sorted(set(wanted)))
