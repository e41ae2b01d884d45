"""The recorder: watches a running pipeline and averages concept maps; what the pipeline computes stays the same."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.concepts import RunningMaps, SaliencyMaps, to_probabilities
from videosieve.errors import IntegrationError
from videosieve.forward import Site
from videosieve.integrations.diffusers.clock import bind_forward
from videosieve.integrations.diffusers.concepts.crossed import CROSS_FAMILIES
from videosieve.integrations.diffusers.concepts.families import CONCEPT_FAMILIES, find_family
from videosieve.integrations.diffusers.concepts.memory import require_memory
from videosieve.integrations.diffusers.concepts.probes import CrossProbe, StreamProbe
from videosieve.integrations.diffusers.concepts.question import (
    Question,
    choose_layers,
    choose_steps,
    named_layers,
    noise_levels,
)
from videosieve.integrations.diffusers.concepts.text import encode_concepts
from videosieve.integrations.diffusers.models import IMAGES
from videosieve.integrations.diffusers.targets import Target, describe
from videosieve.layout import Grid
from videosieve.observation import Observation
from videosieve.run import Run


class ConceptRecorder:
    """Concept maps of whatever a pipeline generates inside the `with` block.

    Attributes:
        layers: Layers that are averaged.
        steps: Steps that were averaged so far.
        noise: Noise level by step, as a fraction of all training timesteps, as far as it is known.
        label: Step that every pass counts as, whatever the clock says; None believes the clock.

    Args:
        pipe: A diffusers pipeline of videos or images.
        run: The run of its `sparsify`; "dense" computes what the untouched pipeline would.
        question: What to look for.
        arguments: Of the coming call, for the text template and length.

    Raises:
        IntegrationError: The model has no text stream to look at, or layers are out of range.
        PromptError: The model refuses a concept.
    """

    def __init__(
        self, pipe: Any, run: Run, question: Question, arguments: Mapping[str, Any] | None = None
    ) -> None:
        self.label: int | None = None
        self.steps: tuple[int, ...] = ()
        self.noise: dict[int, float] = {}
        self._pipe, self._run, self._question = pipe, run, question
        targets = describe(pipe, images=True)
        if question.method.name == "concept" or targets[0].row.name not in CROSS_FAMILIES:
            find_family(targets[0].row.name)
        wanted = named_layers(pipe, question)
        streams = CONCEPT_FAMILIES.get(targets[0].row.name)
        depth = streams.depth(targets[0].transformer, targets[0].layers) if streams else None
        self.layers = choose_layers(wanted, targets[0], depth)
        text = encode_concepts(pipe, question.concepts, question.method.pool, arguments or {})
        self._targets = {target.component: target for target in targets}
        self._item: int | None = None  # of the batch, that is looked at in the running forward
        self._generation: int | None = None
        self._probes: dict[str, StreamProbe | CrossProbe] = {
            target.component: StreamProbe(target, text, question.method, self.layers)
            if target.row.name in CONCEPT_FAMILIES
            else CrossProbe(target, text, question.method, self.layers)
            for target in targets
        }
        self._running = RunningMaps(self.layers, question.method.keep)
        self._chosen: dict[int, tuple[int, ...]] = {}
        self._grid: Grid | None = None
        self._last_grid: Grid | None = None
        self._undo = ExitStack()

    def __enter__(self) -> "ConceptRecorder":
        for name, probe in self._probes.items():
            for undo in probe.attach():
                self._undo.callback(undo)
            transformer = self._targets[name].transformer
            hook: Any = torch.compiler.disable(self._watch(probe, self._targets[name]))
            self._undo.callback(transformer.register_forward_pre_hook(hook, with_kwargs=True).remove)
        self._run.observers.append(self._observe)
        self._undo.callback(self._run.observers.remove, self._observe)
        return self

    def __exit__(self, *_error: object) -> None:
        self._undo.close()

    def result(
        self, index: int = 0, video: Tensor | None = None, frame_of: tuple[int, ...] = ()
    ) -> SaliencyMaps:
        """The maps so far.

        Args:
            index: Which video of a batch.
            video: The decoded video, kept beside the maps.
            frame_of: For every video frame its frame on the token grid.

        Returns:
            The maps.

        Raises:
            IntegrationError: No pass over the layers was complete.
        """
        if self._grid is None or not self._running.passes:
            raise IntegrationError(
                f"saliency saw no forward in which all layers up to {self.layers[-1]} ran ({self._running.dropped} "
                f"began): a step cache skipped them, gradients were on, or the steps were never reached; disable the "
                f"cache, use torch.no_grad(), or choose other steps"
            )
        grid = self._grid
        if self._last_grid != grid:
            raise IntegrationError(
                f"{type(self._pipe).__name__} ends with {self._last_grid} tokens, and the maps are of {grid}, so that "
                f"they do not lie over what came out; choose later steps"
            )
        flat = (grid.height, grid.width)
        targets = list(self._targets.values())
        shape = flat if targets[0].row.name in IMAGES else (grid.frames, *flat)

        method = self._question.method

        def shaped(maps: Tensor) -> Tensor:
            if method.average == "mean_first":
                maps = to_probabilities(maps, method.temperature)
            return maps[index].unflatten(-1, shape).cpu()

        return SaliencyMaps(
            self._question.concepts,
            shaped(self._running.mean),
            method.name,
            self.layers,
            self.steps,
            {key: shaped(part) for key, part in self._running.parts.items()},
            video,
            frame_of,
            method.average == "raw",
            method.keep,
            tuple(self.noise[step] for step in self.steps) if set(self.steps) <= set(self.noise) else (),
        )

    @property
    def grid(self) -> Grid | None:
        """The token grid of the video; None before the first forward."""
        return self._grid

    def _watch(self, probe: "StreamProbe | CrossProbe", target: Target) -> Callable[..., None]:
        bind = bind_forward(target.transformer)

        def before(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            del module
            self._running.begin()
            self._item = None
            probe.begin(bind(args, kwargs))

        return before

    def _observe(self, seen: Observation) -> None:
        if not seen.site.layer:
            self._last_grid = seen.layout.grid
        step = self._wanted(seen.site)
        if step is None or seen.site.layer > self.layers[-1]:
            return
        layer, temperature = seen.site.layer, self._question.method.temperature

        def emit(scores: Tensor) -> None:
            before = self._running.passes
            first = self._question.method.average == "probabilities"
            self._running.add(layer, step, to_probabilities(scores, temperature) if first else scores)
            if self._running.passes > before and step not in self.steps:
                self.steps = (*self.steps, step)

        self._require_one_generation(seen)
        item = seen.item if self._item is None else self._item
        if not seen.conditional or seen.item != item:
            return  # items are attended one by one, and this is another one
        self._item = item
        if self._grid is None:
            self._require_memory(seen)
        self._require_one_grid(seen, step)
        rows = slice(seen.conditional.start, seen.conditional.stop)
        self._probes[seen.owner].see(seen, rows, seen.item, emit)

    def _require_memory(self, seen: Observation) -> None:
        question, tokens = self._question, seen.layout.grid.tokens
        heads = seen.q.shape[1] if isinstance(self._probes[seen.owner], StreamProbe) else 0
        steps = self._chosen.get(seen.site.steps) or question.steps or (0,)
        require_memory(
            len(question.concepts),
            tokens,
            heads,
            question.method.keep,
            len(self.layers),
            len(steps),
            seen.q.device,
        )

    def _require_one_generation(self, seen: Observation) -> None:
        """Of a video that is made piece by piece every piece has a grid of its own, and other things in it."""
        if self.label is not None:
            return  # a given video, which is seen at several noise levels
        if self._generation not in (None, seen.site.generation):
            row = self._targets[seen.owner].row
            raise IntegrationError(
                f"this call of {type(self._pipe).__name__} makes the video piece by piece, each a generation of its "
                f"own, and maps of {row.family} are those of one piece; ask for fewer frames (num_frames)"
            )
        self._generation = seen.site.generation

    def _require_one_grid(self, seen: Observation, step: int) -> None:
        """A pipeline may drop frames on its way; maps of both grids have no mean."""
        before, now = self._grid or seen.layout.grid, seen.layout.grid
        if before != now:
            raise IntegrationError(
                f"{type(self._pipe).__name__} goes on with {now} tokens instead of {before} at step {step}, and maps "
                f"of both have no mean; choose steps on one side of it"
            )
        self._grid = now

    def _wanted(self, site: Site) -> int | None:
        """The step as which a call counts; None where it does not."""
        if not site.is_conditional:
            return None
        if self.label is not None:
            return self.label
        if site.steps not in self._chosen:
            scheduler = self._pipe.scheduler
            self._chosen[site.steps] = choose_steps(self._question.steps, scheduler, site.steps)
            if len(scheduler.timesteps) == site.steps:
                self.noise = noise_levels(scheduler)
        return site.step if site.step in self._chosen[site.steps] else None
