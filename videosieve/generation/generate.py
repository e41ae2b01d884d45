"""One generation: a request goes in; frames before any codec, seconds and a trace come out."""

import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from videosieve.finite import require_finite
from videosieve.generation.memory import PeakMemory
from videosieve.generation.parts import DECODE, TEXT, PartClock, execution_device, synchronize
from videosieve.generation.refusals import told_as_model_error, why_not_finite
from videosieve.generation.request import Request, call_parameters, default_steps, pipeline_arguments
from videosieve.integrations.caches import Cache
from videosieve.recipe import Recipe
from videosieve.records import Record
from videosieve.trace import Summary, Trace

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

WARM_UP_STEPS = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a generation is.

    Attributes:
        step: Finished denoising steps; 0 when the first one begins.
        steps: All of them; 0 where the pipeline does not say yet.
        density: Computed query–key pairs ÷ all pairs so far, in [0, 1].
        seconds_left: Estimate for the denoising, seconds; None before the first step is done.
    """

    step: int
    steps: int
    density: float
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class Clip:
    """A generated video and what it took.

    Attributes:
        frames: fp32 in [0, 1] [frames, 3, height, width], on the CPU, before any codec.
        seconds: Wall time of the whole pipeline call: text encoding, denoising, decoding.
        denoising_seconds: Wall time from the first transformer call to the end of the last.
        steps: Denoising steps that ran.
        trace: One record per attention call.
        text_seconds: Wall time of text encoding; None where the pipeline has no such part.
        decode_seconds: Wall time inside the VAE's decoder; None where the pipeline has no such part.
        peak_bytes: Peak memory of the call, as videosieve.generation.memory measures it; None where it cannot.
        latent: What was decoded, fp32 [values] on the CPU; None without a VAE.
        warnings: What was not as the recipe means it, a sentence each.
    """

    frames: Tensor
    seconds: float
    denoising_seconds: float
    steps: int
    trace: Trace
    text_seconds: float | None = None
    decode_seconds: float | None = None
    peak_bytes: int | None = None
    latent: Tensor | None = None
    warnings: tuple[str, ...] = ()

    def summary(self) -> Summary:
        """Totals over the trace, what is not as the recipe means it first."""
        return Summary.of(self.trace.records, self.warnings, self.trace.earlier)


def generate(  # noqa: PLR0913 - what to generate, with what, and how both are run
    pipe: "DiffusionPipeline",
    request: Request,
    recipe: Recipe,
    *,
    warm_up: bool = False,
    progress: Callable[[Progress], None] | None = None,
    recall_rows: int = 0,
    cache: Cache | None = None,
    branches: Collection[str] = (),
    deal: str | Path | None = None,
) -> Clip:
    """Generate one video with one recipe; the pipeline is as before when this returns or raises.

    Args:
        pipe: A diffusers video pipeline.
        request: What to generate.
        recipe: Which attention is computed.
        warm_up: Run two untimed steps first, so that kernels are built and caches are warm.
        progress: Called when denoising begins and after every step of it, where the pipeline allows it.
        recall_rows: As `sparsify` takes it; recall is measured inside the timed call.
        cache: A cache of another program to run with; what it leaves out is not in the trace.
        branches: As `Cache.enabled` takes them.
        deal: As `sparsify` takes it.

    Returns:
        The clip.

    Raises:
        ModelError: The pipeline refuses the request or cannot honour a part of it.
        IntegrationError: The pipeline cannot be made sparse.
        NumericsError: The video holds NaN or infinity.
    """
    if warm_up:
        rehearse(pipe, request, recipe, cache=cache, branches=branches)
    return _run(pipe, request, recipe, progress, recall_rows, _switch(pipe, request, cache, branches), deal)


def rehearse(
    pipe: "DiffusionPipeline",
    request: Request,
    recipe: Recipe,
    progress: Callable[[Progress], None] | None = None,
    *,
    cache: Cache | None = None,
    branches: Collection[str] = (),
) -> Clip:
    """Run two steps of a request, so that kernels are built and caches are warm; the clip is not worth keeping.

    Args:
        pipe: A diffusers video pipeline.
        request: What to generate.
        recipe: Which attention is computed.
        progress: As `generate` takes it.
        cache: A cache of another program to run with.
        branches: As `Cache.enabled` takes them.

    Returns:
        The clip; its trace names the kernels.

    Raises:
        ModelError: The pipeline refuses the request or cannot honour a part of it.
        IntegrationError: The pipeline cannot be made sparse.
    """
    short = replace(request, steps=min(WARM_UP_STEPS, request.steps or WARM_UP_STEPS))
    return _run(pipe, short, recipe, progress, 0, _switch(pipe, short, cache, branches))


def _switch(
    pipe: Any, request: Request, cache: Cache | None, branches: Collection[str]
) -> AbstractContextManager[None]:
    return cache.enabled(pipe, branches, request.steps or default_steps(pipe)) if cache else nullcontext()


def _run(
    pipe: Any,
    request: Request,
    recipe: Recipe,
    progress: Callable[[Progress], None] | None,
    recall_rows: int,
    cache: AbstractContextManager[None],
    deal: str | Path | None = None,
) -> Clip:
    from videosieve.integrations.diffusers import sparsify

    arguments = pipeline_arguments(pipe, request)
    memory = PeakMemory(execution_device(pipe))
    with (
        cache,
        sparsify(pipe, recipe, recall_rows=recall_rows, deal=deal) as run,
        _StepClock(pipe, run.trace, progress) as clock,
        PartClock(pipe) as parts,
    ):
        if "callback_on_step_end" in call_parameters(pipe):
            arguments["callback_on_step_end"] = clock.on_step_end
        clock.announced = request.steps or 0
        run.trace.keep = "all"  # a video made in sections is many generations
        run.warns = False  # the clip carries the sentences, and whoever made it shows them once
        with memory:
            synchronize(pipe)
            start = time.perf_counter()
            output = call_pipeline(pipe, arguments)
            synchronize(pipe)
            seconds = time.perf_counter() - start
    _require_finite(pipe, output.frames, parts.latent)
    return Clip(
        _to_frames(output.frames),
        seconds,
        clock.seconds,
        clock.steps,
        run.trace,
        parts.seconds.get(TEXT),
        parts.seconds.get(DECODE),
        memory.bytes,
        parts.latent,
        tuple(run.warnings()),
    )


def _require_finite(pipe: Any, frames: Any, latent: Tensor | None) -> None:
    kind = type(pipe).__name__
    for what, values in ((f"the latents of {kind}", latent), (f"the frames of {kind}", frames)):
        require_finite(what, values, why_not_finite(pipe))


def call_pipeline(pipe: Any, arguments: dict[str, Any]) -> Any:
    """Call a pipeline; what it refuses becomes a ModelError of one line."""
    with told_as_model_error(pipe):
        return pipe(**arguments)


class _StepClock:
    """Watches the transformers of a pipeline: when denoising starts, when it ends, how far it is."""

    def __init__(self, pipe: Any, trace: Trace, progress: Callable[[Progress], None] | None) -> None:
        self.steps = 0
        self.seconds = 0.0
        self.announced = 0
        self._pipe, self._trace, self._progress = pipe, trace, progress
        self._start: float | None = None
        self._seen = 0
        self._pairs = [0.0, 0.0]
        self._handles: list[Any] = []

    def __enter__(self) -> "_StepClock":
        for name in ("transformer", "transformer_2"):
            if (transformer := getattr(self._pipe, name, None)) is not None:
                self._handles.append(transformer.register_forward_pre_hook(self._on_call))
                self._handles.append(transformer.register_forward_hook(self._on_return))
        return self

    def __exit__(self, *_error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def on_step_end(self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """diffusers' callback."""
        del timestep
        self.steps = step + 1
        steps = getattr(pipe, "num_timesteps", None) or self.steps
        if self._progress is not None:
            left = self.seconds / self.steps * (steps - self.steps)
            self._progress(Progress(self.steps, steps, self._density(), left))
        return tensors

    def _on_call(self, *_arguments: object) -> None:
        if self._start is None:
            synchronize(self._pipe)
            self._start = time.perf_counter()
            if self._progress is not None:
                self._progress(Progress(0, self.announced, 1.0, None))

    def _on_return(self, *_arguments: object) -> None:
        synchronize(self._pipe)
        self.seconds = time.perf_counter() - (self._start or 0.0)

    def _density(self) -> float:
        fresh: list[Record] = self._trace.records[self._seen :]
        self._seen += len(fresh)
        self._pairs[0] += sum(record.density * record.pairs for record in fresh)
        self._pairs[1] += sum(record.pairs for record in fresh)
        return self._pairs[0] / self._pairs[1] if self._pairs[1] else 1.0


def _to_frames(frames: Any) -> Tensor:
    """The first video of a pipeline's output as fp32 [frames, 3, height, width]."""
    first = frames[0]
    if not isinstance(first, Tensor):
        first = torch.from_numpy(first).permute(0, 3, 1, 2)
    return first.detach().float().cpu().clamp(0, 1).contiguous()
